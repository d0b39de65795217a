"""The exit statuses of the commands. Scripts depend on them: they are part of the interface."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of `run_tests.py`."""

    OK = 0
    """All files passed, or there was nothing to run."""
    FAILED = 1
    """At least one file did not pass, or a required check failed (coverage, regressions)."""
    USAGE = 2
    """Wrong arguments or configuration; nothing was run."""
    INFRASTRUCTURE = 3
    """Infrastructure error: the run could not complete."""
    NO_TESTS = 5
    """No test ran, or the project's framework found no file. pytest uses the same number."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C or SIGTERM (128 + SIGINT, as shells report it)."""
