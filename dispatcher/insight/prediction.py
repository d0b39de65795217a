"""Predicts how long a run takes with given jobs, memory and machines, and what limits it. Pure.

`planning.simulation` gives the time; for several machines, that of the files that each would get as a shard.
The simulation lets any number of files run in parallel at full speed, which CPUs do not. Therefore a machine
never takes less than its files' CPU time divided by its CPUs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from statistics import median

from msgspec import Struct, structs

from dispatcher.planning.shard_assignment import assign_shards
from dispatcher.planning.simulation import simulate_run
from passmuster.host.capacity import Capacity
from passmuster.model.oversubscription import max_slots
from passmuster.model.task import TestTask

NEARLY = 1.05
"""Times that differ by less than this ratio count as equal."""


class LowerBoundKind(StrEnum):
    """What limits the speed of a run."""

    FILE = "file"
    """The duration of the longest file."""
    CPUS = "cpus"
    """The CPU time of all files together."""
    MEMORY = "memory"
    """The memory of all files together, multiplied by their durations."""
    GROUP = "group"
    """The limit of a concurrency group."""
    JOBS = "jobs"
    """The number of slots."""


class LowerBound(Struct, frozen=True, kw_only=True):
    """One lower bound for the time of a machine's shard."""

    kind: LowerBoundKind
    lower_bound_s: float
    name: str = ""
    """The path of the file, or the group."""


class Prediction(Struct, frozen=True, kw_only=True):
    """The prediction for a run."""

    machine: Capacity
    """Of each machine."""
    nodes: int
    wall_s: float
    """Seconds until the last machine finishes."""
    peak_bytes: int
    bounds: tuple[LowerBound, ...]
    """Those of the machine that finishes last, the tightest first."""
    longest: LowerBound
    """The longest file of all machines."""


def median_time(tasks: Sequence[TestTask]) -> float | None:
    """Return the median of the predicted seconds; None: none of these tasks ever ran."""
    known = [task.predicted_s for task in tasks if task.predicted_s is not None]
    return median(known) if known else None


def fill_in(tasks: Sequence[TestTask], assumed_s: float) -> tuple[TestTask, ...]:
    """Return the tasks, with a time for those that never ran."""
    return tuple(
        structs.replace(task, predicted_s=assumed_s) if task.predicted_s is None else task for task in tasks
    )


def predict(
    tasks: Sequence[TestTask], machine: Capacity, *, nodes: int = 1, groups: Mapping[str, int]
) -> Prediction:
    """Return the prediction for a run.

    Args:
        tasks: at least one, in starting order, each with a time.
    """
    parts: dict[int, list[TestTask]] = defaultdict(list)
    shards = assign_shards(
        tasks, nodes, slots=machine.slots, budget_bytes=machine.budget_bytes, groups=groups
    )
    for task in tasks:
        parts[shards[task.key]].append(task)
    found = [_predict_one(part, machine, groups) for _, part in sorted(parts.items())]
    slowest = max(found, key=lambda one: one.wall_s)
    return structs.replace(
        slowest,
        nodes=nodes,
        peak_bytes=max(one.peak_bytes for one in found),
        longest=max((one.longest for one in found), key=lambda bound: bound.lower_bound_s),
    )


def _predict_one(tasks: Sequence[TestTask], machine: Capacity, groups: Mapping[str, int]) -> Prediction:
    forecast = simulate_run(
        tasks,
        slots=machine.slots,
        budget_bytes=machine.budget_bytes,
        idle_cpus=machine.idle_cpus,
        groups=groups,
    )
    task = max(tasks, key=lambda task: (_seconds(task), task.file_path))
    longest = LowerBound(kind=LowerBoundKind.FILE, lower_bound_s=_seconds(task), name=task.file_path)
    bounds = sorted((longest, *_bounds(tasks, machine, groups)), key=lambda bound: -bound.lower_bound_s)
    cpu_s = max((bound.lower_bound_s for bound in bounds if bound.kind is LowerBoundKind.CPUS), default=0.0)
    return Prediction(
        machine=machine,
        nodes=1,
        wall_s=max(forecast.wall_s or 0.0, cpu_s),
        peak_bytes=forecast.peak_bytes,
        bounds=tuple(bounds),
        longest=longest,
    )


def _bounds(tasks: Sequence[TestTask], machine: Capacity, groups: Mapping[str, int]) -> Iterator[LowerBound]:
    if machine.cpus is not None:
        cpu_s = sum(_cpu_s(task) for task in tasks)
        yield LowerBound(kind=LowerBoundKind.CPUS, lower_bound_s=cpu_s / machine.cpus)
    area = sum(_seconds(task) * _share(task, machine) for task in tasks)
    yield LowerBound(kind=LowerBoundKind.MEMORY, lower_bound_s=area)
    at_once = max_slots(machine.slots, cpus=machine.idle_cpus)
    yield LowerBound(kind=LowerBoundKind.JOBS, lower_bound_s=sum(map(_seconds, tasks)) / at_once)
    for name, most in groups.items():
        group_s = sum(_seconds(task) for task in tasks if task.group == name)
        if group_s:
            yield LowerBound(kind=LowerBoundKind.GROUP, lower_bound_s=group_s / most, name=name)


def _seconds(task: TestTask) -> float:
    return task.predicted_s or 0.0


def _cpu_s(task: TestTask) -> float:
    """Return the CPU time of a file; an unknown one is assumed to use one CPU throughout."""
    return _seconds(task) if task.predicted_cpu_s is None else task.predicted_cpu_s


def _share(task: TestTask, machine: Capacity) -> float:
    """Return the share of a machine's memory that a file reserves: all of it for an exclusive file."""
    if task.exclusive:
        return 1.0
    if task.predicted_bytes is None:
        return 1.0 / machine.slots
    return min(1.0, task.predicted_bytes / machine.budget_bytes)


def alternatives(
    tasks: Sequence[TestTask], requested: Prediction, *, groups: Mapping[str, int]
) -> tuple[Prediction, ...]:
    """Return the predictions for half and twice the requested jobs, memory and machines.

    More machines are tried until another one no longer helps.
    """
    machine, nodes = requested.machine, requested.nodes
    # An explicit number of jobs excludes oversubscription.
    machines = [
        structs.replace(machine, slots=slots, idle_cpus=None)
        for slots in (machine.slots // 2, machine.slots * 2)
        if slots
    ]
    budgets = (machine.budget_bytes // 2, machine.budget_bytes * 2)
    machines += [structs.replace(machine, budget_bytes=budget_bytes) for budget_bytes in budgets]
    found = (predict(tasks, one, nodes=nodes, groups=groups) for one in machines)
    return (*found, *_machines(tasks, requested, groups))


_NODES = (1, 2, 3, 4, 6, 8, 16)
"""The numbers of machines that are tried. With 3,000 files, to split and simulate all takes a second."""


def _machines(
    tasks: Sequence[TestTask], requested: Prediction, groups: Mapping[str, int]
) -> Iterator[Prediction]:
    for nodes in _NODES:
        one = requested
        if nodes != requested.nodes:
            one = predict(tasks, requested.machine, nodes=nodes, groups=groups)
            yield one
        if is_limited_by_longest_file(one):
            return


def is_limited_by_longest_file(prediction: Prediction) -> bool:
    """Whether more machines do not help: one file alone takes as long as all."""
    return prediction.wall_s <= prediction.longest.lower_bound_s * NEARLY
