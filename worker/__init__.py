"""Executes one test file at a time inside limits, in any number of slots on this machine."""
