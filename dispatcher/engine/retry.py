"""Whether a file that has just ended runs again, and how.

Pure. A file runs again because

- it was stopped only to make room for others, which is the runner's doing and costs it nothing;
- it did not pass when forked: it is *checked*, spawned. If it passes, it is spawned once more, and if that
  passes, forked once more. Only if that fails, forking is proven to be the cause. The order is not forked,
  spawned, forked, spawned: a file that fails every other time would fail in step with the forks;
- it failed and the user allowed retries;
- it failed beside others, for the first time as far as anybody knows: it runs once more alone;
- it passed when forked and nobody knows whether it does when spawned: it is *confirmed*, and if that fails,
  spawned once more.

What is checked, confirmed or run alone is compared with the attempt before it. So it asks for the same
worker. Where it ran on another one all the same, or a signal from outside ended it, nothing is proven, and no
further attempt is made to prove it.

An attempt here never makes a verdict better by itself: `dispatcher.engine.state` says which attempt counts.
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
"""What the peak of a file that had to make room is multiplied with: it was stopped before its real one."""

MAX_EVICTIONS = 5
"""Times a file may make room for others of its run. Alone it never has to, so more than two mean a fault of
ours. For files of other runs on the machine it makes room as often as it takes: it waits each time until
there is."""

MAX_EXCLUSIVE_RERUNS = 10
"""Files of a run that run once more alone: more failures than that have another cause than the other files,
and each such attempt costs the time in which nothing else runs."""

NEVER_RETRIED = frozenset({Status.COLLECT_ERROR, Status.NO_TESTS})
"""Failures that are no matter of luck: which tests a file holds, and whether it can be imported at all,
depends on its text and its environment. Running it again would only say the same once more."""

POSSIBLY_INTERFERENCE = frozenset({Status.FAIL, Status.TIMEOUT, Status.CRASH})
"""Failures that others who ran at the same time may have caused."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """What a run does about files that have ended.

    Args:
        retries: how often a file that failed runs again, unless its task says otherwise.
        verifies_forks: whether every forked file runs spawned too, whatever is known and whatever it takes.
    """

    retries: int = 0
    verifies_forks: bool = False


class AttemptContext(Struct, frozen=True, kw_only=True):
    """What came before the end of an attempt.

    Args:
        reason: what the attempt was for; None: it was the first. An attempt after one that made room is
            for the same.
        failures: earlier attempts at the file that failed, without this one, without those that made room,
            and without forked ones that were checked because they had no fair chance.
        forked_status: how the forked attempt failed that was checked; None: none was checked.
        evictions: earlier attempts that were stopped to make room.
        is_confirmed: whether an earlier run saw it pass forked and spawned, as it is now.
        may_run_alone: whether it gets a chance alone.
        spawned_bytes: peak bytes to reserve for it when it is spawned; None: unknown.
        before: the attempt before, not counting those that made room; None: there was none.
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
        task: what to run.
        again: why.
        is_spare: whether it only uses idle time, and may be left out.
    """

    task: TestTask
    again: RerunReason
    is_spare: bool = False

    @property
    def goes_first(self) -> bool:
        """Whether it starts before all that wait: the user waits for its verdict."""
        return not self.task.alone and self.again is not RerunReason.VERIFY_PASS

    @property
    def is_provisional(self) -> bool:
        """Whether there is a verdict already that holds if this attempt comes to nothing."""
        return self.again in PROVISIONAL_AFTER


def next_attempt(
    task: TestTask,
    result: TestResult,
    *,
    past: AttemptContext,
    rules: RetryPolicy,
    budget_bytes: int | None = None,
) -> NextAttempt | None:
    """Return the attempt that follows this one; None: the file is decided.

    Args:
        task: the attempt that ended.
        result: what came of it.
        past: what came before.
        rules: what the run does about it.
        budget_bytes: what all files together may use; no prediction is above it; None: not known here.
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
                task=replace(check, wanted_worker=result.worker), again=RerunReason.VERIFY_FAILURE
            )
        if rules.verifies_forks or not past.is_confirmed:
            is_spare = not rules.verifies_forks
            confirm = replace(_spawned(_following(task), past), wanted_worker=result.worker)
            return NextAttempt(task=confirm, again=RerunReason.VERIFY_PASS, is_spare=is_spare)
    if result.status.is_pass:
        return None
    retries = rules.retries if task.retries is None else task.retries
    if result.status not in NEVER_RETRIED and past.failures < retries:
        retry = _with_room(task, result, budget_bytes=budget_bytes)
        return NextAttempt(task=replace(retry, wanted_worker=""), again=RerunReason.RETRY)
    if past.may_run_alone and result.status in POSSIBLY_INTERFERENCE and not (result.was_alone or task.alone):
        isolation, worker = result.isolation, result.worker
        alone = replace(_following(task), alone=True, isolation=isolation, wanted_worker=worker)
        return NextAttempt(task=alone, again=RerunReason.EXCLUSIVE)
    return None


def _next_of_proof(
    task: TestTask, result: TestResult, *, past: AttemptContext, budget_bytes: int | None
) -> NextAttempt | None:
    """Return the attempt that a proof for or against forking needs after one for that purpose."""
    if past.before is not None and not past.before.is_comparable(result):
        return None
    passes = result.status.is_pass
    was_checked = past.forked_status is not None and not past.forked_status.is_infrastructure
    if past.reason is RerunReason.VERIFY_FAILURE and passes and was_checked:
        return NextAttempt(task=_following(task), again=RerunReason.RECHECK)
    if past.reason is RerunReason.RECHECK and passes and was_checked:
        return NextAttempt(task=replace(_following(task), isolation=Isolation.AUTO), again=RerunReason.REFORK)
    if past.reason is RerunReason.VERIFY_PASS and not passes:
        return NextAttempt(
            task=_with_room(task, result, budget_bytes=budget_bytes), again=RerunReason.RECHECK
        )
    return None


def needs_verification(task: TestTask, result: TestResult, rules: RetryPolicy) -> bool:
    """Whether an attempt was forked where a spawned one has to say the same.

    Where the user demands forks they are trusted, but for a verification.
    """
    if result.isolation is not Isolation.FORK:
        return False
    # Whoever was told to spawn and forked all the same is not told once more.
    return task.isolation is Isolation.AUTO or (rules.verifies_forks and task.isolation is Isolation.FORK)


def is_inconclusive(result: TestResult, *, past: AttemptContext, rules: RetryPolicy) -> bool:
    """Whether an attempt for which there was a verdict before leaves everything as it was.

    It was stopped, or never got a fair chance: what was known before it stands.
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
        # The second time the prediction was wrong as well; alone there is nobody to make room for.
        alone=task.alone or past.evictions > 0,
    )
    return NextAttempt(task=again, again=RerunReason.EVICTED)


def _following(task: TestTask) -> TestTask:
    return replace(task, attempt=task.attempt + 1)


def _spawned(task: TestTask, past: AttemptContext) -> TestTask:
    """Return a task that is spawned, which takes other memory than forked: no pages are shared."""
    predicted_bytes = task.predicted_bytes if task.alone else past.spawned_bytes
    return replace(task, isolation=Isolation.SPAWN, predicted_bytes=predicted_bytes)


def _with_room(task: TestTask, result: TestResult, *, budget_bytes: int | None) -> TestTask:
    """Return the following attempt, alone after one that broke a limit of memory."""
    again = _following(task)
    if result.status is not Status.MEMORY:
        return again
    # It gets the best chance there is: nothing beside it, and nobody else hurt if it happens again.
    predicted_bytes = _corrected_bytes(task, result, budget_bytes=budget_bytes)
    return replace(again, predicted_bytes=predicted_bytes, alone=True)


def _corrected_bytes(task: TestTask, result: TestResult, *, budget_bytes: int | None) -> int | None:
    """Return what to reserve for a file that used more than was thought; None: still nobody knows."""
    if result.peak_bytes is None:
        return task.predicted_bytes
    corrected_bytes = max(task.predicted_bytes or 0, math.ceil(result.peak_bytes * EVICTED_MARGIN))
    return corrected_bytes if budget_bytes is None else min(corrected_bytes, budget_bytes)
