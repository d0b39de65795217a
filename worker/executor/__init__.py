"""Executes test files: the same code runs them on this machine and on every worker."""
