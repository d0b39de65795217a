"""Finds the test files."""
