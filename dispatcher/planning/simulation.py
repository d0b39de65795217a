"""Simulates a run over the histories of its files.

Pure. The simulation uses the `ReadyQueue`, the admission, and the oversubscription of a real run, so that
`--dry-run` shows what happens if every file takes what it took before.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from statistics import median

from msgspec import Struct, field

from dispatcher.planning.ready_queue import ReadyQueue
from passmuster.model.executor import FreeCapacity
from passmuster.model.oversubscription import free_slots
from passmuster.model.task import TestTask


class SimulatedRun(Struct, frozen=True, kw_only=True):
    """The prediction for a run.

    Args:
        wall_s: seconds from the first start to the last end; None if no file has ever run.
        unknown: how many files never ran and were assumed to be ordinary.
    """

    wall_s: float | None
    peak_bytes: int
    unknown: int


class _Play(Struct):
    """The state of the simulation: what runs, until when, and what it reserves."""

    now_s: float = 0.0
    reserved_bytes: int = 0
    running: list[tuple[float, int, TestTask]] = field(default_factory=list)


def simulate_run(
    tasks: Sequence[TestTask],
    *,
    slots: int,
    budget_bytes: int,
    idle_cpus: int | None = None,
    groups: Mapping[str, int] | None = None,
) -> SimulatedRun:
    """Simulate a run of these files in their order.

    Args:
        tasks: the files with their predictions; one without takes the median of the others' seconds and an
            equal share of the budget.
        idle_cpus: CPUs for which extra files start while they are idle; None: no oversubscription.
    """
    known_s = [task.predicted_s for task in tasks if task.predicted_s is not None]
    usual_s = median(known_s) if known_s else 0.0
    share_bytes = budget_bytes // slots
    line = ReadyQueue(tasks, groups=groups)
    play, peak_bytes, started = _Play(), 0, 0
    while line or play.running:
        places = free_slots(
            slots=slots,
            cpus=idle_cpus,
            used_cpus=[task.predicted_cpus for _, _, task in play.running],
        )
        room = FreeCapacity(
            slots=places.slots,
            io_bound_slots=places.io_bound_slots,
            free_bytes=max(0, budget_bytes - play.reserved_bytes),
            unknown_bytes=share_bytes,
            is_idle=not play.running,
        )
        task = line.pop_first_fit(room)
        if task is None:
            play.now_s, _, ended = heapq.heappop(play.running)
            play.reserved_bytes -= _need_bytes(ended, share_bytes)
            line.release_group(ended)
            continue
        started += 1
        play.reserved_bytes += _need_bytes(task, share_bytes)
        peak_bytes = max(peak_bytes, play.reserved_bytes)
        end_s = play.now_s + (usual_s if task.predicted_s is None else task.predicted_s)
        heapq.heappush(play.running, (end_s, started, task))
    return SimulatedRun(
        wall_s=play.now_s if known_s or not tasks else None,
        peak_bytes=peak_bytes,
        unknown=len(tasks) - len(known_s),
    )


def _need_bytes(task: TestTask, share_bytes: int) -> int:
    """Return the memory reserved for a file."""
    return share_bytes if task.predicted_bytes is None else task.predicted_bytes
