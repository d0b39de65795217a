"""Why a file runs once more in the same run."""

from __future__ import annotations

from enum import StrEnum


class Again(StrEnum):
    """Why a file starts once more after an attempt, and so what that further attempt is for."""

    RETRY = "retry"
    """It failed and retries are left."""
    MADE_ROOM = "made-room"
    """It was stopped only because memory ran short beside others; this does not count as a retry."""
    CHECK = "check"
    """It did not pass when forked: it runs spawned."""
    RECHECK = "recheck"
    """It runs spawned once more: it passed when it was checked, or failed when it was to be confirmed."""
    REFORK = "refork"
    """It failed when forked and passed twice when spawned: it is forked once more, which shows the cause."""
    CONFIRM = "confirm"
    """It passed when forked, and nobody knows yet whether it does when spawned."""
    ALONE = "alone"
    """It failed while others ran beside it: it runs once more without them."""
    SETTLED = "settled"
    """It does not: the file is decided, by an earlier attempt."""


PROVES = frozenset({Again.CHECK, Again.RECHECK, Again.REFORK, Again.CONFIRM})
"""What a further attempt may be for that shows whether forking changes what comes of a file."""

TOLD_BEFORE = frozenset({Again.CONFIRM, Again.ALONE})
"""What a further attempt may be for while the verdict so far is final unless that attempt proves it wrong."""

STANDS_BEFORE = TOLD_BEFORE | {Again.REFORK, Again.RECHECK}
"""What a further attempt may be for while there is a verdict that holds if that attempt comes to nothing."""
