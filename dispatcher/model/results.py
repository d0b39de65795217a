"""The results of a run: every planned file with its attempts, its finding and its regression. Pure.

A file has at most one finding. *Flaky* is not a finding: a flaky file passed and failed without a known
cause. A finding uses only comparable attempts (`TestResult.is_comparable`): made by the same worker and
interpreter, and not ended by a signal that may have come from outside.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import ClassVar

from msgspec import Struct

from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.plan import TestFile
from dispatcher.model.rerun_reason import PROVES, RerunReason
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status
from passmuster.model.test_selection import SEPARATOR


class Finding(StrEnum):
    """What several attempts at a file revealed together."""

    VERIFIED = "verified"
    """It passed when forked, and when spawned too."""
    UNVERIFIED = "unverified"
    """It passed when forked, and there was no time to verify it spawned."""
    FAILS_WHEN_FORKED = "fails-when-forked"
    """It failed when forked, passed twice when spawned, and failed when forked once more: a pass decides."""
    PASSES_ONLY_FORKED = "passes-only-forked"
    """It passed when forked and failed twice when spawned, which decides."""
    FAILS_IN_PARALLEL = "fails-in-parallel"
    """It failed while other files ran, and passed exclusively."""
    FAILS_IN_PARTS = "fails-in-parts"
    """It failed in parts, passed as a whole, and failed in parts once more: a pass decides."""
    INDIVISIBLE = "indivisible"
    """Its parts were not the whole file, so it ran as a whole."""

    @property
    def must_spawn(self) -> bool:
        """Whether the finding proves that forking changes the result of the file."""
        return self in (Finding.FAILS_WHEN_FORKED, Finding.PASSES_ONLY_FORKED)


def derive_finding(
    attempts: Sequence[TestResult], reasons: Sequence[RerunReason | None], *, is_unverified: bool
) -> Finding | None:
    """Return the finding of a file with a final verdict; None: there is none.

    Args:
        is_unverified: whether a verification was wanted and gave no result.
    """
    said = [
        (reason, attempt)
        for attempt, reason in zip(attempts, reasons, strict=False)
        if not attempt.is_evicted
    ]
    last = dict(said)
    alone, confirm = last.get(RerunReason.EXCLUSIVE), last.get(RerunReason.VERIFY_PASS)
    if alone is not None and alone.status.is_pass and _are_comparable(said, {RerunReason.EXCLUSIVE}):
        return Finding.FAILS_IN_PARALLEL
    if is_unverified:
        return Finding.UNVERIFIED
    if RerunReason.WHOLE in last:
        return _finding_of_parts(said, last)
    if not _are_comparable(said, PROVES):
        return None
    if confirm is not None and confirm.status.is_pass:
        return Finding.VERIFIED
    # Each attempt is made only if all before it point to forking, so the last attempt of a proof decides.
    recheck, refork = last.get(RerunReason.RECHECK), last.get(RerunReason.REFORK)
    if confirm is not None and _failed_by_itself(recheck):
        return Finding.PASSES_ONLY_FORKED
    if refork is not None and refork.isolation is Isolation.FORK and _failed_by_itself(refork):
        return Finding.FAILS_WHEN_FORKED
    return None


def _finding_of_parts(
    said: Sequence[tuple[RerunReason | None, TestResult]],
    last: Mapping[RerunReason | None, TestResult],
) -> Finding | None:
    """Return the finding of a file that ran in parts, and then as a whole."""
    if any(attempt.indivisible_because for _, attempt in said):
        return Finding.INDIVISIBLE
    is_proven = last[RerunReason.WHOLE].status.is_pass and _failed_by_itself(last.get(RerunReason.REPART))
    return Finding.FAILS_IN_PARTS if is_proven else None


def _are_comparable(
    said: Sequence[tuple[RerunReason | None, TestResult]], purposes: Collection[RerunReason]
) -> bool:
    """Whether the attempts made for these reasons, and the one before the first of them, are comparable."""
    positions = [at for at, (reason, _) in enumerate(said) if reason in purposes]
    compared = [said[at][1] for at in (max(positions[0] - 1, 0), *positions)] if positions else []
    return all(one.is_comparable(other) for one, other in pairwise(compared))


def _failed_by_itself(attempt: TestResult | None) -> bool:
    """Whether an attempt was made and the file itself caused its failure."""
    return attempt is not None and attempt.status.is_failure and not attempt.status.is_infrastructure


class IsolationDifference(Struct, frozen=True, kw_only=True):
    """A file that gave another result when forked."""

    file: TestFile
    texts: tuple[str, ...]
    """Each difference as a phrase, at least one."""


def differences(forked: TestResult, spawned: TestResult, again: TestResult | None = None) -> tuple[str, ...]:
    """Return every difference in verdict, in the set of tests, and in their outcomes.

    Times and messages vary from run to run and are not compared. Neither are tests that differ between two
    spawned attempts.

    Args:
        again: the second spawned attempt; None: there is none.
    """
    found = []
    if forked.status is not spawned.status:
        found.append(f"{forked.status} when forked, {spawned.status} when spawned")
    when_forked, when_spawned = _outcomes(forked), _outcomes(spawned)
    varying = set() if again is None else _varying(when_forked, when_spawned, _outcomes(again))
    for case_id in dict.fromkeys((*when_forked, *when_spawned)):
        before, after = when_forked.get(case_id), when_spawned.get(case_id)
        if before == after or case_id in varying:
            continue
        if after is None:
            found.append(f"{case_id}: ran only when forked")
        elif before is None:
            found.append(f"{case_id}: ran only when spawned")
        else:
            found.append(f"{case_id}: {_named(before)} when forked, {_named(after)} when spawned")
    return tuple(found)


def _varying(
    forked: Mapping[str, Counter[Outcome]],
    spawned: Mapping[str, Counter[Outcome]],
    again: Mapping[str, Counter[Outcome]],
) -> set[str]:
    """Return the tests that differ between two spawned attempts.

    Some have another name in every attempt, with the time or an address. In the forked attempt there must be
    as many new names.
    """
    varying = {case_id for case_id in (*spawned, *again) if spawned.get(case_id) != again.get(case_id)}
    renamed, new = spawned.keys() - again.keys(), forked.keys() - spawned.keys() - again.keys()
    return varying | new if len(renamed) == len(new) else varying


def _outcomes(result: TestResult) -> dict[str, Counter[Outcome]]:
    """Return how often each test had each outcome; one name may stand for several tests (subtests,
    parameters).
    """
    found: dict[str, Counter[Outcome]] = {}
    for case in result.cases:
        found.setdefault(case.case_id, Counter())[case.outcome] += 1
    return found


def _named(outcomes: Counter[Outcome]) -> str:
    return ", ".join(
        str(outcome) if outcomes[outcome] == 1 else f"{outcomes[outcome]} {outcome}"
        for outcome in Outcome
        if outcomes[outcome]
    )


class Measure(StrEnum):
    """The measure that is compared; the value is its name in the events, with its unit."""

    CPU = "cpu_s"
    """CPU seconds."""
    TIME = "duration_s"
    """Wall-clock seconds, for files that were or are I/O-bound, or whose CPU time is unknown."""
    MEMORY = "peak_bytes"
    """The peak memory of its processes together."""


class Regression(Struct, frozen=True, kw_only=True):
    """A file that exceeded its baseline by more than the allowed factor."""

    file: TestFile
    measure: Measure
    baseline: float
    """The usual value, in the unit of `measure`."""
    now: float
    run_slowdown: float = 1.0
    """The general slowdown of the files on the same machine in this run; 1 for memory."""
    is_changed: bool = False
    """Whether the file changed since its last run."""

    @property
    def factor(self) -> float:
        """By which factor the value exceeds the baseline, beyond the slowdown of the run."""
        return self.now / self.run_slowdown / self.baseline


_KNOWN_CAUSES = frozenset(
    {
        Finding.FAILS_WHEN_FORKED,
        Finding.PASSES_ONLY_FORKED,
        Finding.FAILS_IN_PARALLEL,
        Finding.FAILS_IN_PARTS,
    }
)
"""The findings that say why a file both passed and failed."""


class FileAttempts(Struct, frozen=True, kw_only=True):
    """One planned file and its attempts."""

    file: TestFile
    attempts: tuple[TestResult, ...]
    """In order, with evicted ones. Output of passed attempts is dropped, that of others is cut to its end."""
    started: bool = True
    """Whether any attempt started; in a stopped run some files never start."""
    reasons: tuple[RerunReason | None, ...] = ()
    """Why each attempt was made; empty: unknown."""
    verdict_attempt: int | None = None
    """The position of the attempt that counts; None: the last."""
    is_unverified: bool = False
    """Whether a verification was wanted and gave no result."""

    @property
    def final(self) -> TestResult:
        """The attempt that counts."""
        return self.attempts[-1 if self.verdict_attempt is None else self.verdict_attempt]

    @property
    def status(self) -> Status:
        """The verdict on the file."""
        return self.final.status

    @property
    def failures(self) -> tuple[TestResult, ...]:
        """The failed attempts other than the one that counts, unless Passmuster is proven to be the cause."""
        if self.finding in (Finding.FAILS_WHEN_FORKED, Finding.FAILS_IN_PARTS):
            return ()
        return tuple(
            attempt
            for attempt in self.others
            if attempt.status.is_failure
            and not attempt.is_evicted
            # A server that cannot fork says nothing about the file, nor do parts that cannot be put together.
            and not (
                attempt.status.is_infrastructure and (attempt.isolation is Isolation.FORK or attempt.parts)
            )
        )

    @property
    def passes(self) -> tuple[TestResult, ...]:
        """The passed attempts other than the one that counts."""
        return tuple(attempt for attempt in self.others if attempt.status.is_pass and not attempt.is_evicted)

    @property
    def others(self) -> tuple[TestResult, ...]:
        """The attempts other than the one that counts."""
        final = self.final
        return tuple(attempt for attempt in self.attempts if attempt is not final)

    @property
    def finding(self) -> Finding | None:
        """The finding of the attempts; None: there is none."""
        return derive_finding(self.attempts, self.reasons, is_unverified=self.is_unverified)

    @property
    def is_flaky(self) -> bool:
        """Whether it passed and failed in this run without a known cause."""
        if self.finding in _KNOWN_CAUSES:
            return False
        return bool(self.failures if self.status.is_pass else self.status.is_failure and self.passes)

    @property
    def holds_no_tests(self) -> bool:
        """Whether the file contains no test, so that it has no verdict of its own."""
        return self.final.holds_no_tests

    @property
    def was_forked(self) -> bool:
        """Whether any attempt was forked."""
        return any(attempt.isolation is Isolation.FORK for attempt in self.attempts)

    @property
    def difference(self) -> IsolationDifference | None:
        """How the forked attempt differs from the spawned one after it.

        None: they do not differ, or there is no such pair of comparable attempts.
        """
        pair = self._verified
        if pair is None or not pair[0].is_comparable(pair[1]):
            return None
        texts = differences(*pair, self._rechecked(pair[1]))
        return IsolationDifference(file=self.file, texts=texts) if texts else None

    @property
    def varies(self) -> bool:
        """Whether its tests differ between two spawned attempts."""
        pair = self._verified
        again = None if pair is None else self._rechecked(pair[1])
        return pair is not None and again is not None and bool(differences(pair[1], again))

    def _rechecked(self, spawned: TestResult) -> TestResult | None:
        """Return the spawned attempt that repeats a passed verification; None: there is none."""
        found = [
            attempt
            for attempt, reason in zip(self.attempts, self.reasons, strict=False)
            if reason is RerunReason.RECHECK and attempt.status.is_pass
        ]
        is_repeated = bool(found) and spawned.status.is_pass and spawned.is_comparable(found[-1])
        return found[-1] if is_repeated else None

    @property
    def is_incomparable(self) -> bool:
        """Whether the forked attempt cannot be compared with the spawned one after it."""
        pair = self._verified
        return pair is not None and not pair[0].is_comparable(pair[1])

    @property
    def _verified(self) -> tuple[TestResult, TestResult] | None:
        """The forked attempt and the spawned one that verifies it; None: there is no such pair."""
        for reason in (RerunReason.VERIFY_FAILURE, RerunReason.VERIFY_PASS):
            if reason not in self.reasons:
                continue
            position = self.reasons.index(reason)
            forked = [one for one in self.attempts[:position] if not one.is_evicted]
            pairs = zip(self.attempts[position:], self.reasons[position:], strict=True)
            spawned = [
                one for one, why in pairs if why is reason and not (one.is_evicted or one.status.is_cancelled)
            ]
            if forked and spawned:
                return forked[-1], spawned[0]
        return None


class MeasuredInputs(Struct, frozen=True, kw_only=True):
    """The state of everything that passed files have read, when their run ended.

    `dispatcher.inputs.tree_state` says what a key is, and a state.
    """

    files: tuple[str, ...] = ()
    """Paths of the test files."""
    states: tuple[tuple[str, str], ...] = ()
    """By key; an input that does not exist is left out."""
    unsure: tuple[tuple[str, str], ...] = ()
    """Those of the files whose inputs are not known for certain, each with the reason."""
    environment: str = ""
    """A digest of the interpreter and its packages; empty: unknown."""
    workdir: str = ""
    """The working directory of the tests, relative to the root."""


class TestResults(Struct, frozen=True, kw_only=True):
    """All files of a run, in the order of the plan."""

    __test__: ClassVar[bool] = False

    records: tuple[FileAttempts, ...]
    """Exactly one for each planned file."""
    duration_s: float
    peak_bytes: int = 0
    """Peak memory of all files together; 0 if it was never measured."""
    own_cpu_s: float | None = None
    """CPU seconds of Passmuster itself, its fork servers and supervisors; None: unknown, as with a queue."""
    interrupted: bool = False
    is_verified: bool = False
    """Whether every forked file had to run spawned too, so that each difference counts."""
    regressions: tuple[Regression, ...] = ()
    fails_on_regression: bool = False
    allows_no_tests: bool = False
    inputs: tuple[MeasuredInputs, ...] = ()
    """One for each machine that measured them, each for its own files."""

    @property
    def tests_cpu_s(self) -> float:
        """CPU seconds of all attempts at all files, as far as they are known."""
        return math.fsum(attempt.cpu_s or 0.0 for record in self.records for attempt in record.attempts)

    @property
    def passed(self) -> tuple[FileAttempts, ...]:
        """The files that passed, without those that contain no tests."""
        return tuple(record for record in self.records if record.status.is_pass and not record.holds_no_tests)

    @property
    def without_tests(self) -> tuple[FileAttempts, ...]:
        """The files that contain no tests."""
        return tuple(record for record in self.records if record.holds_no_tests)

    @property
    def ran_no_test(self) -> bool:
        """Whether there were files to run but no test in any of them ran."""
        return bool(self.records) and all(record.final.ran_no_test for record in self.records)

    @property
    def failed(self) -> tuple[FileAttempts, ...]:
        """The files that did not pass, whether they ran or not; without the cancelled ones."""
        return tuple(record for record in self.records if record.status.is_failure)

    @property
    def cancelled(self) -> tuple[FileAttempts, ...]:
        """The files that were stopped, or never started, because the run was stopped."""
        return tuple(record for record in self.records if record.status.is_cancelled)

    @property
    def flaky(self) -> tuple[FileAttempts, ...]:
        """The files that passed and failed in this run without a known cause, whatever their verdict."""
        return tuple(record for record in self.records if record.is_flaky)

    @property
    def differing(self) -> tuple[IsolationDifference, ...]:
        """The differences between forked and spawned files, if the run had to verify them."""
        if not self.is_verified:
            return ()
        found = (record.difference for record in self.records)
        return tuple(difference for difference in found if difference is not None)

    @property
    def failing_regressions(self) -> tuple[Regression, ...]:
        """The regressions, if they fail the run."""
        return self.regressions if self.fails_on_regression else ()

    def found(self, finding: Finding) -> tuple[FileAttempts, ...]:
        """Return the files with this finding."""
        return tuple(record for record in self.records if record.finding is finding)


def exit_code_of(results: TestResults) -> ExitCode:
    """Return the exit status for a run's results."""
    if results.interrupted:
        return ExitCode.INTERRUPTED
    if results.failed or results.cancelled or results.differing or results.failing_regressions:
        return ExitCode.FAILED
    if results.ran_no_test and not results.allows_no_tests:
        return ExitCode.NO_TESTS
    return ExitCode.OK


def names_of_tests(result: TestResult, *, is_bad: bool) -> tuple[str, ...]:
    """Return the names inside their file, as `Class::test`, of the tests that failed, or of all others.

    Empty if one of them has no name by which it could be selected, such as the set-up of a class.
    """
    return names_of_cases(result, [case for case in result.cases if case.outcome.is_bad is is_bad])


def names_of_cases(result: TestResult, cases: Iterable[CaseResult]) -> tuple[str, ...]:
    """Return the names inside their file, as `Class::test`, of cases of a result.

    Empty if one of them has no name by which it could be selected, such as the set-up of a class.
    """
    ids = [case.case_id for case in cases]
    if result.runner is RunnerKind.PYTEST:
        names = [case_id.partition(SEPARATOR)[2] for case_id in ids]
    elif result.runner is RunnerKind.UNITTEST:
        names = [SEPARATOR.join(case_id.split(".")[-2:]) if " " not in case_id else "" for case_id in ids]
    else:
        return ()
    return tuple(names) if all(name.isprintable() and name for name in names) else ()
