"""What happens in a run, told once to everybody who listens.

The run emits `RunEvent`s; reporters consume them and know nothing of each other. `at_s` is seconds
since the start of the run on a clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dispatcher.plan import Plan, TestFile
from dispatcher.run.results import TestResults
from passmuster.executor import Limit, Usage
from passmuster.result import TestResult


class Again(StrEnum):
    """Why a file starts once more after this attempt."""

    RETRY = "retry"
    """It failed and retries are left."""
    MADE_ROOM = "made-room"
    """It was stopped only because memory ran short beside others; this does not count as a retry."""


class StopCause(StrEnum):
    """Why a run ends before all its files ran."""

    INTERRUPT = "interrupted"
    MAX_FAIL = "too many failures"
    RUN_TIMEOUT = "the run's time is over"
    BROKEN = "what the run needs failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The plan stands and the first file is about to start."""

    at_s: float
    started_at: float
    plan: Plan
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStarted:
    """An attempt at a file has started."""

    at_s: float
    file: TestFile
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSlow:
    """A file has been running for longer than the slow warning allows; said once for each attempt."""

    at_s: float
    file: TestFile
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFinished:
    """An attempt ended; `again` says whether and why another follows."""

    at_s: float
    file: TestFile
    result: TestResult
    again: Again | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSampled:
    """What the running files use; emitted a few times a second while somebody watches."""

    at_s: float
    usage: Usage
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the user should know that belongs to no file: a warning of one line."""

    at_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopping:
    """No further file starts; what runs is ended, or may finish, by `cause`."""

    at_s: float
    cause: StopCause


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The last result is in. Coverage, where asked for, follows."""

    at_s: float
    results: TestResults


RunEvent = (
    RunStarted | FileStarted | FileSlow | FileFinished | UsageSampled | Notice | RunStopping | RunFinished
)


class Reporter(Protocol):
    """Somebody who is told what happens. A reporter that raises is dropped with a notice."""

    def handle(self, event: RunEvent) -> None:
        """Take note of one event."""

    def close(self) -> None:
        """Finish what was begun: called once, whatever happened."""


Reporters = Sequence[Reporter]
