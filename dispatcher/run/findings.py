"""What all attempts at a file say together, beyond the verdict of the one that counts. Pure.

A file has at most one finding. *Flaky* is none: such a file passed and failed without a known cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from dispatcher.again import Again
from passmuster.result import TestResult


class Finding(StrEnum):
    """What was found out about a file by running it more than once."""

    CONFIRMED = "confirmed"
    """It passed when forked, and when spawned too."""
    UNCONFIRMED = "unconfirmed"
    """It passed when forked, and there was no time to see whether it does when spawned."""
    FAILED_FORKED = "failed-forked"
    """It failed twice when forked and passed twice when spawned, which decides."""
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
    alone, confirm, recheck = last.get(Again.ALONE), last.get(Again.CONFIRM), last.get(Again.RECHECK)
    if alone is not None and alone.status.is_pass:
        return Finding.CROWDED
    if is_unconfirmed:
        return Finding.UNCONFIRMED
    if confirm is not None and confirm.status.is_pass:
        return Finding.CONFIRMED
    if recheck is None or recheck.status.is_cancelled or recheck.status.is_infrastructure:
        return None
    if confirm is not None:
        return Finding.FAILED_SPAWNED if recheck.status.is_failure else None
    return Finding.FAILED_FORKED if recheck.status.is_pass else None
