"""Simulates a run over the histories of its files.

Pure. The simulation uses the `ReadyQueue`, the admission, and the oversubscription of a real run, so that
`--dry-run` shows what happens if every file takes what it took before.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatcher.model.plan import RunPlan
from dispatcher.planning.ready_queue import ReadyQueue
from passmuster.model.executor import FreeCapacity
from passmuster.model.oversubscription import free_slots
from passmuster.model.task import TestTask

if TYPE_CHECKING:
    from passmuster.host.capacity import Capacity


class SimulatedRun(Struct, frozen=True, kw_only=True):
    """The prediction for a run.

    Args:
        wall_s: seconds from the first start to the last end; None if no file has ever run.
        unknown: how many files never ran and were assumed to be ordinary.
    """

    wall_s: float | None
    peak_bytes: int
    unknown: int


def simulate_plan(plan: RunPlan, capacity: Capacity) -> SimulatedRun:
    """Simulate the run of a plan where it has this capacity."""
    return simulate_run(
        [task for planned in plan.files for task in planned.task.as_parts],
        slots=capacity.slots,
        budget_bytes=capacity.budget_bytes,
        idle_cpus=capacity.idle_cpus,
        groups=dict(plan.groups),
    )


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
    queue = ReadyQueue(tasks, groups=groups)
    running: list[tuple[float, int, TestTask, int]] = []  # Its end, start number, and reserved bytes.
    used_cpus: dict[int, float] = {}  # By start number.
    now_s, reserved_bytes, peak_bytes, started = 0.0, 0, 0, 0
    while queue or running:
        free = free_slots(slots=slots, cpus=idle_cpus, used_cpus=used_cpus.values())
        capacity = FreeCapacity(
            slots=free.slots,
            io_bound_slots=free.io_bound_slots,
            free_bytes=max(0, budget_bytes - reserved_bytes),
            unknown_bytes=share_bytes,
            running=len(running),
        )
        runs_exclusive = bool(running) and running[0][2].exclusive
        task = None if runs_exclusive or capacity.is_full else queue.pop_first_fit(capacity)
        if task is None:
            now_s, number, ended, freed_bytes = heapq.heappop(running)
            del used_cpus[number]
            reserved_bytes -= freed_bytes
            queue.release_group(ended)
            continue
        started += 1
        need_bytes = share_bytes if task.predicted_bytes is None else task.predicted_bytes
        reserved_bytes += need_bytes
        peak_bytes = max(peak_bytes, reserved_bytes)
        end_s = now_s + (usual_s if task.predicted_s is None else task.predicted_s)
        heapq.heappush(running, (end_s, started, task, need_bytes))
        used_cpus[started] = task.predicted_cpus
    return SimulatedRun(
        wall_s=now_s if known_s or not tasks else None,
        peak_bytes=peak_bytes,
        unknown=len(tasks) - len(known_s),
    )
