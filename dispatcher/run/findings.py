"""What all attempts at a file say together, beyond the verdict of the one that counts. Pure.

A file has at most one finding. *Flaky* is not among them: that is a matter of luck, these have a cause.
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
    """It failed when forked and passed when spawned, which decides."""
    FAILED_SPAWNED = "failed-spawned"
    """It passed when forked and failed when spawned, which decides."""
    CROWDED = "crowded"
    """It failed beside others and passed when it ran alone, which decides."""

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
    last = {reason: attempt for attempt, reason in zip(attempts, reasons, strict=False)}
    alone, check, confirm = last.get(Again.ALONE), last.get(Again.CHECK), last.get(Again.CONFIRM)
    if alone is not None and alone.status.is_pass:
        return Finding.CROWDED
    if is_unconfirmed:
        return Finding.UNCONFIRMED
    if confirm is not None:
        if confirm.status.is_pass:
            return Finding.CONFIRMED
        # One that passes in a later attempt, spawned as well, is a matter of luck.
        return Finding.FAILED_SPAWNED if attempts[-1].status.is_failure else None
    if check is not None and check.status.is_pass and _had_a_fair_chance(attempts, reasons):
        return Finding.FAILED_FORKED
    return None


def _had_a_fair_chance(attempts: Sequence[TestResult], reasons: Sequence[Again | None]) -> bool:
    """Whether the attempt that was checked failed by the file's doing, not the runner's."""
    before = [one for one, reason in zip(attempts, reasons, strict=False) if reason is not Again.CHECK]
    return bool(before) and not before[-1].status.is_infrastructure
