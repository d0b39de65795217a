"""Who of several runs on one machine may reserve memory: the rule alone, on what each of them claims.

Pure: `worker.machine_pool` exchanges the claims between processes. The rule keeps four promises:

- All reservations together stay within the pool, except for one file where nothing else is reserved.
- Fair: nobody takes more than an equal share while another run waits with less than its share.
- Nobody starves: a run that has nothing running and waits goes before all that started to wait later,
  and those that run leave room for what it waits for.
- No deadlock: when nothing is reserved, the run that has waited longest may always start.
"""

from __future__ import annotations

from collections.abc import Sequence

from passmuster.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one run holds and waits for.

    Args:
        run: a name that no other run has; it breaks ties.
        reserved_bytes: memory reserved for its running files.
        used_bytes: what they were last measured to use.
        is_default: whether its budget is the default one, which all such runs share.
        wanted_bytes: what the file it waits with needs; 0: it waits for nothing.
        waiting_since_s: when that wait began, on a clock all runs share.
    """

    run: str
    reserved_bytes: int = 0
    used_bytes: int = 0
    is_default: bool = True
    wanted_bytes: int = 0
    waiting_since_s: float = 0.0

    @property
    def is_hungry(self) -> bool:
        """Whether it waits for memory."""
        return self.wanted_bytes > 0

    @property
    def is_starving(self) -> bool:
        """Whether it waits for memory and has nothing running."""
        return self.is_hungry and self.reserved_bytes == 0

    def waited_before(self, other: Claim) -> bool:
        """Return whether it began to wait before `other`, which may not wait at all."""
        if not other.is_hungry:
            return True
        return (self.waiting_since_s, self.run) < (other.waiting_since_s, other.run)


def may_reserve(
    own: Claim, others: Sequence[Claim], *, need_bytes: int, ceiling_bytes: int, default_pool_bytes: int
) -> bool:
    """Return whether `own` may reserve `need_bytes` more.

    Args:
        own: the run that asks.
        others: every other living run.
        need_bytes: what the file that is to start needs.
        ceiling_bytes: the most that all runs may reserve together.
        default_pool_bytes: the most that the runs with the default budget may reserve together.
    """
    if not _fits(own, others, need_bytes=need_bytes, pool_bytes=ceiling_bytes):
        return False
    if not own.is_default:
        return True
    same = [other for other in others if other.is_default]
    return _fits(own, same, need_bytes=need_bytes, pool_bytes=min(default_pool_bytes, ceiling_bytes))


def left_bytes(own: Claim, others: Sequence[Claim], *, ceiling_bytes: int, default_pool_bytes: int) -> int:
    """Return what the other runs leave of the pool for all files of `own` together; never below zero."""
    left = ceiling_bytes - sum(other.reserved_bytes for other in others)
    if own.is_default:
        pool_bytes = min(default_pool_bytes, ceiling_bytes)
        left = min(left, pool_bytes - sum(other.reserved_bytes for other in others if other.is_default))
    return max(0, left)


def _fits(own: Claim, others: Sequence[Claim], *, need_bytes: int, pool_bytes: int) -> bool:
    """Return whether the reservation keeps the promises within one pool."""
    reserved_bytes = own.reserved_bytes + sum(other.reserved_bytes for other in others)
    starving = [other for other in others if other.is_starving and _goes_first(other, own)]
    if reserved_bytes == 0:
        # Whatever it needs: nobody has anything, so waiting could not make more room than there is.
        return not starving
    if reserved_bytes + need_bytes > pool_bytes:
        return False
    if any(reserved_bytes + need_bytes + other.wanted_bytes > pool_bytes for other in starving):
        return False
    if own.reserved_bytes == 0:
        return True
    share_bytes = pool_bytes // (len(others) + 1)
    is_owed = any(other.is_hungry and other.reserved_bytes < share_bytes for other in others)
    return not is_owed or own.reserved_bytes + need_bytes <= share_bytes


def _goes_first(other: Claim, own: Claim) -> bool:
    """Return whether a starving run goes before us: we have something already, or came later."""
    return own.reserved_bytes > 0 or other.waited_before(own)
