"""The expected resource usage of a file for one start method, and its baseline from earlier runs."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

from passmuster.model.status import Isolation

_Number = TypeVar("_Number", int, float)


class UsageStats(Struct, frozen=True, kw_only=True):
    """The expected resource usage of a file for one start method."""

    duration_s: float = 0.0
    cpu_s: float | None = None  # None: unknown
    peak_bytes: int | None = None  # of the process tree; None: never measured
    runs: int = 0
    """The number of attempts behind these values; 0: only `peak_bytes` is known, and it is a lower bound."""
    max_s: float = 0.0  # about the highest wall-clock seconds of its last attempts
    max_cpu_s: float | None = None  # about the highest CPU seconds of its last attempts


def larger_of(one: UsageStats, other: UsageStats) -> UsageStats:
    """Return the larger of each pair of values."""
    return UsageStats(
        duration_s=max(one.duration_s, other.duration_s),
        cpu_s=_larger(one.cpu_s, other.cpu_s),
        peak_bytes=_larger(one.peak_bytes, other.peak_bytes),
        runs=max(one.runs, other.runs),
        max_s=max(one.max_s, other.max_s),
        max_cpu_s=_larger(one.max_cpu_s, other.max_cpu_s),
    )


def _larger(one: _Number | None, other: _Number | None) -> _Number | None:
    return max((value for value in (one, other) if value is not None), default=None)


class Baseline(Struct, frozen=True, kw_only=True):
    """The usage of a file in earlier runs, without a margin, for comparison with this run."""

    spawned: UsageStats = UsageStats()
    forked: UsageStats = UsageStats()  # when forked from a fork server with the same imports as now
    is_changed: bool = False  # whether the file changed since

    def of(self, isolation: Isolation) -> UsageStats:
        """Return the values for the start method of the attempt."""
        return self.forked if isolation is Isolation.FORK else self.spawned
