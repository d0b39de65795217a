"""Decides whether a file whose attempt has just finished runs again, and how. Pure.

A file runs again in these cases:

- It was evicted to free memory for other files. An eviction is not a failure and uses up no retry.
- It did not pass when forked: it is *verified*, that is spawned. If it passes, it is spawned once more, and
  if that passes, forked once more. Only if that fails, forking is proven to be the cause. The order is not
  forked, spawned, forked, spawned, because a file that fails every other time would fail in step with the
  forks.
- It did not pass in parts: it runs as a whole. If it passes, it runs in parts once more; only if that fails,
  the parts are proven to be the cause. Any other further attempt runs the whole file too.
- It failed and the user allowed retries.
- It failed while other files ran, for the first time as far as is known: it reruns exclusively.
- It passed when forked and no spawned result is known: it is *verified*, and if that fails, spawned once
  more. If the run must list differences and its tests differ, it is spawned once more as well: tests that
  differ between two spawned attempts do not differ because of forking.

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
from dispatcher.model.results import differences
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.task import TestTask
from passmuster.model.test_selection import FilePart

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


_LAST_OF_A_PROOF = (RerunReason.EXCLUSIVE, RerunReason.REFORK, RerunReason.REPART)
"""The reasons of attempts after which the file is decided, whatever they show."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """What a run does about finished attempts."""

    retries: int = 0
    """How often a failed file runs again, unless its task sets its own number."""
    verifies_forks: bool = False
    """Whether every forked file runs spawned too, whatever is known and whatever it costs."""


class AttemptContext(Struct, frozen=True, kw_only=True):
    """What happened before the end of an attempt."""

    reason: RerunReason | None = None
    """Why the attempt was made; None: it was the first. An attempt after an eviction keeps the reason of the
    evicted one.
    """
    failures: int = 0
    """Earlier failed attempts at the file; without this one, without evicted ones, and without those
    forked or in parts that were repeated because the file was not the cause.
    """
    forked_status: Status | None = None
    """The status of the forked attempt that was verified; None: none was."""
    evictions: int = 0
    is_fork_verified: bool = False
    """Whether an earlier run saw this version of the file pass forked and spawned."""
    exclusive_allowed: bool = False
    spawned_bytes: int | None = None
    """Peak bytes to reserve for it when spawned; None: unknown."""
    before: TestResult | None = None
    """The attempt before, evicted ones not counted; None: there was none."""
    parts: tuple[FilePart, ...] = ()
    """In which parts its first attempt was made; empty: as a whole."""


class NextAttempt(Struct, frozen=True, kw_only=True):
    """A further attempt."""

    task: TestTask
    reason: RerunReason
    is_best_effort: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether it starts before all files that wait.

        The longest files start first, so a file that must run once more has more work left than any that
        waits.
        """
        return not self.task.exclusive and not self.is_best_effort

    @property
    def is_provisional(self) -> bool:
        """Whether the file already has a verdict that holds if this attempt gives no result."""
        return self.reason in PROVISIONAL_AFTER


def next_attempt(
    task: TestTask,
    result: TestResult,
    *,
    context: AttemptContext,
    policy: RetryPolicy,
    budget_bytes: int | None = None,
) -> NextAttempt | None:
    """Return the attempt that follows this one; None: the verdict is final.

    Args:
        budget_bytes: the memory budget of all files together, which bounds every prediction; None: unknown
            here.
    """
    following = _next_attempt(task, result, context, policy)
    if following is None or budget_bytes is None or (following.task.predicted_bytes or 0) <= budget_bytes:
        return following
    return replace(following, task=replace(following.task, predicted_bytes=budget_bytes))


def _next_attempt(
    task: TestTask, result: TestResult, context: AttemptContext, policy: RetryPolicy
) -> NextAttempt | None:
    if result.is_evicted:
        return _after_eviction(task, result, context)
    if result.status.is_cancelled or context.reason in _LAST_OF_A_PROOF:
        return None
    if task.parts and result.status.is_failure:
        whole = _spawned(_with_corrected_memory(task, result), context)
        return NextAttempt(task=replace(whole, wanted_worker=""), reason=RerunReason.WHOLE)
    if context.reason is RerunReason.WHOLE and result.status.is_pass:
        return _once_more_in_parts(task, context)
    if context.reason in (RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.VERIFY_PASS):
        further = _next_of_proof(task, result, context, policy)
        if further is not None or context.reason is not RerunReason.VERIFY_FAILURE:
            return further
    elif needs_verification(task, result, policy):
        verification = _verification(task, result, context, policy)
        if verification is not None:
            return verification
    if result.status.is_pass:
        return None
    retries = policy.retries if task.retries is None else task.retries
    if result.status not in NEVER_RETRIED and context.failures < retries:
        retry = _with_corrected_memory(task, result)
        return NextAttempt(task=replace(retry, wanted_worker=""), reason=RerunReason.RETRY)
    if (
        context.exclusive_allowed
        and result.status in POSSIBLY_INTERFERENCE
        and not (result.was_alone or task.exclusive)
    ):
        rerun = replace(
            _following(task), exclusive=True, isolation=result.isolation, wanted_worker=result.worker
        )
        return NextAttempt(task=rerun, reason=RerunReason.EXCLUSIVE)
    return None


def _once_more_in_parts(task: TestTask, context: AttemptContext) -> NextAttempt | None:
    """Return the attempt that shows whether the parts made a file fail that passed as a whole; None: that it
    ran in parts says nothing about it.
    """
    if context.before is None or context.before.status.is_infrastructure:
        return None
    return NextAttempt(task=replace(_following(task), parts=context.parts), reason=RerunReason.REPART)


def _verification(
    task: TestTask, result: TestResult, context: AttemptContext, policy: RetryPolicy
) -> NextAttempt | None:
    """Return the spawned attempt that verifies a forked one; None: a pass that was verified before."""
    if not result.status.is_pass:
        reason = RerunReason.VERIFY_FAILURE
        following = _with_corrected_memory(task, result)
    elif policy.verifies_forks or not context.is_fork_verified:
        reason, following = RerunReason.VERIFY_PASS, _following(task)
    else:
        return None
    return NextAttempt(
        task=replace(_spawned(following, context), wanted_worker=result.worker),
        reason=reason,
        is_best_effort=result.status.is_pass and not policy.verifies_forks,
    )


def _next_of_proof(
    task: TestTask, result: TestResult, context: AttemptContext, policy: RetryPolicy
) -> NextAttempt | None:
    """Return the attempt that a proof for or against forking needs after an attempt for this reason."""
    if context.before is not None and not context.before.is_comparable(result):
        return None
    passes = result.status.is_pass
    was_checked = context.forked_status is not None and not context.forked_status.is_infrastructure
    if context.reason is RerunReason.VERIFY_FAILURE and passes and was_checked:
        return NextAttempt(task=_following(task), reason=RerunReason.RECHECK)
    if context.reason is RerunReason.RECHECK and passes and was_checked:
        return NextAttempt(
            task=replace(_following(task), isolation=Isolation.AUTO), reason=RerunReason.REFORK
        )
    if context.reason is RerunReason.VERIFY_PASS and not passes:
        return NextAttempt(task=_with_corrected_memory(task, result), reason=RerunReason.RECHECK)
    if (
        context.reason is RerunReason.VERIFY_PASS
        and policy.verifies_forks
        and context.before is not None
        and differences(context.before, result)
    ):
        return NextAttempt(task=_following(task), reason=RerunReason.RECHECK)
    return None


def needs_verification(task: TestTask, result: TestResult, policy: RetryPolicy) -> bool:
    """Whether a forked attempt must be repeated spawned.

    If the user demands forks they are trusted, except with verification on.
    """
    if result.isolation is not Isolation.FORK:
        return False
    # A worker that forked although the task said spawn is not asked again.
    return task.isolation is Isolation.AUTO or (policy.verifies_forks and task.isolation is Isolation.FORK)


def is_inconclusive(result: TestResult, *, context: AttemptContext, policy: RetryPolicy) -> bool:
    """Whether an attempt after a provisional verdict leaves the verdict unchanged: it was stopped, or did not
    fail through the file's fault.
    """
    if context.reason is RerunReason.VERIFY_PASS and not policy.verifies_forks:
        return result.is_evicted or result.status.is_infrastructure or result.status.is_cancelled
    if context.reason in (*_LAST_OF_A_PROOF, RerunReason.RECHECK):
        return result.status.is_cancelled or result.status.is_infrastructure
    return context.reason is RerunReason.VERIFY_PASS and result.status.is_cancelled


def _after_eviction(task: TestTask, result: TestResult, context: AttemptContext) -> NextAttempt | None:
    if context.evictions >= MAX_EVICTIONS and not result.was_alone:
        return None
    rerun = replace(
        _following(task),
        predicted_bytes=_corrected_bytes(task, result),
        # The second prediction was wrong as well; an exclusive file is never evicted for another one.
        exclusive=task.exclusive or context.evictions > 0,
    )
    return NextAttempt(task=rerun, reason=RerunReason.EVICTED)


def _following(task: TestTask) -> TestTask:
    """Return the following attempt, at the whole file."""
    return replace(task, attempt=task.attempt + 1, parts=())


def _spawned(task: TestTask, context: AttemptContext) -> TestTask:
    """Return a task that is spawned. Its memory differs from forked, because no pages are shared."""
    predicted_bytes = task.predicted_bytes if task.exclusive else context.spawned_bytes
    return replace(task, isolation=Isolation.SPAWN, predicted_bytes=predicted_bytes)


def _with_corrected_memory(task: TestTask, result: TestResult) -> TestTask:
    """Return the following attempt, exclusive after one that exceeded a memory limit."""
    if result.status is not Status.MEMORY:
        return _following(task)
    # An exclusive rerun has the best chance, and affects no other file if it fails again.
    return replace(_following(task), predicted_bytes=_corrected_bytes(task, result), exclusive=True)


def _corrected_bytes(task: TestTask, result: TestResult) -> int | None:
    """Return the bytes to reserve for a file that used more than predicted; None: still unknown."""
    if result.peak_bytes is None:
        return task.predicted_bytes
    return max(task.predicted_bytes or 0, math.ceil(result.peak_bytes * EVICTED_MARGIN))
