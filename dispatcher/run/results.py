"""What a run came to: every planned file with all its attempts, counted once."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from dispatcher.again import Again
from dispatcher.exit_codes import ExitCode
from dispatcher.insight.regression import Regression
from dispatcher.plan import TestFile
from dispatcher.run.differences import Difference, differences
from dispatcher.run.findings import Finding, find
from passmuster.result import TestResult
from passmuster.status import Isolation, Outcome, Status


class FileRecord(Struct, frozen=True, kw_only=True):
    """One planned file and what happened to it.

    Args:
        file: the file.
        attempts: every attempt in order, those that only made room included. Outputs of passed
            attempts are dropped and of others cut to their end, so that a large run stays small.
        started: whether any attempt started; the files of a stopped run may never have.
        reasons: what each attempt was for; empty: nothing is known of that.
        stands: the position of the attempt that counts; None: the last. What came after it confirmed it, or
            came to nothing.
        is_unconfirmed: whether a confirmation was wanted and came to nothing.
    """

    file: TestFile
    attempts: tuple[TestResult, ...]
    started: bool = True
    reasons: tuple[Again | None, ...] = ()
    stands: int | None = None
    is_unconfirmed: bool = False

    @property
    def final(self) -> TestResult:
        """The attempt that counts."""
        return self.attempts[-1 if self.stands is None else self.stands]

    @property
    def status(self) -> Status:
        """The verdict on the file."""
        return self.final.status

    @property
    def judged(self) -> tuple[TestResult, ...]:
        """The attempts up to the one that counts, without those that only made room for others."""
        count = len(self.attempts) if self.stands is None else self.stands + 1
        return tuple(attempt for attempt in self.attempts[:count] if not attempt.is_evicted)

    @property
    def failures(self) -> tuple[TestResult, ...]:
        """The failed attempts beside the one that counts, unless forking is proven to be the cause."""
        if self.finding is Finding.FAILED_FORKED:
            return ()
        return tuple(
            attempt for attempt in self.others if attempt.status.is_failure and not _is_without_blame(attempt)
        )

    @property
    def passes(self) -> tuple[TestResult, ...]:
        """The attempts that passed, beside the one that counts."""
        return tuple(attempt for attempt in self.others if attempt.status.is_pass)

    @property
    def others(self) -> tuple[TestResult, ...]:
        """The attempts beside the one that counts."""
        final = self.final
        return tuple(attempt for attempt in self.attempts if attempt is not final)

    @property
    def finding(self) -> Finding | None:
        """What the attempts say together; None: nothing but their results."""
        return find(self.attempts, self.reasons, is_unconfirmed=self.is_unconfirmed)

    @property
    def is_flaky(self) -> bool:
        """Whether it passed and failed in this run, and no cause is known."""
        if self.finding in (Finding.FAILED_FORKED, Finding.FAILED_SPAWNED, Finding.CROWDED):
            return False
        return bool(self.failures if self.status.is_pass else self.status.is_failure and self.passes)

    @property
    def holds_no_tests(self) -> bool:
        """Whether there is nothing in it to run, so that it has no verdict of its own."""
        return self.final.holds_no_tests

    @property
    def was_forked(self) -> bool:
        """Whether any attempt was forked."""
        return any(attempt.isolation is Isolation.FORK for attempt in self.attempts)

    @property
    def difference(self) -> Difference | None:
        """In what its forked attempt differs from the spawned one after it.

        None: in nothing, or that is not known: there is no such attempt, or none that may be compared.
        """
        pair = self._verified
        if pair is None or not pair[0].is_comparable(pair[1]):
            return None
        texts = differences(*pair)
        return Difference(file=self.file, texts=texts) if texts else None

    @property
    def is_incomparable(self) -> bool:
        """Whether its forked attempt may not be compared with the spawned one after it."""
        pair = self._verified
        return pair is not None and not pair[0].is_comparable(pair[1])

    @property
    def _verified(self) -> tuple[TestResult, TestResult] | None:
        """A forked attempt and the spawned one that was to verify it; None: there are none."""
        for reason in (Again.CHECK, Again.CONFIRM):
            if reason not in self.reasons:
                continue
            position = self.reasons.index(reason)
            forked = [one for one in self.attempts[:position] if not one.is_evicted]
            pairs = zip(self.attempts[position:], self.reasons[position:], strict=True)
            spawned = [one for one, why in pairs if why is reason and _is_whole(one)]
            if forked and spawned:
                return forked[-1], spawned[0]
        return None


def _is_without_blame(attempt: TestResult) -> bool:
    """Whether a failure says nothing of the file: it made room, or was forked and never got a fair chance."""
    is_unfair = attempt.status.is_infrastructure and attempt.isolation is Isolation.FORK
    return attempt.is_evicted or is_unfair


def _is_whole(attempt: TestResult) -> bool:
    return not (attempt.is_evicted or attempt.status.is_cancelled)


class TestResults(Struct, frozen=True, kw_only=True):
    """All files of a run, in the order of the plan.

    Args:
        records: exactly one for each planned file.
        duration_s: wall-clock seconds of the run.
        peak_bytes: the most memory all files used together; 0 when it was never measured.
        interrupted: whether a signal ended the run.
        is_verified: whether every forked file was to run spawned too, and each difference counts.
        regressions: what took much more than it used to.
        fails_on_regression: whether that makes the run fail.
        allows_no_tests: whether it may pass although no test ran.
    """

    __test__: ClassVar[bool] = False

    records: tuple[FileRecord, ...]
    duration_s: float
    peak_bytes: int = 0
    interrupted: bool = False
    is_verified: bool = False
    regressions: tuple[Regression, ...] = ()
    fails_on_regression: bool = False
    allows_no_tests: bool = False

    @property
    def passed(self) -> tuple[FileRecord, ...]:
        """The files that passed, without those that hold no tests."""
        return tuple(record for record in self.records if record.status.is_pass and not record.holds_no_tests)

    @property
    def without_tests(self) -> tuple[FileRecord, ...]:
        """The files that hold no tests."""
        return tuple(record for record in self.records if record.holds_no_tests)

    @property
    def ran_no_test(self) -> bool:
        """Whether there were files to run, and not one test in them ran."""
        return bool(self.records) and all(record.final.ran_no_test for record in self.records)

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
        """The files that passed and failed in this run without a known cause; the red ones among them."""
        return tuple(record for record in self.records if record.is_flaky)

    @property
    def differing(self) -> tuple[Difference, ...]:
        """Where forked files differed from spawned ones, if that was to be verified."""
        if not self.is_verified:
            return ()
        found = (record.difference for record in self.records)
        return tuple(difference for difference in found if difference is not None)

    @property
    def failing_regressions(self) -> tuple[Regression, ...]:
        """What took much more than it used to, if that makes the run fail."""
        return self.regressions if self.fails_on_regression else ()

    def found(self, finding: Finding) -> tuple[FileRecord, ...]:
        """Return the files of which that was found."""
        return tuple(record for record in self.records if record.finding is finding)

    def count_cases(self, outcome: Outcome) -> int:
        """Return how many tests inside all files ended in `outcome`, final attempts only."""
        return sum(record.final.count(outcome) for record in self.records)


def exit_code_of(results: TestResults) -> ExitCode:
    """Return the exit status that a run's results ask for."""
    if results.interrupted:
        return ExitCode.INTERRUPTED
    if results.failed or results.cancelled or results.differing or results.failing_regressions:
        return ExitCode.FAILED
    if results.ran_no_test and not results.allows_no_tests:
        return ExitCode.NO_TESTS
    return ExitCode.OK
