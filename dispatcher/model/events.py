"""What happens in a run, told once to everybody who listens.

The run emits `RunEvent`s; reporters consume them and know nothing of each other. `at_s` is seconds
since the start of the run on a clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from dispatcher.model.plan import RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import Finding, TestResults
from passmuster.model.executor import Limit, Usage
from passmuster.model.result import TestResult


class StopCause(StrEnum):
    """Why a run ends before all its files ran."""

    INTERRUPT = "interrupted"
    MAX_FAIL = "too many failures"
    RUN_TIMEOUT = "the run's time is over"
    BROKEN = "what the run needs failed"


class RunStarted(Struct, frozen=True, kw_only=True):
    """The plan stands and the first file is about to start."""

    at_s: float
    started_at: float
    plan: RunPlan
    limits: tuple[Limit, ...]


class AttemptStarted(Struct, frozen=True, kw_only=True):
    """An attempt at a file has started.

    Args:
        at_s: when.
        file: the file.
        attempt: which.
        reason: what for; None: it is the first that counts.
        worker: who runs it, where there are several.
    """

    at_s: float
    file: TestFile
    attempt: int
    reason: RerunReason | None = None
    worker: str = ""


class FileSlow(Struct, frozen=True, kw_only=True):
    """A file has been running for longer than the slow warning allows; said once for each attempt."""

    at_s: float
    file: TestFile
    seconds: float


class AttemptFinished(Struct, frozen=True, kw_only=True):
    """An attempt ended.

    Args:
        at_s: when.
        file: the file.
        result: what came of the attempt. A confirmation that passes leaves the verdict to the one before.
        again: why another attempt follows; None: the file is decided.
        reason: what the attempt was for; None: it was the first, or took the place of the first.
        finding: what the attempts say together, once the file is decided; None: nothing to say.
    """

    at_s: float
    file: TestFile
    result: TestResult
    again: RerunReason | None = None
    reason: RerunReason | None = None
    finding: Finding | None = None


class VerdictSettled(Struct, frozen=True, kw_only=True):
    """A file is decided by an attempt that ended before.

    Either the one that was to follow came to nothing: it was withdrawn, or ended with the run, and has no
    `AttemptFinished` then even if it had started. Or it ended, but does not count: its `AttemptFinished` has
    `RerunReason.SETTLED`, and this event follows at once.

    Args:
        at_s: when.
        file: the file.
        result: what stands; it was told before.
        reason: what the attempt was for that does not count.
        finding: as in `AttemptFinished`.
    """

    at_s: float
    file: TestFile
    result: TestResult
    reason: RerunReason
    finding: Finding | None = None


class UsageSampled(Struct, frozen=True, kw_only=True):
    """What the running files use; emitted a few times a second while somebody watches."""

    at_s: float
    usage: Usage
    waiting: int


class Notice(Struct, frozen=True, kw_only=True):
    """Something the user should know that belongs to no file: a warning of one line."""

    at_s: float
    text: str


class RunStopping(Struct, frozen=True, kw_only=True):
    """No further file starts; what runs is ended, or may finish, by `cause`."""

    at_s: float
    cause: StopCause


class RunFinished(Struct, frozen=True, kw_only=True):
    """The last result is in. Coverage, where asked for, follows."""

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
    """Somebody who is told what happens. A reporter that raises is dropped with a notice."""

    def handle(self, event: RunEvent) -> None:
        """Take note of one event."""

    def close(self) -> None:
        """Finish what was begun: called once, whatever happened."""


Reporters = Sequence[Reporter]
