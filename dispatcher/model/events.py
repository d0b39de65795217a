"""The events of a run, emitted once and received by every reporter.

The run emits `RunEvent`s; reporters consume them independently of each other. `at_s` is the time in seconds
since the start of the run, on a monotonic clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from dispatcher.model.plan import RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import Finding, TestResults
from passmuster.model.executor import Limit, Usage
from passmuster.model.result import TestResult


class StopCause(StrEnum):
    """Why a run stops before all its files ran."""

    INTERRUPT = "interrupted"
    MAX_FAIL = "too many failures"
    RUN_TIMEOUT = "the run's time is over"
    BROKEN = "what the run needs failed"


class RunStarted(Struct, frozen=True, kw_only=True):
    """The plan is complete and the first file is about to start."""

    at_s: float
    started_at: float
    plan: RunPlan
    limits: tuple[Limit, ...]


class AttemptStarted(Struct, frozen=True, kw_only=True):
    """An attempt at a file has started."""

    at_s: float
    file: TestFile
    attempt: int
    attempt_reason: RerunReason | None = None
    """Why the attempt was made; None: it is the first that counts."""
    worker: str = ""


class FileSlow(Struct, frozen=True, kw_only=True):
    """A file has been running for longer than the slow warning allows; emitted once for each attempt."""

    at_s: float
    file: TestFile
    seconds: float


class AttemptFinished(Struct, frozen=True, kw_only=True):
    """An attempt finished."""

    at_s: float
    file: TestFile
    result: TestResult
    """The result of the attempt. A verification that passes leaves the verdict to the attempt before it."""
    rerun_reason: RerunReason | None = None
    """Why another attempt follows; None: the verdict is final."""
    attempt_reason: RerunReason | None = None
    """Why the attempt was made; None: it was the first, or replaced the first."""
    finding: Finding | None = None
    """The finding of the attempts, once the verdict is final."""


class VerdictSettled(Struct, frozen=True, kw_only=True):
    """An earlier attempt becomes the verdict of a file.

    Either the following attempt was withdrawn or stopped with the run; it then has no `AttemptFinished`, even
    if it had started. Or it finished but does not count: its `AttemptFinished` has `RerunReason.SETTLED`, and
    this event follows at once.
    """

    at_s: float
    file: TestFile
    result: TestResult
    """The result that is the verdict; an earlier `AttemptFinished` carried it."""
    attempt_reason: RerunReason
    """Why the attempt that does not count was made."""
    finding: Finding | None = None


class UsageSampled(Struct, frozen=True, kw_only=True):
    """The resource usage of the running files; emitted a few times a second while a reporter shows it."""

    at_s: float
    usage: Usage
    waiting: int


class Notice(Struct, frozen=True, kw_only=True):
    """A one-line warning that belongs to no file."""

    at_s: float
    text: str


class RunStopping(Struct, frozen=True, kw_only=True):
    """No further file starts. `cause` decides whether running files are stopped or may finish."""

    at_s: float
    cause: StopCause


class RunFinished(Struct, frozen=True, kw_only=True):
    """The last result has arrived. Coverage, if requested, follows."""

    at_s: float
    results: TestResults


RunEvent = (
    RunStarted
    | AttemptStarted
    | FileSlow
    | AttemptFinished
    | VerdictSettled
    | UsageSampled
    | Notice
    | RunStopping
    | RunFinished
)


class Reporter(Protocol):
    """Consumes the events of a run. A reporter that raises is dropped with a notice."""

    def handle(self, event: RunEvent) -> None:
        """Process one event."""

    def close(self) -> None:
        """Complete the output. Called exactly once, even after a failure."""
