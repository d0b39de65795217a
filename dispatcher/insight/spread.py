"""How a run's files would be spread over machines that share nothing. Pure; the one place that says so."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

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
    places = _split(tasks, total)
    parts: list[list[TestTask]] = [[] for _ in range(total)]
    for task in tasks:
        parts[places[task.file_path] - 1].append(task)
    return parts


def _split(tasks: Sequence[TestTask], total: int) -> dict[str, int]:
    """Return the machine of each file, from 1: the longest file first, to where least is to do."""
    loads = [(0.0, number) for number in range(1, total + 1)]
    places: dict[str, int] = {}
    for task in sorted(tasks, key=lambda task: (-(task.predicted_s or 0.0), task.file_path)):
        load_s, number = heapq.heappop(loads)
        places[task.file_path] = number
        heapq.heappush(loads, (load_s + (task.predicted_s or 0.0), number))
    return places
