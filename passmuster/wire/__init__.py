"""What goes over a broker: its address and access, signed messages, and the store of a run."""
