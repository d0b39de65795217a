"""The files that wait for a place on one machine, and which of them goes next.

Pure and not thread-safe: its owner locks. The order of the line is `dispatcher.schedule.order`'s; memory is
why a later file may pass an earlier one. Finding the first that fits takes a few steps however many wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from dispatcher.schedule.min_tree import MinTree
from passmuster.executor import Room
from passmuster.task import TestTask

PATIENCE = 16
"""How many files may pass the first of the line before it makes a reservation: then nobody passes it.

Twice the most files that run at once. Fewer, and slots would stand idle for every large file in turn, which
simulations put at up to 1.8 times the run's length; with none at all, small files could keep a large one
waiting until the end, where it would run alone.
"""

ALONE_PATIENCE = 1000
"""How many files may start while a file waits to run alone, before nothing further starts until it has run.

Emptying the machine costs about one file's length on every slot: paid once in a thousand starts that is
nothing, and in most runs the files to run alone simply come last.
"""


class Line:
    """Tasks that wait, in order.

    - The first task that fits the room goes.
    - The first of the line, once passed by `PATIENCE` others, is passed no more until it fits. Only the first
      counts: whoever stands behind it gets there, and then has the same right.
    - When nothing runs the first of the line goes, fitting or not.
    - Tasks to run alone wait beside the line, until it is empty or `ALONE_PATIENCE` is used up, and then
      for the machine to be idle.
    """

    def __init__(self, tasks: Sequence[TestTask] = ()) -> None:
        self._tasks: dict[int, TestTask] = {}
        self._alone: deque[TestTask] = deque()
        self._tree = MinTree()
        self._unknown: deque[int] = deque()
        self._first_key = 0
        self._next_key = 0
        self._passed = 0
        self._passed_key: int | None = None
        self._starts_beside_alone = 0
        self.append(tasks)

    def __len__(self) -> int:
        return len(self._tasks) + len(self._alone)

    def append(self, tasks: Sequence[TestTask]) -> None:
        """Put tasks at the end of the line, in their order."""
        for task in tasks:
            if task.alone:
                self._alone.append(task)
            else:
                self._put(self._next_key, task)
                self._next_key += 1

    def prepend(self, tasks: Sequence[TestTask]) -> None:
        """Put tasks before all that wait, in their order."""
        for task in reversed(tasks):
            if task.alone:
                self._alone.appendleft(task)
            else:
                self._first_key -= 1
                self._put(self._first_key, task)

    def withdraw(self) -> tuple[TestTask, ...]:
        """Empty the line; return what waited, in order, tasks to run alone at the end."""
        waiting = (*(self._tasks[key] for key in sorted(self._tasks)), *self._alone)
        self._tasks.clear()
        self._alone.clear()
        self._unknown.clear()
        self._tree = MinTree()
        return waiting

    def next_fit(self, room: Room) -> TestTask | None:
        """Take the task that should start now; None: none that may start fits.

        Whoever is refused by the machine after all puts it back with `prepend`, and asks again only when
        something has changed.
        """
        if room.slots <= 0 or not self:
            return None
        if self._alone and (not self._tasks or self._starts_beside_alone >= ALONE_PATIENCE):
            return self._take_alone() if room.is_idle else None
        first = self._first_waiting()
        key = first if room.is_idle else self._first_fitting(room)
        if key is None:
            return None
        if first != self._passed_key:
            self._passed_key, self._passed = first, 0
        if key != first:
            if self._passed >= PATIENCE:
                return None
            self._passed += 1
        return self._take(key)

    def _put(self, key: int, task: TestTask) -> None:
        """Let a task wait at a key that is the first or the last of all."""
        self._tasks[key] = task
        if task.predicted_bytes is not None:
            self._tree.set(key, task.predicted_bytes)
        elif self._unknown and key < self._unknown[0]:
            self._unknown.appendleft(key)
        else:
            self._unknown.append(key)

    def _take(self, key: int) -> TestTask:
        """Remove a task that is the first of the known, or of the unknown ones, or fits first."""
        if self._unknown and self._unknown[0] == key:
            self._unknown.popleft()
        else:
            self._tree.discard(key)
        if self._alone:
            self._starts_beside_alone += 1
        return self._tasks.pop(key)

    def _take_alone(self) -> TestTask:
        """Remove the first of the tasks that run alone."""
        self._starts_beside_alone = 0
        return self._alone.popleft()

    def _first_waiting(self) -> int | None:
        """Return the key of the first of the line."""
        return _lower(self._tree.first(), self._unknown[0] if self._unknown else None)

    def _first_fitting(self, room: Room) -> int | None:
        """Return the key of the first task that fits; every unknown one needs the same."""
        unknown = self._unknown[0] if self._unknown and room.unknown_bytes <= room.free_bytes else None
        return _lower(self._tree.first_at_most(room.free_bytes), unknown)


def _lower(left: int | None, right: int | None) -> int | None:
    """Return the lower of two keys, either of which may be missing."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)
