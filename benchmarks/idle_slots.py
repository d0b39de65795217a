"""How long the slots of a run stood idle, and in which part of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleSlots:
    """The idle slots of a run, as shares of all its slots' time.

    Args:
        start: before all slots were taken for the first time.
        middle: between the first and the last moment at which all slots were taken.
        end: after the last moment at which all slots were taken.
    """

    start: float
    middle: float
    end: float


def find_idle_slots(files: Sequence[tuple[float, float]], *, slots: int, run_s: float) -> IdleSlots:
    """Return how much of the slots' time passed without a file.

    Args:
        files: when each attempt started and ended, in seconds after the start of the run.
        run_s: seconds of the run.
    """
    changes = sorted([(at_s, 1) for at_s, _ in files] + [(at_s, -1) for _, at_s in files])
    spans: list[tuple[float, int]] = []  # How long how many slots were idle, in their order.
    running, before_s = 0, 0.0
    for at_s, change in [*changes, (run_s, 0)]:
        spans.append((max(0.0, at_s - before_s), max(0, slots - running)))
        running, before_s = running + change, max(before_s, at_s)
    full = [number for number, (seconds, idle) in enumerate(spans) if idle == 0 and seconds > 0]
    first, last = (full[0], full[-1]) if full else (len(spans), len(spans))

    def share(part: Sequence[tuple[float, int]]) -> float:
        return sum(seconds * idle for seconds, idle in part) / (slots * run_s) if run_s > 0 else 0.0

    return IdleSlots(start=share(spans[:first]), middle=share(spans[first:last]), end=share(spans[last:]))
