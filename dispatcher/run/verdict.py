"""Which of a file's attempts is its verdict. Pure.

The verdict is what happened, never better because Passmuster tried again: of the attempts at a file, as
many count as the user allowed, the first one and `retries` more, and the file passes if one of these
passed. Further attempts only find out why, and change the verdict where they prove that Passmuster itself
was the cause.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.again import Again
from dispatcher.run.findings import Finding, find
from passmuster.result import TestResult
from passmuster.status import Isolation


def verdict_position(attempts: Sequence[TestResult], reasons: Sequence[Again | None], *, retries: int) -> int:
    """Return the position of the attempt that counts: the last one of those that agree with the verdict.

    Args:
        attempts: at one file, in their order; at least one.
        reasons: what each was for.
        retries: how many further attempts the user allowed.
    """
    last = len(attempts) - 1
    if attempts[last].status.is_cancelled:
        return last
    # One that had to make room too often is the last, and counts.
    told = [at for at, attempt in enumerate(attempts) if at == last or not attempt.is_evicted]
    if reasons[last] is Again.CONFIRM and attempts[last].status.is_pass:
        return told[-2]
    finding = find(attempts, reasons, is_unconfirmed=False)
    if finding is Finding.FAILED_SPAWNED:
        return last
    if finding is Finding.FAILED_FORKED:
        return max(position for position in told if attempts[position].status.is_pass)
    if reasons[last] is Again.CONFIRM and attempts[last].is_comparable(attempts[told[-2]]):
        return last  # Open, and it did fail.
    if finding is Finding.CROWDED and len(told) > 1 and attempts[told[-2]].was_extra:
        return last  # It would not have started beside others without overcommit.
    counted = [position for position in told if _could_count(attempts, reasons, position)]
    allowed = counted[: 1 + retries] or told
    passed = [position for position in allowed if attempts[position].status.is_pass]
    position = passed[0] if passed else allowed[-1]
    return last if attempts[last].status.is_pass is attempts[position].status.is_pass else position


def _could_count(attempts: Sequence[TestResult], reasons: Sequence[Again | None], position: int) -> bool:
    """Whether an attempt may be the verdict: not one that was for a proof, or that had no fair chance."""
    attempt = attempts[position]
    is_unfair = attempt.status.is_infrastructure and attempt.isolation is Isolation.FORK
    was_checked = position + 1 < len(reasons) and reasons[position + 1] is Again.CHECK
    is_proof = reasons[position] in (Again.CONFIRM, Again.ALONE) or (
        reasons[position] is Again.RECHECK and Again.CONFIRM in reasons
    )
    return not is_proof and not (is_unfair and was_checked)
