"""Waiting tasks in their order, with search for the first that fits: one part of `dispatcher.schedule.line`.

A line has one lane for each group, and one for the tasks of no group.
"""

from __future__ import annotations

from collections import deque

from dispatcher.schedule.min_tree import MinTree
from passmuster.executor import Room
from passmuster.task import TestTask


class Lane:
    """Tasks by key; the lower the key, the earlier its turn."""

    def __init__(self) -> None:
        self._tasks: dict[int, TestTask] = {}
        self._tree = MinTree()
        self._unknown: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._tasks)

    def tasks(self) -> dict[int, TestTask]:
        """Return all tasks by key."""
        return dict(self._tasks)

    def put(self, key: int, task: TestTask) -> None:
        """Let a task wait at a key that is the first or the last of all."""
        self._tasks[key] = task
        if task.predicted_bytes is not None:
            self._tree.set(key, task.predicted_bytes)
        elif self._unknown and key < self._unknown[0]:
            self._unknown.appendleft(key)
        else:
            self._unknown.append(key)

    def take(self, key: int) -> TestTask:
        """Remove a task that `first` or `first_fitting` named."""
        if self._unknown and self._unknown[0] == key:
            self._unknown.popleft()
        else:
            self._tree.discard(key)
        return self._tasks.pop(key)

    def peek(self, key: int) -> TestTask:
        """Return the task at a key."""
        return self._tasks[key]

    def first(self) -> int | None:
        """Return the key of the first task; None when there is none."""
        return lower(self._tree.first(), self._unknown[0] if self._unknown else None)

    def first_fitting(self, room: Room) -> int | None:
        """Return the key of the first task that the free memory suffices for; all unknown need the same."""
        unknown = self._unknown[0] if self._unknown and room.unknown_bytes <= room.free_bytes else None
        return lower(self._tree.first_at_most(room.free_bytes), unknown)


def lower(left: int | None, right: int | None) -> int | None:
    """Return the lower of two keys, either of which may be missing."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)
