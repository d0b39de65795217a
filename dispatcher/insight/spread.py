"""How a run's files would be spread over machines that share nothing, as shards are. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.schedule.shard import split
from passmuster.task import TestTask


def spread(
    tasks: Sequence[TestTask], total: int, *, slots: int, budget_bytes: int, groups: Mapping[str, int]
) -> list[list[TestTask]]:
    """Return the files of each machine, in the order in which they came.

    Args:
        tasks: the files.
        total: how many machines there are.
        slots: how many files one runs at once.
        budget_bytes: the memory that all of them may use there.
        groups: how many files of each group one runs at once.
    """
    places = split(tasks, total, slots=slots, budget_bytes=budget_bytes, groups=groups)
    parts: list[list[TestTask]] = [[] for _ in range(total)]
    for task in tasks:
        parts[places[task.file_path] - 1].append(task)
    return parts
