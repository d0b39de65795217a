"""How one attempt at one test file ended, and which questions may be asked about that.

`Status` is the closed set every part of the program agrees on. A file that passed after a retry is
*flaky*: that is a property of its history of attempts, not a status.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The verdict on one attempt at one file."""

    PASS = "PASS"
    FAIL = "FAIL"
    TIMEOUT = "TIMEOUT"
    MEMORY = "MEMORY"
    CRASH = "CRASH"
    NO_TESTS = "NO_TESTS"
    COLLECT_ERROR = "COLLECT_ERROR"
    START_ERROR = "START_ERROR"
    LOST = "LOST"
    CANCELLED = "CANCELLED"

    @property
    def is_pass(self) -> bool:
        """Whether the file counts as passed."""
        return self is Status.PASS

    @property
    def is_infrastructure(self) -> bool:
        """Whether the file's own code is not to blame: it never got a fair chance to run."""
        return self in (Status.START_ERROR, Status.LOST)

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was stopped before the file could finish."""
        return self is Status.CANCELLED

    @property
    def is_failure(self) -> bool:
        """Whether the file counts as failed; cancelled files are counted on their own."""
        return not (self.is_pass or self.is_cancelled)


class StopReason(StrEnum):
    """Why the processes of a test were stopped from outside."""

    TIMEOUT = "timeout"
    RUN_TIMEOUT = "run-timeout"
    MEMORY_LIMIT = "memory-limit"
    """The file broke its own limit, or the whole budget while it ran alone."""
    MEMORY_BUDGET = "memory-budget"
    """The files together broke the budget and this one was chosen to make room: it runs again."""
    OUT_OF_MEMORY = "out-of-memory"
    """The kernel's out-of-memory killer took a process of the file."""
    CANCELLED = "cancelled"

    @property
    def is_memory(self) -> bool:
        """Whether memory was the reason."""
        return self in (StopReason.MEMORY_LIMIT, StopReason.MEMORY_BUDGET, StopReason.OUT_OF_MEMORY)


class Outcome(StrEnum):
    """How one test inside a file ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"
    XFAILED = "xfailed"
    XPASSED = "xpassed"

    @property
    def is_bad(self) -> bool:
        """Whether this outcome alone makes a file fail.

        `XPASSED` is not: whether an unexpected success fails a run is the project's own setting.
        """
        return self in (Outcome.FAILED, Outcome.ERROR)


class RunnerKind(StrEnum):
    """How a file is executed."""

    AUTO = "auto"
    SCRIPT = "script"
    PYTEST = "pytest"
    UNITTEST = "unittest"
    COMMAND = "command"
    """By the command that the project's own configuration has for it."""


class Isolation(StrEnum):
    """How the process of a file comes into being."""

    AUTO = "auto"
    """Forked where that is known to change nothing, spawned elsewhere."""
    FORK = "fork"
    """A child of a server that has imported what the file needs."""
    SPAWN = "spawn"
    """A fresh interpreter."""
