"""What a file takes in one of the ways it can run, and what earlier runs say of it before it runs again."""

from __future__ import annotations

from passmuster.records import dataclass
from passmuster.status import Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a file takes in one of the ways it can run.

    Args:
        duration_s: wall-clock seconds it is expected to take.
        cpu_s: processor seconds it is expected to take; None when unknown.
        peak_bytes: the most memory its process tree is expected to use; None when never measured.
        runs: how many attempts this is drawn from; 0: `peak_bytes` is a lower bound, and all that is known.
    """

    duration_s: float = 0.0
    cpu_s: float | None = None
    peak_bytes: int | None = None
    runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a file took in earlier runs, for comparison with what it takes in this one. Without any margin.

    Args:
        spawned: where it was spawned.
        forked: where it was forked.
        is_changed: whether the file changed since.
    """

    spawned: Figures = Figures()
    forked: Figures = Figures()
    is_changed: bool = False

    def of(self, isolation: Isolation) -> Figures:
        """Return what it took in the way in which it ran."""
        return self.forked if isolation is Isolation.FORK else self.spawned
