"""The variables that every test file gets, wherever it runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

FILE_MEMORY_VARIABLE = "PASSMUSTER_FILE_MEMORY"
"""The memory in bytes that all processes of a file together may use."""


def base_test_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of `environ` with the variables that do not depend on the file.

    `TESTING` and `TEST_MODE` are those of the shell scripts.
    """
    environment = dict(environ)
    environment["TESTING"] = "true"
    environment.setdefault("TEST_MODE", "mock")
    environment.setdefault("PYTHONFAULTHANDLER", "1")
    return environment
