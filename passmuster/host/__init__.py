"""This machine: its limits, how runs share it, interpreters, and the state directory."""
