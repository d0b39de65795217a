"""The enumerations of an attempt: its status, why it was stopped, how its tests ended, how it is executed.

Flaky is not a status: it is a property of a file's attempts in a run.
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
        """Whether Passmuster or the machine is the cause, not the file."""
        return self in (Status.START_ERROR, Status.LOST)

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was stopped before the file could finish."""
        return self is Status.CANCELLED

    @property
    def is_failure(self) -> bool:
        """Whether the file counts as failed; cancelled files are counted separately."""
        return not (self.is_pass or self.is_cancelled)


class StopReason(StrEnum):
    """Why Passmuster or the kernel stopped the processes of a file."""

    TIMEOUT = "timeout"
    RUN_TIMEOUT = "run-timeout"
    MEMORY_LIMIT = "memory-limit"
    """The file exceeded its own limit, or the whole budget while it ran exclusively."""
    MEMORY_BUDGET = "memory-budget"
    """The files together exceeded the budget and this one was evicted: it reruns."""
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
        """Whether this outcome alone makes a file fail; for `XPASSED` the project's own settings decide."""
        return self in (Outcome.FAILED, Outcome.ERROR)


class RunnerKind(StrEnum):
    """How a file is executed."""

    AUTO = "auto"
    SCRIPT = "script"
    PYTEST = "pytest"
    UNITTEST = "unittest"
    COMMAND = "command"
    """By a command from the project's own configuration."""


class Isolation(StrEnum):
    """The start method of a file's process."""

    AUTO = "auto"
    """Fork if that is known to change nothing, else spawn."""
    FORK = "fork"
    """Fork a server that imported the modules that the file needs."""
    SPAWN = "spawn"
    """Start a fresh interpreter."""
