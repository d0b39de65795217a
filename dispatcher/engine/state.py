"""The state of each planned file during a run. Pure.

Every planned file ends in exactly one counted result: a second answer for a file with a final verdict is
dropped, and `results` raises while a file is open.

A verdict is what happened, never better because Passmuster tried again. As many attempts count as the user
allowed, the first one and `retries` more, and the file passes if one of these passed. Further attempts only
investigate the cause, and change the verdict only if they prove that Passmuster itself was the cause.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field, structs

from dispatcher.config.model import DEFAULT_REGRESSION_FACTOR
from dispatcher.engine.retry import AttemptContext, NextAttempt
from dispatcher.history.regressions import find_regressions
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, Finding, TestResults, derive_finding
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status


def verdict_position(
    attempts: Sequence[TestResult], reasons: Sequence[RerunReason | None], *, retries: int
) -> int:
    """Return the position of the attempt that counts: the last one of those that agree with the verdict.

    Args:
        attempts: at one file, in their order; at least one.
        reasons: why each attempt was made.
        retries: how many further attempts the user allowed.
    """
    last = len(attempts) - 1
    if attempts[last].status.is_cancelled:
        return last
    # An attempt that was evicted too often is the last, and counts.
    told = [at for at, attempt in enumerate(attempts) if at == last or not attempt.is_evicted]
    if reasons[last] is RerunReason.VERIFY_PASS and attempts[last].status.is_pass:
        return told[-2]
    finding = derive_finding(attempts, reasons, is_unverified=False)
    if finding is Finding.PASSES_ONLY_FORKED:
        return last
    if finding is Finding.FAILS_WHEN_FORKED:
        return max(position for position in told if attempts[position].status.is_pass)
    if reasons[last] is RerunReason.VERIFY_PASS and attempts[last].is_comparable(attempts[told[-2]]):
        return last  # Open, and it did fail.
    if finding is Finding.FAILS_IN_PARALLEL and len(told) > 1 and attempts[told[-2]].was_extra:
        return last  # Without oversubscription it would not have run next to others.
    counted = [position for position in told if _could_count(attempts, reasons, position)]
    allowed = counted[: 1 + retries] or told
    passed = [position for position in allowed if attempts[position].status.is_pass]
    position = passed[0] if passed else allowed[-1]
    return last if attempts[last].status.is_pass is attempts[position].status.is_pass else position


def _could_count(
    attempts: Sequence[TestResult], reasons: Sequence[RerunReason | None], position: int
) -> bool:
    """Whether an attempt may be the verdict: not one that was part of a proof, or that was not fair."""
    attempt = attempts[position]
    is_unfair = attempt.status.is_infrastructure and attempt.isolation is Isolation.FORK
    was_checked = position + 1 < len(reasons) and reasons[position + 1] is RerunReason.VERIFY_FAILURE
    is_proof = reasons[position] in (RerunReason.VERIFY_PASS, RerunReason.EXCLUSIVE) or (
        reasons[position] is RerunReason.RECHECK and RerunReason.VERIFY_PASS in reasons
    )
    return not is_proof and not (is_unfair and was_checked)


TAIL_CHARACTERS = 64 * 1024
"""Characters of output kept of an attempt that did not pass. The whole output is in the run's directory; a
run of 100,000 files must not hold all of theirs in memory.
"""


class _Entry(Struct):
    planned: PlannedFile
    attempts: list[TestResult] = field(default_factory=list)
    reasons: list[RerunReason | None] = field(default_factory=list)
    reason: RerunReason | None = None
    """Why the current or next attempt is made."""
    is_best_effort: bool = False
    standing: int | None = None
    """The position of the attempt that counts: provisionally while another one follows, else finally."""
    last_attempt: int = 0
    failures: int = 0
    forked_status: Status | None = None
    evictions: int = 0
    running_since: float | None = None
    is_slow: bool = False
    is_decided: bool = False
    is_unverified: bool = False
    has_started: bool = False

    @property
    def file(self) -> TestFile:
        return self.planned.file

    def record(self) -> FileAttempts:
        return FileAttempts(
            file=self.file,
            attempts=tuple(self.attempts),
            started=self.has_started,
            reasons=tuple(self.reasons),
            verdict_attempt=self.standing,
            is_unverified=self.is_unverified,
        )


class RunState:
    """The files of a plan, each open until its verdict is final.

    Args:
        retries: how many further attempts the user allowed for a file whose task sets no number.
    """

    def __init__(self, files: Sequence[PlannedFile], *, retries: int = 0) -> None:
        self._retries = retries
        self._entries = {planned.file.path: _Entry(planned) for planned in files}
        self._running: dict[str, _Entry] = {}
        self._open = len(self._entries)
        self._best_effort = 0
        self._failed = 0

    @property
    def open_files(self) -> int:
        """How many files have no final verdict yet."""
        return self._open

    @property
    def best_effort_files(self) -> int:
        """How many of the open files wait only for a best-effort attempt."""
        return self._best_effort

    @property
    def failed_files(self) -> int:
        """How many files failed, including those whose exclusive rerun is pending."""
        return self._failed

    @property
    def running_files(self) -> int:
        """How many files run now."""
        return len(self._running)

    def file(self, path: str) -> TestFile:
        """Return the planned file of that path."""
        return self._entries[path].file

    def planned(self, path: str) -> PlannedFile:
        """Return the plan of a file."""
        return self._entries[path].planned

    def record(self, path: str) -> FileAttempts:
        """Return the attempts at a file that has at least one result."""
        return self._entries[path].record()

    def failures(self, path: str) -> int:
        """Return how many attempts at a file have failed."""
        return self._entries[path].failures

    def evictions(self, path: str) -> int:
        """Return how often a file was evicted."""
        return self._entries[path].evictions

    def context(self, path: str, *, may_run_alone: bool = False) -> AttemptContext:
        """Return what happened before the current or next attempt.

        Args:
            may_run_alone: whether the run has an exclusive rerun left for a file that did not fail before.
        """
        entry = self._entries[path]
        return AttemptContext(
            reason=entry.reason,
            failures=entry.failures,
            forked_status=entry.forked_status,
            evictions=entry.evictions,
            is_confirmed=entry.planned.is_fork_verified,
            may_run_alone=may_run_alone and not entry.planned.failed_before,
            spawned_bytes=entry.planned.spawned_bytes,
            before=next((one for one in reversed(entry.attempts) if not one.is_evicted), None),
        )

    def is_expected(self, path: str, attempt: int) -> bool:
        """Whether a result of that attempt would be the first, and the file is open."""
        entry = self._entries[path]
        return not entry.is_decided and attempt > entry.last_attempt

    def is_best_effort(self, path: str) -> bool:
        """Whether the current or next attempt at a file is best effort."""
        return self._entries[path].is_best_effort

    def start(self, path: str, at_s: float) -> bool:
        """Note that an attempt started; False, without a change, if the verdict is already final."""
        entry = self._entries[path]
        if entry.is_decided:
            return False
        entry.running_since, entry.is_slow, entry.has_started = at_s, False, True
        self._running[path] = entry
        return True

    def end_attempt(
        self, path: str, result: TestResult, *, is_final: bool, following: NextAttempt | None = None
    ) -> bool:
        """Note that an attempt finished; False if it already has a result, and nothing is counted.

        Args:
            is_final: whether this makes the verdict final.
            following: the attempt that follows; None: not known.
        """
        if not self.is_expected(path, result.attempt):
            return False
        entry = self._entries[path]
        again = following.reason if following is not None else None
        entry.last_attempt = result.attempt
        entry.attempts.append(_trim(result))
        entry.reasons.append(entry.reason)
        if again is RerunReason.VERIFY_FAILURE:
            entry.forked_status = result.status
        if result.is_evicted:
            entry.evictions += 1
        elif result.status.is_failure and not (
            again is RerunReason.VERIFY_FAILURE and result.status.is_infrastructure
        ):
            entry.failures += 1
        self._stop_running(entry)
        if is_final:
            self._let_stand(entry, self._verdict(entry))
            self._decide(entry)
        elif following is not None and again is not RerunReason.EVICTED:
            self._let_stand(entry, None)
            entry.reason = again
            self._let_stand(entry, self._verdict(entry) if following.is_provisional else None)
            self._mark_best_effort(entry, is_best_effort=following.is_best_effort)
        return True

    def _verdict(self, entry: _Entry) -> int:
        task = entry.planned.task
        retries = self._retries if task.retries is None else task.retries
        return verdict_position(entry.attempts, entry.reasons, retries=retries)

    def settle(self, path: str) -> FileAttempts | None:
        """Make the provisional verdict of a file final; None: it has none, and nothing changes."""
        entry = self._entries[path]
        if entry.is_decided or entry.standing is None:
            return None
        entry.is_unverified = entry.reason is RerunReason.VERIFY_PASS
        self._stop_running(entry)
        self._decide(entry)
        return entry.record()

    def cancel(self, path: str, reason: str) -> None:
        """Record a file that will not start (again) as decided."""
        entry = self._entries[path]
        cancelled = TestResult(
            file_path=path, status=Status.CANCELLED, error=reason, attempt=entry.last_attempt + 1
        )
        self.end_attempt(path, cancelled, is_final=True)

    def _stop_running(self, entry: _Entry) -> None:
        entry.running_since = None
        self._running.pop(entry.file.path, None)

    def _decide(self, entry: _Entry) -> None:
        self._failed -= self._counts_as_failed(entry)
        entry.is_decided = True
        self._failed += self._counts_as_failed(entry)
        self._open -= 1
        self._mark_best_effort(entry, is_best_effort=False)

    def _let_stand(self, entry: _Entry, position: int | None) -> None:
        """Set the attempt that is the verdict."""
        self._failed -= self._counts_as_failed(entry)
        entry.standing = position
        self._failed += self._counts_as_failed(entry)

    @staticmethod
    def _counts_as_failed(entry: _Entry) -> bool:
        """Whether a file counts as failed: not while attempts may still prove that forking is the cause."""
        if entry.standing is None or not (entry.is_decided or entry.reason is RerunReason.EXCLUSIVE):
            return False
        return entry.attempts[entry.standing].status.is_failure

    def _mark_best_effort(self, entry: _Entry, *, is_best_effort: bool) -> None:
        self._best_effort += is_best_effort - entry.is_best_effort
        entry.is_best_effort = is_best_effort

    def newly_slow(self, at_s: float, slow_s: float) -> tuple[TestFile, ...]:
        """Return the files that have been running for `slow_s` seconds, each once for each attempt.

        Best-effort attempts are never reported, because the run does not wait for them.
        """
        found = []
        for entry in self._running.values():
            since = entry.running_since
            if since is not None and not (entry.is_slow or entry.is_best_effort) and at_s - since >= slow_s:
                entry.is_slow = True
                found.append(entry.file)
        return tuple(found)

    def seconds_running(self, path: str, at_s: float) -> float:
        """Return for how long a file's attempt has been running."""
        since = self._entries[path].running_since
        return 0.0 if since is None else at_s - since

    def last_duration_s(self, path: str) -> float:
        """Return how long the last attempt at a file took, in seconds; 0: there was none."""
        attempts = self._entries[path].attempts
        return attempts[-1].duration if attempts else 0.0

    def results(
        self,
        *,
        duration_s: float,
        peak_bytes: int,
        interrupted: bool,
        is_verified: bool = False,
        regression_factor: float = DEFAULT_REGRESSION_FACTOR,
        fails_on_regression: bool = False,
        allows_no_tests: bool = False,
    ) -> TestResults:
        """Return the results of the run; the arguments are those of `TestResults`.

        Args:
            regression_factor: the factor above the baseline from which a file is one of `regressions`.

        Raises:
            RuntimeError: a file is still open; that would be an error in the run's loop.
        """
        if self._open:
            raise RuntimeError(f"{self._open} planned files have no result")
        records = tuple(entry.record() for entry in self._entries.values())
        planned = [entry.planned for entry in self._entries.values()]
        return TestResults(
            records=records,
            duration_s=duration_s,
            peak_bytes=peak_bytes,
            interrupted=interrupted,
            is_verified=is_verified,
            regressions=find_regressions(planned, records, factor=regression_factor),
            fails_on_regression=fails_on_regression,
            allows_no_tests=allows_no_tests,
        )


def _trim(result: TestResult) -> TestResult:
    keep = 0 if result.status.is_pass else TAIL_CHARACTERS
    if len(result.output) <= keep:
        return result
    return structs.replace(result, output=result.output[-keep:] if keep else "")
