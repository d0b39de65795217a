"""What a run came to: every planned file with all its attempts, counted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dispatcher.plan import TestFile
from passmuster.result import TestResult
from passmuster.status import Outcome, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """One planned file and what happened to it.

    Args:
        file: the file.
        attempts: every attempt in order, those that only made room included. Outputs of passed
            attempts are dropped and of others cut to their end, so that a large run stays small.
        started: whether any attempt started; the files of a stopped run may never have.
    """

    file: TestFile
    attempts: tuple[TestResult, ...]
    started: bool = True

    @property
    def final(self) -> TestResult:
        """The attempt that counts: the last."""
        return self.attempts[-1]

    @property
    def status(self) -> Status:
        """The verdict on the file."""
        return self.final.status

    @property
    def judged(self) -> tuple[TestResult, ...]:
        """The attempts without those that only made room for others."""
        return tuple(attempt for attempt in self.attempts if not attempt.is_evicted)

    @property
    def is_flaky(self) -> bool:
        """Whether it passed only after it had failed."""
        return self.status.is_pass and any(attempt.status.is_failure for attempt in self.judged[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResults:
    """All files of a run, in the order of the plan.

    Args:
        records: exactly one for each planned file.
        duration_s: wall-clock seconds of the run.
        peak_bytes: the most memory all files used together; 0 when it was never measured.
        interrupted: whether a signal ended the run.
    """

    __test__: ClassVar[bool] = False

    records: tuple[FileRecord, ...]
    duration_s: float
    peak_bytes: int = 0
    interrupted: bool = False

    @property
    def passed(self) -> tuple[FileRecord, ...]:
        """The files that passed."""
        return tuple(record for record in self.records if record.status.is_pass)

    @property
    def failed(self) -> tuple[FileRecord, ...]:
        """The files that ran, or should have, and did not pass; without the cancelled ones."""
        return tuple(record for record in self.records if record.status.is_failure)

    @property
    def cancelled(self) -> tuple[FileRecord, ...]:
        """The files that were stopped, or never started, because the run was stopped."""
        return tuple(record for record in self.records if record.status.is_cancelled)

    @property
    def flaky(self) -> tuple[FileRecord, ...]:
        """The files that passed only when they ran again."""
        return tuple(record for record in self.records if record.is_flaky)

    def count_cases(self, outcome: Outcome) -> int:
        """Return how many tests inside all files ended in `outcome`, final attempts only."""
        return sum(record.final.count(outcome) for record in self.records)
