"""What a file takes in one of the ways it can run, and what earlier runs say of it before it runs again."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from passmuster.model.status import Isolation

_Number = TypeVar("_Number", int, float)


class UsageStats(Struct, frozen=True, kw_only=True):
    """What a file takes in one of the ways it can run.

    Args:
        duration_s: wall-clock seconds it is expected to take.
        cpu_s: processor seconds it is expected to take; None when unknown.
        peak_bytes: the most memory its process tree is expected to use; None when never measured.
        runs: how many attempts this is drawn from; 0: `peak_bytes` is a lower bound, and all that is known.
        most_s: about the most wall-clock seconds that one of its last attempts took.
        most_cpu_s: the same of processor seconds.
    """

    duration_s: float = 0.0
    cpu_s: float | None = None
    peak_bytes: int | None = None
    runs: int = 0
    most_s: float = 0.0
    most_cpu_s: float | None = None


def larger_of(one: UsageStats, other: UsageStats) -> UsageStats:
    """Return the larger of all figures."""
    return UsageStats(
        duration_s=max(one.duration_s, other.duration_s),
        cpu_s=_larger(one.cpu_s, other.cpu_s),
        peak_bytes=_larger(one.peak_bytes, other.peak_bytes),
        runs=max(one.runs, other.runs),
        most_s=max(one.most_s, other.most_s),
        most_cpu_s=_larger(one.most_cpu_s, other.most_cpu_s),
    )


def _larger(one: _Number | None, other: _Number | None) -> _Number | None:
    return max((value for value in (one, other) if value is not None), default=None)


class Baseline(Struct, frozen=True, kw_only=True):
    """What a file took in earlier runs, for comparison with what it takes in this one. Without any margin.

    Args:
        spawned: where it was spawned.
        forked: where it was forked, from a server that had imported as much as now.
        is_changed: whether the file changed since.
    """

    spawned: UsageStats = UsageStats()
    forked: UsageStats = UsageStats()
    is_changed: bool = False

    def of(self, isolation: Isolation) -> UsageStats:
        """Return what it took in the way in which it ran."""
        return self.forked if isolation is Isolation.FORK else self.spawned
