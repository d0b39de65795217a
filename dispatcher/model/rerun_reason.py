"""Why a file runs again in the same run."""

from __future__ import annotations

from enum import StrEnum


class RerunReason(StrEnum):
    """Why another attempt at a file follows, and therefore what that attempt is for."""

    RETRY = "retry"
    """It failed and retries are left."""
    EVICTED = "made-room"
    """It was stopped only because memory ran short beside others; this does not count as a retry."""
    VERIFY_FAILURE = "check"
    """It did not pass when forked: it runs spawned."""
    RECHECK = "recheck"
    """It runs spawned once more: it passed when it was checked, or failed when it was to be confirmed."""
    REFORK = "refork"
    """It failed when forked and passed twice when spawned: it is forked once more, which shows the cause."""
    VERIFY_PASS = "confirm"
    """It passed when forked, and nobody knows yet whether it does when spawned."""
    EXCLUSIVE = "alone"
    """It failed while others ran beside it: it runs once more without them."""
    SETTLED = "settled"
    """It does not: the file is decided, by an earlier attempt."""


PROVES = frozenset(
    {RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.REFORK, RerunReason.VERIFY_PASS}
)
"""What a further attempt may be for that shows whether forking changes what comes of a file."""

TOLD_BEFORE = frozenset({RerunReason.VERIFY_PASS, RerunReason.EXCLUSIVE})
"""What a further attempt may be for while the verdict so far is final unless that attempt proves it wrong."""

PROVISIONAL_AFTER = TOLD_BEFORE | {RerunReason.REFORK, RerunReason.RECHECK}
"""What a further attempt may be for while there is a verdict that holds if that attempt comes to nothing."""
