"""The ready queue: the tasks that wait for a slot on one machine, and which of them starts next. Pure.

Not thread-safe: its owner locks. The order is that of `planning.order`; a later task may overtake an earlier
one that does not fit into the memory. There is one queue for each concurrency group and one for all other
tasks.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from operator import itemgetter

from passmuster.model.executor import FreeCapacity
from passmuster.model.task import TestTask

_BLOCK_KEYS = 128
"""About the square root of the files of a large run: a search looks at as many blocks as keys in one."""


class GroupQueue:
    """Tasks by key; the lower the key, the earlier its turn.

    The least need of each block of keys is known, so a search walks through the blocks and one of them, not
    through all tasks.
    """

    def __init__(self) -> None:
        self.tasks: dict[int, TestTask] = {}
        self._needs: dict[int, dict[int, int]] = {}  # Bytes by key, for each block; without unknown needs.
        self._least: dict[int, int] = {}  # The least of these, for each block.
        self._unknown: deque[int] = deque()  # The keys of the tasks whose need is unknown, in order.

    def put(self, key: int, task: TestTask) -> None:
        """Add a task at a key that is lower or higher than all others."""
        self.tasks[key] = task
        needed_bytes, number = task.predicted_bytes, key // _BLOCK_KEYS
        if needed_bytes is not None:
            self._needs.setdefault(number, {})[key] = needed_bytes
            self._least[number] = min(needed_bytes, self._least.get(number, needed_bytes))
        elif self._unknown and key < self._unknown[0]:
            self._unknown.appendleft(key)
        else:
            self._unknown.append(key)

    def pop(self, key: int) -> TestTask:
        """Remove a task that `first` or `first_fitting` returned."""
        number = key // _BLOCK_KEYS
        if self._unknown and self._unknown[0] == key:
            self._unknown.popleft()
        elif self._needs[number].pop(key) == self._least[number]:
            if self._needs[number]:
                self._least[number] = min(self._needs[number].values())
            else:
                del self._needs[number], self._least[number]
        return self.tasks.pop(key)

    def first(self) -> int | None:
        """Return the key of the first task; None: there is none."""
        keys = [self._unknown[0]] if self._unknown else []
        if self._needs:
            keys.append(min(self._needs[min(self._needs)]))
        return min(keys, default=None)

    def first_fitting(self, first: int, room: FreeCapacity) -> int | None:
        """Return the key of the first task that fits into the free memory; all unknown ones need the same."""
        needed_bytes = self.tasks[first].predicted_bytes
        if (room.unknown_bytes if needed_bytes is None else needed_bytes) <= room.free_bytes:
            return first  # Needs no search; in most runs every file fits.
        fits_unknown = self._unknown and room.unknown_bytes <= room.free_bytes
        keys = [self._unknown[0]] if fits_unknown else []
        blocks = (number for number, least_bytes in self._least.items() if least_bytes <= room.free_bytes)
        number = min(blocks, default=None)
        if number is not None:
            keys += (key for key, needed in self._needs[number].items() if needed <= room.free_bytes)
        return min(keys, default=None)


MAX_OVERTAKES = 16
"""How many files may overtake the head of the queue before it makes a reservation; then nothing starts before
it.

The limit is twice the highest number of files that ran at once, if that is more. With a lower limit, slots
would stand idle for every large file in turn; simulations put that at up to 1.8 times the run's length.
Without a limit, small files could keep a large one waiting until the end, where it would run alone.
"""

MAX_STARTS_BEFORE_EXCLUSIVE = 1000
"""How many files may start while an exclusive file waits, before nothing further starts until it has run.

Emptying the machine costs about one file's length on every slot: once in a thousand starts that is
negligible, and in most runs the exclusive files simply come last.
"""

_Place = tuple[GroupQueue, int]
"""The position of a task: its group queue, and its key there."""


class ReadyQueue:
    """Tasks that wait, in order.

    - The first task that fits into the free memory starts.
    - Once `MAX_OVERTAKES` other tasks have overtaken the head of the queue, nothing starts before it until it
      fits. Only the head has this right; the tasks behind it get it when they become the head.
    - If nothing runs, the head starts even if it does not fit; if other runs on the machine hold memory that
      it needs, only if no other task fits.
    - A task whose group is full is skipped, and keeps its position: it does not wait for memory.
    - Exclusive tasks wait until the queue is empty or `MAX_STARTS_BEFORE_EXCLUSIVE` is used up, and then
      until the machine is idle.

    Args:
        groups: how many tasks of each group may run at once; a group that is not named has no limit.
    """

    def __init__(self, tasks: Sequence[TestTask] = (), *, groups: Mapping[str, int] | None = None) -> None:
        self._groups = dict(groups or {})
        self._running: Counter[str] = Counter()
        self._running_total = self._max_running_total = 0
        self._group_queues: dict[str, GroupQueue] = {}
        self._exclusive: deque[TestTask] = deque()
        self._first_key = 0
        self._next_key = 0
        self._overtakes: dict[int, int] = {}
        self._starts_before_exclusive = 0
        self.is_held_by_groups = False
        """Whether the last request found no task only because the groups of all waiting ones were full."""
        self.push(tasks)

    def __len__(self) -> int:
        return sum(len(queue.tasks) for queue in self._group_queues.values()) + len(self._exclusive)

    def push(self, tasks: Sequence[TestTask]) -> None:
        """Put tasks at the end of the queue, in their order."""
        for task in tasks:
            if task.exclusive:
                self._exclusive.append(task)
            else:
                self._queue_of(task).put(self._next_key, task)
                self._next_key += 1

    def push_front(self, tasks: Sequence[TestTask]) -> None:
        """Put tasks before all that wait, in their order."""
        for task in reversed(tasks):
            if task.exclusive:
                self._exclusive.appendleft(task)
            else:
                self._first_key -= 1
                self._queue_of(task).put(self._first_key, task)

    def requeue(self, task: TestTask) -> None:
        """Put a task that could not start after all before all that wait."""
        self.release_group(task)
        self.push_front([task])

    def release_group(self, task: TestTask) -> None:
        """Release the group slot of a task that was popped. Call this exactly once for each popped task."""
        self._running_total -= 1
        if task.group in self._groups:
            self._running[task.group] -= 1

    def withdraw(self) -> tuple[TestTask, ...]:
        """Empty the queue; return the tasks in order, exclusive ones at the end."""
        waiting = {key: task for queue in self._group_queues.values() for key, task in queue.tasks.items()}
        found = (*(waiting[key] for key in sorted(waiting)), *self._exclusive)
        self._group_queues.clear()
        self._exclusive.clear()
        self._overtakes.clear()
        return found

    def pop_first_fit(self, room: FreeCapacity) -> TestTask | None:
        """Pop the task that should start now; None: none that may start fits.

        If the machine refuses the task after all, requeue it, and ask again only when something has changed.
        When a popped task finishes, report it to release its group slot.
        """
        self.is_held_by_groups = False
        if room.is_full or not self:
            return None
        if self._exclusive and (
            len(self) == len(self._exclusive) or self._starts_before_exclusive >= MAX_STARTS_BEFORE_EXCLUSIVE
        ):
            if not room.is_idle:
                return None
            self._starts_before_exclusive = 0
            return self._started(self._exclusive.popleft())
        first, first_fitting = self._find(room)
        self.is_held_by_groups = first is None
        chosen = first if room.is_idle and not room.must_fit else first_fitting
        if chosen is None and room.is_idle:
            chosen = first
        if first is None or chosen is None:
            return None
        queue, key = chosen
        if not room.has_slot_for(queue.tasks[key]):
            return None
        if chosen != first:
            overtakes = self._overtakes.get(first[1], 0)
            if overtakes >= max(MAX_OVERTAKES, 2 * self._max_running_total):
                return self._take(*first) if room.is_idle else None
            self._overtakes[first[1]] = overtakes + 1
        return self._take(queue, key)

    def _find(self, room: FreeCapacity) -> tuple[_Place | None, _Place | None]:
        """Return the positions of the first task that may start, and of the first that also fits."""
        places = [
            (queue, key)
            for group, queue in self._group_queues.items()
            if self._running[group] < self._groups.get(group, math.inf)
            if (key := queue.first()) is not None
        ]
        fitting = [
            (queue, key) for queue, first in places if (key := queue.first_fitting(first, room)) is not None
        ]
        return min(places, key=itemgetter(1), default=None), min(fitting, key=itemgetter(1), default=None)

    def _queue_of(self, task: TestTask) -> GroupQueue:
        """Return the queue of a task: that of its group if the group is limited."""
        group = task.group if task.group in self._groups else ""
        return self._group_queues.setdefault(group, GroupQueue())

    def _take(self, queue: GroupQueue, key: int) -> TestTask:
        """Remove a task that is about to start."""
        self._overtakes.pop(key, None)
        if self._exclusive:
            self._starts_before_exclusive += 1
        return self._started(queue.pop(key))

    def _started(self, task: TestTask) -> TestTask:
        """Count a task, and in its group."""
        self._running_total += 1
        self._max_running_total = max(self._max_running_total, self._running_total)
        if task.group in self._groups:
            self._running[task.group] += 1
        return task
