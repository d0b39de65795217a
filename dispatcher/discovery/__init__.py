"""Which files are tests."""
