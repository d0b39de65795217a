"""The suites: each module makes one in a directory, the same one for the same seed."""
