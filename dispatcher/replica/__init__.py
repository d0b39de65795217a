"""Replicates on this machine the run that a CI workflow describes."""
