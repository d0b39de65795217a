"""What all attempts at a file say together, beyond the verdict of the one that counts. Pure.

A file has at most one finding. *Flaky* is none: such a file passed and failed without a known cause. A
finding rests only on attempts that are comparable (`TestResult.is_comparable`): on the same worker and
interpreter, and none of them ended by a signal that may have come from outside.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from itertools import pairwise

from dispatcher.again import PROVES, Again
from passmuster.result import TestResult
from passmuster.status import Isolation


class Finding(StrEnum):
    """What was found out about a file by running it more than once."""

    CONFIRMED = "confirmed"
    """It passed when forked, and when spawned too."""
    UNCONFIRMED = "unconfirmed"
    """It passed when forked, and there was no time to see whether it does when spawned."""
    FAILED_FORKED = "failed-forked"
    """It failed when forked, passed twice when spawned, and failed when forked once more: a pass decides."""
    FAILED_SPAWNED = "failed-spawned"
    """It passed when forked and failed twice when spawned, which decides."""
    CROWDED = "crowded"
    """It failed beside others and passed when it ran alone."""

    @property
    def must_spawn(self) -> bool:
        """Whether forking is known to change what comes of the file."""
        return self in (Finding.FAILED_FORKED, Finding.FAILED_SPAWNED)


def find(
    attempts: Sequence[TestResult], reasons: Sequence[Again | None], *, is_unconfirmed: bool
) -> Finding | None:
    """Return what the attempts of a decided file say; None: nothing but their results.

    Args:
        attempts: in their order.
        reasons: what each was for, one for each attempt.
        is_unconfirmed: whether a confirmation was wanted and came to nothing.
    """
    said = [
        (reason, attempt)
        for attempt, reason in zip(attempts, reasons, strict=False)
        if not attempt.is_evicted
    ]
    last = dict(said)
    alone, confirm = last.get(Again.ALONE), last.get(Again.CONFIRM)
    if alone is not None and alone.status.is_pass and _are_comparable(said, {Again.ALONE}):
        return Finding.CROWDED
    if is_unconfirmed:
        return Finding.UNCONFIRMED
    if not _are_comparable(said, PROVES):
        return None
    if confirm is not None and confirm.status.is_pass:
        return Finding.CONFIRMED
    # Each is made only if all before it point to forking, so that the last attempt of a proof tells.
    recheck, refork = last.get(Again.RECHECK), last.get(Again.REFORK)
    if confirm is not None and _failed_fairly(recheck):
        return Finding.FAILED_SPAWNED
    if refork is not None and refork.isolation is Isolation.FORK and _failed_fairly(refork):
        return Finding.FAILED_FORKED
    return None


def _are_comparable(said: Sequence[tuple[Again | None, TestResult]], purposes: Collection[Again]) -> bool:
    """Whether the attempts for these purposes, and the one before the first of them, may be compared."""
    positions = [at for at, (reason, _) in enumerate(said) if reason in purposes]
    compared = [said[at][1] for at in (max(positions[0] - 1, 0), *positions)] if positions else []
    return all(one.is_comparable(other) for one, other in pairwise(compared))


def _failed_fairly(attempt: TestResult | None) -> bool:
    """Whether an attempt was made, and failed for a reason of the file's own."""
    return attempt is not None and attempt.status.is_failure and not attempt.status.is_infrastructure
