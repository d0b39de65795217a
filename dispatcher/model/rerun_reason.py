"""Why a file runs again in the same run."""

from __future__ import annotations

from enum import StrEnum


class RerunReason(StrEnum):
    """Why another attempt at a file follows, and therefore what that attempt is for."""

    RETRY = "retry"
    """It failed and retries are left."""
    EVICTED = "evicted"
    """It was killed to bring all files under the memory budget; this does not count as a retry."""
    VERIFY_FAILURE = "verify-failure"
    """It did not pass when forked: it runs spawned."""
    RECHECK = "recheck"
    """It runs spawned once more: it passed a verification of a failure, failed one of a pass, or had other
    tests in one of a pass.
    """
    REFORK = "refork"
    """It failed when forked and passed twice when spawned: it is forked once more, which shows the cause."""
    VERIFY_PASS = "verify-pass"
    """It passed when forked, and no spawned result is known yet."""
    EXCLUSIVE = "exclusive"
    """It failed while other files ran: it reruns without them."""
    WHOLE = "whole"
    """Its parts failed, or were not the whole file: it runs as a whole, which decides."""
    REPART = "repart"
    """It failed in parts and passed as a whole: it runs in parts once more, which shows the cause."""
    SETTLED = "settled"
    """No further attempt follows: an earlier attempt decided the file."""


PROVES = frozenset(
    {RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.REFORK, RerunReason.VERIFY_PASS}
)
"""The reasons of attempts that show whether forking changes the result of a file."""

TOLD_BEFORE = frozenset({RerunReason.VERIFY_PASS, RerunReason.EXCLUSIVE})
"""The reasons of attempts before which the verdict is final unless they prove it wrong."""

PROVISIONAL_AFTER = TOLD_BEFORE | {RerunReason.REFORK, RerunReason.RECHECK, RerunReason.REPART}
"""The reasons of attempts before which there is a verdict that holds if they give no result."""
