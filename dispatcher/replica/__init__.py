"""The run that a CI workflow describes, on this machine."""
