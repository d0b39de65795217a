"""Execution over a broker: the backend, its workers, a cluster of this machine's own."""
