"""Execution over a broker: the backend, its workers, and a private cluster on this machine."""
