"""Whether a file that has just ended runs again, and how.

Pure. Two things make a file run again: it was stopped only to make room for others, which is the runner's
doing and costs it nothing, or it failed and the user allowed retries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dispatcher.events import Again
from passmuster.result import TestResult
from passmuster.status import Status
from passmuster.task import TestTask

EVICTED_MARGIN = 1.25
"""What the peak of a file that had to make room is multiplied with: it was stopped before its real one."""

MAX_EVICTIONS = 5
"""Times a file may make room. A file alone never has to, so that more than two mean a fault of ours."""

NEVER_RETRIED = frozenset({Status.COLLECT_ERROR, Status.NO_TESTS})
"""Failures that are no matter of luck: which tests a file holds, and whether it can be imported at all,
depends on its text and its environment. Running it again would only say the same once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A further attempt.

    Args:
        task: what to run.
        again: why.
    """

    task: TestTask
    again: Again


def next_attempt(
    task: TestTask,
    result: TestResult,
    *,
    failures_so_far: int,
    retries: int,
    evictions_so_far: int,
    budget_bytes: int | None = None,
) -> Next | None:
    """Return the attempt that follows this one; None: this result stands.

    Args:
        task: the attempt that ended.
        result: what came of it.
        failures_so_far: earlier attempts at the file that failed, without this one and without those that
            made room.
        retries: how often a file that failed runs again.
        evictions_so_far: earlier attempts that were stopped to make room.
        budget_bytes: what all files together may use; no prediction is above it; None: not known here.
    """
    if result.is_evicted:
        if evictions_so_far >= MAX_EVICTIONS:
            return None
        again = replace(
            task,
            attempt=task.attempt + 1,
            predicted_bytes=_corrected_bytes(task, result, budget_bytes=budget_bytes),
            # The second time the prediction was wrong as well; alone there is nobody to make room for.
            alone=task.alone or evictions_so_far > 0,
        )
        return Next(task=again, again=Again.MADE_ROOM)
    if not result.status.is_failure or result.status in NEVER_RETRIED or failures_so_far >= retries:
        return None
    again = replace(task, attempt=task.attempt + 1)
    if result.status is Status.MEMORY:
        # It gets the best chance there is: nothing beside it, and nobody else hurt if it happens again.
        predicted_bytes = _corrected_bytes(task, result, budget_bytes=budget_bytes)
        again = replace(again, predicted_bytes=predicted_bytes, alone=True)
    return Next(task=again, again=Again.RETRY)


def _corrected_bytes(task: TestTask, result: TestResult, *, budget_bytes: int | None) -> int | None:
    """Return what to reserve for a file that used more than was thought; None: still nobody knows."""
    if result.peak_bytes is None:
        return task.predicted_bytes
    corrected_bytes = max(task.predicted_bytes or 0, math.ceil(result.peak_bytes * EVICTED_MARGIN))
    return corrected_bytes if budget_bytes is None else min(corrected_bytes, budget_bytes)
