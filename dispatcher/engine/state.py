"""The state of each planned file during a run. Pure.

Every planned file ends in exactly one counted result: a second answer for a file with a final verdict is
dropped, and `records` raises while a file is open.

A verdict is what happened, never better because Passmuster tried again. As many attempts count as the user
allowed, the first one and `retries` more, and the file passes if one of these passed. Further attempts only
investigate the cause, and change the verdict only if they prove that Passmuster itself was the cause.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field, structs

from dispatcher.engine.retry import AttemptContext, NextAttempt
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, Finding, derive_finding
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status


def verdict_position(
    attempts: Sequence[TestResult], reasons: Sequence[RerunReason | None], *, retries: int
) -> int:
    """Return the position of the attempt that counts: the last one of those that agree with the verdict.

    Args:
        attempts: at one file, in their order; at least one.
        retries: how many further attempts the user allowed.
    """
    last = len(attempts) - 1
    if attempts[last].status.is_cancelled:
        return last
    # An attempt that was evicted too often is the last, and counts.
    candidates = [at for at, attempt in enumerate(attempts) if at == last or not attempt.is_evicted]
    if reasons[last] is RerunReason.VERIFY_PASS and attempts[last].status.is_pass:
        return candidates[-2]
    finding = derive_finding(attempts, reasons, is_unverified=False)
    if finding is Finding.PASSES_ONLY_FORKED:
        return last
    if finding in (Finding.FAILS_WHEN_FORKED, Finding.FAILS_IN_PARTS):
        return max(position for position in candidates if attempts[position].status.is_pass)
    if reasons[last] is RerunReason.VERIFY_PASS and attempts[last].is_comparable(attempts[candidates[-2]]):
        return last  # Open, and it did fail.
    if finding is Finding.FAILS_IN_PARALLEL and len(candidates) > 1 and attempts[candidates[-2]].was_extra:
        return last  # Without oversubscription it would not have run next to others.
    counted = [position for position in candidates if _could_count(attempts, reasons, position)]
    allowed = counted[: 1 + retries] or candidates
    passed = [position for position in allowed if attempts[position].status.is_pass]
    position = passed[0] if passed else allowed[-1]
    return last if attempts[last].status.is_pass is attempts[position].status.is_pass else position


def _could_count(
    attempts: Sequence[TestResult], reasons: Sequence[RerunReason | None], position: int
) -> bool:
    """Whether an attempt may be the verdict: not one of a proof, or one that the file did not make fail."""
    attempt = attempts[position]
    following = reasons[position + 1] if position + 1 < len(reasons) else None
    was_checked = following in (RerunReason.VERIFY_FAILURE, RerunReason.WHOLE)
    has_other_cause = attempt.status.is_infrastructure and (
        attempt.isolation is Isolation.FORK or following is RerunReason.WHOLE
    )
    is_proof = reasons[position] in (RerunReason.VERIFY_PASS, RerunReason.EXCLUSIVE) or (
        reasons[position] is RerunReason.RECHECK and RerunReason.VERIFY_PASS in reasons
    )
    return not is_proof and not (has_other_cause and was_checked)


TAIL_CHARACTERS = 64 * 1024
"""Characters of output kept of an attempt that did not pass. The whole output is in the run's directory; a
run of 100,000 files must not hold all of theirs in memory.
"""


class FileState(Struct):
    """A planned file and its attempts so far."""

    planned: PlannedFile
    attempts: list[TestResult] = field(default_factory=list)
    reasons: list[RerunReason | None] = field(default_factory=list)
    reason: RerunReason | None = None
    """Why the current or next attempt is made."""
    is_best_effort: bool = False
    """Whether the current or next attempt is best effort."""
    verdict_attempt: int | None = None
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
        """The planned file."""
        return self.planned.file

    @property
    def counts_as_failed(self) -> bool:
        """Whether it counts as failed: not while attempts may still prove that forking is the cause."""
        if self.verdict_attempt is None or not (self.is_decided or self.reason is RerunReason.EXCLUSIVE):
            return False
        return self.attempts[self.verdict_attempt].status.is_failure

    def record(self) -> FileAttempts:
        """Return the attempts; there must be at least one."""
        return FileAttempts(
            file=self.file,
            attempts=tuple(self.attempts),
            started=self.has_started,
            reasons=tuple(self.reasons),
            verdict_attempt=self.verdict_attempt,
            is_unverified=self.is_unverified,
        )

    def context(self, *, exclusive_allowed: bool = False) -> AttemptContext:
        """Return what happened before the current or next attempt.

        Args:
            exclusive_allowed: whether the run has an exclusive rerun left; a file that failed in an earlier
                run gets none.
        """
        return AttemptContext(
            reason=self.reason,
            failures=self.failures,
            forked_status=self.forked_status,
            evictions=self.evictions,
            is_fork_verified=self.planned.is_fork_verified,
            exclusive_allowed=exclusive_allowed and not self.planned.failed_before,
            spawned_bytes=self.planned.spawned_bytes,
            before=next((one for one in reversed(self.attempts) if not one.is_evicted), None),
            parts=self.planned.task.parts,
        )


class RunState:
    """The files of a plan, each open until its verdict is final.

    Args:
        retries: how many further attempts the user allowed for a file whose task sets no number.
    """

    def __init__(self, files: Sequence[PlannedFile], *, retries: int = 0) -> None:
        self._retries = retries
        self._files = {planned.file.path: FileState(planned) for planned in files}
        self._running: dict[str, FileState] = {}
        self._open = set(self._files)
        self._best_effort: set[str] = set()
        self._failed: set[str] = set()

    def __getitem__(self, path: str) -> FileState:
        """Return the state of a planned file; only this class changes it."""
        return self._files[path]

    @property
    def open_files(self) -> int:
        """How many files have no final verdict yet."""
        return len(self._open)

    @property
    def best_effort_files(self) -> int:
        """How many of the open files wait only for a best-effort attempt."""
        return len(self._best_effort)

    @property
    def failed_files(self) -> int:
        """How many files failed, including those whose exclusive rerun is pending."""
        return len(self._failed)

    def is_expected(self, path: str, attempt: int) -> bool:
        """Whether a result of that attempt would be the first, and the file is open."""
        file = self._files[path]
        return not file.is_decided and attempt > file.last_attempt

    def start(self, path: str, at_s: float) -> bool:
        """Note that an attempt started; False, without a change, if the verdict is already final."""
        file = self._files[path]
        if file.is_decided:
            return False
        file.running_since, file.is_slow, file.has_started = at_s, False, True
        self._running[path] = file
        return True

    def end_attempt(self, path: str, result: TestResult, following: NextAttempt | None = None) -> bool:
        """Note that an attempt finished; False if it already has a result, and nothing is counted.

        Args:
            following: the attempt that follows; None: the verdict is final.
        """
        if not self.is_expected(path, result.attempt):
            return False
        file = self._files[path]
        rerun_reason = following.reason if following is not None else None
        file.last_attempt = result.attempt
        file.attempts.append(_compact(result))
        file.reasons.append(file.reason)
        is_verified = rerun_reason in (RerunReason.VERIFY_FAILURE, RerunReason.WHOLE)
        if rerun_reason is RerunReason.VERIFY_FAILURE:
            file.forked_status = result.status
        if result.is_evicted:
            file.evictions += 1
        elif result.status.is_failure and not (is_verified and result.status.is_infrastructure):
            file.failures += 1
        if following is None:
            file.verdict_attempt, file.is_decided = self._verdict(file), True
        elif rerun_reason is not RerunReason.EVICTED:
            file.reason = rerun_reason
            file.verdict_attempt = self._verdict(file) if following.is_provisional else None
            file.is_best_effort = following.is_best_effort
        self._update(file)
        return True

    def settle(self, path: str) -> FileAttempts | None:
        """Make the provisional verdict of a file final; None: it has none, and nothing changes."""
        file = self._files[path]
        if file.is_decided or file.verdict_attempt is None:
            return None
        file.is_unverified = file.reason is RerunReason.VERIFY_PASS
        file.is_decided = True
        self._update(file)
        return file.record()

    def cancel(self, path: str, reason: str) -> None:
        """Record a file that will not start (again) as decided."""
        attempt = self._files[path].last_attempt + 1
        self.end_attempt(
            path, TestResult(file_path=path, status=Status.CANCELLED, error=reason, attempt=attempt)
        )

    def _verdict(self, file: FileState) -> int:
        retries = self._retries if file.planned.task.retries is None else file.planned.task.retries
        return verdict_position(file.attempts, file.reasons, retries=retries)

    def _update(self, file: FileState) -> None:
        """Count a file that does not run any more."""
        path = file.file.path
        file.running_since = None
        self._running.pop(path, None)
        for paths, belongs in (
            (self._open, not file.is_decided),
            (self._best_effort, file.is_best_effort and not file.is_decided),
            (self._failed, file.counts_as_failed),
        ):
            if belongs:
                paths.add(path)
            else:
                paths.discard(path)

    def newly_slow(self, at_s: float, slow_s: float) -> list[tuple[TestFile, float]]:
        """Return the files that have been running for `slow_s` seconds, and for how long; each once for each
        attempt.

        Best-effort attempts are never reported, because the run does not wait for them.
        """
        found = []
        for file in self._running.values():
            since = file.running_since
            if since is not None and not (file.is_slow or file.is_best_effort) and at_s - since >= slow_s:
                file.is_slow = True
                found.append((file.file, at_s - since))
        return found

    def records(self) -> tuple[FileAttempts, ...]:
        """Return the attempts at each file, in the order of the plan.

        Raises:
            RuntimeError: a file is still open; that would be an error in the run's loop.
        """
        if self._open:
            raise RuntimeError(f"{len(self._open)} planned files have no result")
        return tuple(file.record() for file in self._files.values())


def _compact(result: TestResult) -> TestResult:
    """Return a result as it is kept until the run ends."""
    if result.inputs is not None:
        result = structs.replace(result, inputs=result.inputs.shared())
    return trim_output(result)


def trim_output(result: TestResult) -> TestResult:
    """Return a result with only the end of its output, or without output if it passed."""
    keep = 0 if result.status.is_pass else TAIL_CHARACTERS
    if len(result.output) <= keep:
        return result
    return structs.replace(result, output=result.output[-keep:] if keep else "")
