"""The version of Passmuster. A dispatcher and its workers must have the same version."""

VERSION = "0.1.0"
"""Set by `scripts/release`, which tags the same version."""
