"""Which Passmuster this is. A dispatcher and its workers must be of the same one."""

VERSION = "0.1.0"
"""The same as in `pyproject.toml`."""
