"""The ready queue: the tasks that wait for a slot on one machine, and which of them starts next. Pure.

Not thread-safe: its owner locks. The order is that of `planning.order`; a later task may overtake an earlier
one that does not fit into the memory. There is one queue for each concurrency group and one for all other
tasks. A segment tree of minima finds the first task that fits in a number of steps that grows with the
logarithm of the tasks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from passmuster.model.executor import FreeCapacity
from passmuster.model.task import TestTask

_NOTHING = float("inf")
_SMALLEST = 64


class MinTree:
    """Numbers by integer key, with search for the lowest key whose number is small enough."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._base_key = 0
        self._size = 0
        self._minima: list[float] = []

    def set(self, key: int, number: int) -> None:
        """Put a number at a key."""
        self._numbers[key] = number
        if not self._base_key <= key < self._base_key + self._size:
            self._rebuild()
        else:
            self._update(key, number)

    def discard(self, key: int) -> None:
        """Remove the number at a key, if there is one."""
        if self._numbers.pop(key, None) is not None:
            self._update(key, _NOTHING)

    def first_at_most(self, bound: int) -> int | None:
        """Return the lowest key whose number is at most `bound`; None when there is none."""
        if not self._minima or self._minima[1] > bound:
            return None
        node = 1
        while node < self._size:
            node *= 2
            if self._minima[node] > bound:
                node += 1
        return self._base_key + node - self._size

    def _update(self, key: int, number: float) -> None:
        """Change one leaf, and the minima above it as far as they change."""
        node = key - self._base_key + self._size
        self._minima[node] = number
        while node > 1:
            node //= 2
            minimum = min(self._minima[2 * node], self._minima[2 * node + 1])
            if self._minima[node] == minimum:
                break
            self._minima[node] = minimum

    def _rebuild(self) -> None:
        """Rebuild the tree with the numbers in the middle of twice the keys they span, so that both ends can
        grow.

        The span at least doubles before the next rebuild, so the average cost of a key is constant.
        """
        lowest, highest = min(self._numbers), max(self._numbers)
        span = highest - lowest + 1
        self._size = _SMALLEST
        while self._size < 2 * span:
            self._size *= 2
        self._base_key = lowest - (self._size - span) // 2
        self._minima = [_NOTHING] * (2 * self._size)
        for key, number in self._numbers.items():
            self._minima[key - self._base_key + self._size] = number
        for node in range(self._size - 1, 0, -1):
            self._minima[node] = min(self._minima[2 * node], self._minima[2 * node + 1])


class GroupQueue:
    """Tasks by key; the lower the key, the earlier its turn."""

    def __init__(self) -> None:
        self._tasks: dict[int, TestTask] = {}
        self._keys: deque[int] = deque()  # In their order; removed ones until they come first.
        self._tree = MinTree()
        self._unknown: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._tasks)

    def tasks(self) -> dict[int, TestTask]:
        """Return all tasks by key."""
        return dict(self._tasks)

    def put(self, key: int, task: TestTask) -> None:
        """Add a task at a key that is lower or higher than all others."""
        self._tasks[key] = task
        _put_in_order(self._keys, key)
        if task.predicted_bytes is None:
            _put_in_order(self._unknown, key)
        else:
            self._tree.set(key, task.predicted_bytes)

    def pop(self, key: int) -> TestTask:
        """Remove a task that `first` or `first_fitting` returned."""
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
        while self._keys and self._keys[0] not in self._tasks:
            self._keys.popleft()
        return self._keys[0] if self._keys else None

    def first_fitting(self, room: FreeCapacity) -> int | None:
        """Return the key of the first task that fits into the free memory; unknown ones all need the same."""
        first = self.first()
        if first is None:
            return None
        needed_bytes = self._tasks[first].predicted_bytes
        if (room.unknown_bytes if needed_bytes is None else needed_bytes) <= room.free_bytes:
            return first  # Needs no search; in most runs every file fits.
        unknown = self._unknown[0] if self._unknown and room.unknown_bytes <= room.free_bytes else None
        return lower(self._tree.first_at_most(room.free_bytes), unknown)


def _put_in_order(keys: deque[int], key: int) -> None:
    """Add a key that is lower or higher than all others."""
    if keys and key < keys[0]:
        keys.appendleft(key)
    else:
        keys.append(key)


def lower(left: int | None, right: int | None) -> int | None:
    """Return the lower of two keys, either of which may be missing."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)


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
        return sum(map(len, self._group_queues.values())) + len(self._exclusive)

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
        waiting = {key: task for queue in self._group_queues.values() for key, task in queue.tasks().items()}
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
            return self._take_exclusive() if room.is_idle else None
        first, first_fitting = self._find(room)
        self.is_held_by_groups = first is None
        chosen = first if room.is_idle and not room.must_fit else first_fitting
        if chosen is None and room.is_idle:
            chosen = first
        if first is None or chosen is None:
            return None
        queue, key = chosen
        if not room.has_slot_for(queue.peek(key)):
            return None
        if chosen != first:
            overtakes = self._overtakes.get(first[1], 0)
            if overtakes >= max(MAX_OVERTAKES, 2 * self._max_running_total):
                return self._take(*first) if room.is_idle else None
            self._overtakes[first[1]] = overtakes + 1
        return self._take(queue, key)

    def _find(self, room: FreeCapacity) -> tuple[_Place | None, _Place | None]:
        """Return the positions of the first task that may start, and of the first that also fits."""
        first: _Place | None = None
        fitting: _Place | None = None
        for group, queue in self._group_queues.items():
            if self._running[group] >= self._groups.get(group, self._running[group] + 1):
                continue
            key = queue.first()
            if key is None or (fitting is not None and first is not None and key > fitting[1]):
                continue
            if first is None or key < first[1]:
                first = (queue, key)
            key = queue.first_fitting(room)
            if key is not None and (fitting is None or key < fitting[1]):
                fitting = (queue, key)
        return first, fitting

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

    def _take_exclusive(self) -> TestTask:
        """Remove the first exclusive task."""
        self._starts_before_exclusive = 0
        return self._started(self._exclusive.popleft())

    def _started(self, task: TestTask) -> TestTask:
        """Count a task, and in its group."""
        self._running_total += 1
        self._max_running_total = max(self._max_running_total, self._running_total)
        if task.group in self._groups:
            self._running[task.group] += 1
        return task
