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
    """It did not pass when forked: it runs spawned, and what comes of that decides."""
    CONFIRM = "confirm"
    """It passed when forked, and nobody knows yet whether it does when spawned."""
    ALONE = "alone"
    """It failed while others ran beside it: it runs once more without them."""


STANDS_BEFORE = frozenset({Again.CONFIRM, Again.ALONE})
"""What a further attempt may be for while a verdict stands already, whatever becomes of that attempt."""
