"""Decides whether a file whose attempt has just finished runs again, and how. Pure.

A file runs again in these cases:

- It was evicted to free memory for other files. An eviction is not a failure and uses up no retry.
- It did not pass when forked: it is *verified*, that is spawned. If it passes, it is spawned once more, and
  if that passes, forked once more. Only if that fails, forking is proven to be the cause. The order is not
  forked, spawned, forked, spawned, because a file that fails every other time would fail in step with the
  forks.
- It failed and the user allowed retries.
- It failed while other files ran, for the first time as far as is known: it reruns exclusively.
- It passed when forked and no spawned result is known: it is *verified*, and if that fails, spawned once
  more.

A verification or an exclusive rerun is compared with the attempt before it, and therefore requests the same
worker. If it ran on another one, or a signal from outside ended it, nothing is proven, and no further attempt
is made.

An attempt here never improves a verdict by itself: `dispatcher.engine.state` decides which attempt counts.
There are at most three attempts beyond the first one and the retries.
"""

from __future__ import annotations

import math

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.model.rerun_reason import PROVISIONAL_AFTER, RerunReason
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.task import TestTask

EVICTED_MARGIN = 1.25
"""The factor for the peak of an evicted file, which was killed before it reached its real peak."""

MAX_EVICTIONS = 5
"""How often a file may be evicted for other files of its run. Running exclusively it never is, so more than
two evictions indicate an error in Passmuster. For files of other runs on the machine it is evicted any
number of times, and waits each time until memory is free.
"""

MAX_EXCLUSIVE_RERUNS = 10
"""Files of a run that rerun exclusively: more failures than that have another cause than interference, and
each such attempt blocks all other files.
"""

NEVER_RETRIED = frozenset({Status.COLLECT_ERROR, Status.NO_TESTS})
"""Deterministic failures: a retry would give the same result, because which tests a file contains, and
whether it can be imported, depends on its text and its environment.
"""

POSSIBLY_INTERFERENCE = frozenset({Status.FAIL, Status.TIMEOUT, Status.CRASH})
"""Failures that other files running at the same time may have caused."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """What a run does about finished attempts.

    Args:
        retries: how often a failed file runs again, unless its task sets its own number.
        verifies_forks: whether every forked file runs spawned too, whatever is known and whatever it costs.
    """

    retries: int = 0
    verifies_forks: bool = False


class AttemptContext(Struct, frozen=True, kw_only=True):
    """What happened before the end of an attempt.

    Args:
        reason: why the attempt was made; None: it was the first. An attempt after an eviction keeps the
            reason of the evicted one.
        failures: earlier failed attempts at the file; without this one, without evicted ones, and without
            forked ones that were verified because they were not fair.
        forked_status: the status of the forked attempt that was verified; None: none was.
        evictions: earlier evicted attempts.
        is_confirmed: whether an earlier run saw this version of the file pass forked and spawned.
        may_run_alone: whether it may rerun exclusively.
        spawned_bytes: peak bytes to reserve for it when spawned; None: unknown.
        before: the attempt before, evicted ones not counted; None: there was none.
    """

    reason: RerunReason | None = None
    failures: int = 0
    forked_status: Status | None = None
    evictions: int = 0
    is_confirmed: bool = False
    may_run_alone: bool = False
    spawned_bytes: int | None = None
    before: TestResult | None = None


class NextAttempt(Struct, frozen=True, kw_only=True):
    """A further attempt.

    Args:
        again: why it is made.
        is_best_effort: whether it is best effort.
    """

    task: TestTask
    reason: RerunReason
    is_best_effort: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether it is urgent: the user waits for its verdict."""
        return not self.task.exclusive and self.reason is not RerunReason.VERIFY_PASS

    @property
    def is_provisional(self) -> bool:
        """Whether the file already has a verdict that holds if this attempt gives no result."""
        return self.reason in PROVISIONAL_AFTER


def next_attempt(
    task: TestTask,
    result: TestResult,
    *,
    past: AttemptContext,
    rules: RetryPolicy,
    budget_bytes: int | None = None,
) -> NextAttempt | None:
    """Return the attempt that follows this one; None: the verdict is final.

    Args:
        task: the attempt that finished.
        past: what happened before.
        budget_bytes: the memory budget of all files together, which bounds every prediction; None: unknown
            here.
    """
    if result.is_evicted:
        return _after_eviction(task, result, past=past, budget_bytes=budget_bytes)
    if result.status.is_cancelled or past.reason in (RerunReason.EXCLUSIVE, RerunReason.REFORK):
        return None
    if past.reason in (RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.VERIFY_PASS):
        further = _next_of_proof(task, result, past=past, budget_bytes=budget_bytes)
        if further is not None or past.reason is not RerunReason.VERIFY_FAILURE:
            return further
    elif needs_verification(task, result, rules):
        if not result.status.is_pass:
            check = _spawned(_with_room(task, result, budget_bytes=budget_bytes), past)
            return NextAttempt(
                task=replace(check, wanted_worker=result.worker), reason=RerunReason.VERIFY_FAILURE
            )
        if rules.verifies_forks or not past.is_confirmed:
            is_best_effort = not rules.verifies_forks
            confirm = replace(_spawned(_following(task), past), wanted_worker=result.worker)
            return NextAttempt(task=confirm, reason=RerunReason.VERIFY_PASS, is_best_effort=is_best_effort)
    if result.status.is_pass:
        return None
    retries = rules.retries if task.retries is None else task.retries
    if result.status not in NEVER_RETRIED and past.failures < retries:
        retry = _with_room(task, result, budget_bytes=budget_bytes)
        return NextAttempt(task=replace(retry, wanted_worker=""), reason=RerunReason.RETRY)
    if (
        past.may_run_alone
        and result.status in POSSIBLY_INTERFERENCE
        and not (result.was_alone or task.exclusive)
    ):
        isolation, worker = result.isolation, result.worker
        alone = replace(_following(task), exclusive=True, isolation=isolation, wanted_worker=worker)
        return NextAttempt(task=alone, reason=RerunReason.EXCLUSIVE)
    return None


def _next_of_proof(
    task: TestTask, result: TestResult, *, past: AttemptContext, budget_bytes: int | None
) -> NextAttempt | None:
    """Return the attempt that a proof for or against forking needs after an attempt for this reason."""
    if past.before is not None and not past.before.is_comparable(result):
        return None
    passes = result.status.is_pass
    was_checked = past.forked_status is not None and not past.forked_status.is_infrastructure
    if past.reason is RerunReason.VERIFY_FAILURE and passes and was_checked:
        return NextAttempt(task=_following(task), reason=RerunReason.RECHECK)
    if past.reason is RerunReason.RECHECK and passes and was_checked:
        return NextAttempt(
            task=replace(_following(task), isolation=Isolation.AUTO), reason=RerunReason.REFORK
        )
    if past.reason is RerunReason.VERIFY_PASS and not passes:
        return NextAttempt(
            task=_with_room(task, result, budget_bytes=budget_bytes), reason=RerunReason.RECHECK
        )
    return None


def needs_verification(task: TestTask, result: TestResult, rules: RetryPolicy) -> bool:
    """Whether a forked attempt must be repeated spawned.

    If the user demands forks they are trusted, except with verification on.
    """
    if result.isolation is not Isolation.FORK:
        return False
    # A worker that forked although the task said spawn is not asked again.
    return task.isolation is Isolation.AUTO or (rules.verifies_forks and task.isolation is Isolation.FORK)


def is_inconclusive(result: TestResult, *, past: AttemptContext, rules: RetryPolicy) -> bool:
    """Whether an attempt after a provisional verdict leaves the verdict unchanged: it was stopped, or was not
    fair.
    """
    if past.reason is RerunReason.VERIFY_PASS and not rules.verifies_forks:
        no_chance = result.is_evicted or result.status.is_infrastructure
        return no_chance or result.status.is_cancelled
    if past.reason in (RerunReason.EXCLUSIVE, RerunReason.REFORK, RerunReason.RECHECK):
        return result.status.is_cancelled or result.status.is_infrastructure
    return past.reason is RerunReason.VERIFY_PASS and result.status.is_cancelled


def _after_eviction(
    task: TestTask, result: TestResult, *, past: AttemptContext, budget_bytes: int | None
) -> NextAttempt | None:
    if past.evictions >= MAX_EVICTIONS and not result.was_alone:
        return None
    again = replace(
        _following(task),
        predicted_bytes=_corrected_bytes(task, result, budget_bytes=budget_bytes),
        # The second prediction was wrong as well; an exclusive file is never evicted for another one.
        exclusive=task.exclusive or past.evictions > 0,
    )
    return NextAttempt(task=again, reason=RerunReason.EVICTED)


def _following(task: TestTask) -> TestTask:
    return replace(task, attempt=task.attempt + 1)


def _spawned(task: TestTask, past: AttemptContext) -> TestTask:
    """Return a task that is spawned. Its memory differs from forked, because no pages are shared."""
    predicted_bytes = task.predicted_bytes if task.exclusive else past.spawned_bytes
    return replace(task, isolation=Isolation.SPAWN, predicted_bytes=predicted_bytes)


def _with_room(task: TestTask, result: TestResult, *, budget_bytes: int | None) -> TestTask:
    """Return the following attempt, exclusive after one that exceeded a memory limit."""
    again = _following(task)
    if result.status is not Status.MEMORY:
        return again
    # An exclusive rerun has the best chance, and affects no other file if it fails again.
    predicted_bytes = _corrected_bytes(task, result, budget_bytes=budget_bytes)
    return replace(again, predicted_bytes=predicted_bytes, exclusive=True)


def _corrected_bytes(task: TestTask, result: TestResult, *, budget_bytes: int | None) -> int | None:
    """Return the bytes to reserve for a file that used more than predicted; None: still unknown."""
    if result.peak_bytes is None:
        return task.predicted_bytes
    corrected_bytes = max(task.predicted_bytes or 0, math.ceil(result.peak_bytes * EVICTED_MARGIN))
    return corrected_bytes if budget_bytes is None else min(corrected_bytes, budget_bytes)
