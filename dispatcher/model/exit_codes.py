"""The exit statuses of the commands. Scripts depend on them: they are part of the interface."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of `run_tests.py`."""

    OK = 0
    """All files passed, or there was nothing to run."""
    FAILED = 1
    """Some file did not pass, a demanded coverage was not reached, or a file took more than allowed."""
    USAGE = 2
    """Wrong arguments or configuration; nothing was run."""
    INFRASTRUCTURE = 3
    """What the run needs failed, so that it could not be complete."""
    NO_TESTS = 5
    """Not one test ran, or the project's framework found no file: the number that pytest uses."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C or SIGTERM (128 + SIGINT, as shells report it)."""
