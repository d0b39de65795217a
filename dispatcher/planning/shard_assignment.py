"""Assigns each file of a run to a shard, with the same result on every machine.

Pure, and a function of the set of files, never of their order. Files are placed from the heaviest to the
lightest; a file's weight is the share of a machine that it uses, times its duration. Each file prefers a few
shards, derived from its path alone, and gets the first that is not too full. An added or removed file
therefore moves few others, and per-shard caches stay useful. If the simulation shows that one machine would
run longer than the others, the smallest change that helps is made.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from msgspec import Struct, structs

from dispatcher.planning.simulation import simulate_run
from passmuster.model.task import TestTask

FULL = 1.03
"""A shard gets no further file beyond this multiple of its fair share, unless all shards are as full."""

EVEN = 1.05
"""The shards are balanced when the slowest takes at most this multiple of the mean: a stricter limit would
move files for every second by which a history changes.
"""

PREFERENCES = 8
"""How many shards a file prefers before it goes to the least loaded one: a SHA-256 has as many 32-bit
numbers.
"""

MAX_SIMULATED_FILES = 2000
"""The maximum number of files up to which the shards are balanced by simulation. With more, no single file
matters.
"""

STEP = 1.1
"""The ratio between two time steps: smaller changes from run to run move no file."""

SHORTEST_S = 0.01
LONGEST_S = 1e6
"""The bounds of a predicted time, whatever the history contains."""

_TRIALS = 24
"""Moves and swaps that are simulated between two shards before the next pair is tried."""

_PARTNERS = 8
"""How many of the quickest shards are candidates to relieve the slowest."""

_SWAPPED = 100
"""How many of a shard's heaviest files may be swapped; any may be moved."""

_SIMULATED_FILES = 50_000
"""Files in all simulations together: about a second's worth."""


class _Weighed(Struct, frozen=True, kw_only=True):
    """A file to be placed.

    Args:
        task: with a time in whole steps, known or not.
        seconds: that time.
        weight: the seconds for which it would occupy a whole machine.
        group_s: the seconds that it adds to its group's queue; 0: its group has no limit.
    """

    task: TestTask
    seconds: float
    weight: float
    group_s: float

    @property
    def key(self) -> str:
        """The file, or the part of it."""
        return self.task.key


def assign_shards(
    tasks: Sequence[TestTask],
    total: int,
    *,
    slots: int,
    budget_bytes: int,
    groups: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the shard of each task, by its key: from 1 to `total`; a shard may be empty.

    A file without a known time is assumed to take the median; if no time is known, all files weigh the same.

    Args:
        tasks: each file, or each part of it, once, in any order, with its predictions.
    """
    if total == 1:
        return {task.key: 1 for task in tasks}
    weighed = _weigh(tasks, slots=slots, budget_bytes=budget_bytes, groups=groups or {})
    placed = _place(weighed, total)
    if len(weighed) <= MAX_SIMULATED_FILES:
        machine = _Machine(slots=slots, budget_bytes=budget_bytes, groups=groups or {})
        _Balancer(placed, machine).run()
    return {item.key: number for number, files in enumerate(placed, start=1) for item in files}


def _weigh(
    tasks: Sequence[TestTask], *, slots: int, budget_bytes: int, groups: Mapping[str, int]
) -> list[_Weighed]:
    """Return the files with their weights, the heaviest first."""
    known = [task.predicted_s for task in tasks if task.predicted_s is not None]
    usual_s = median(known) if known else 1.0

    def weigh(task: TestTask) -> _Weighed:
        seconds = _in_steps(usual_s if task.predicted_s is None else task.predicted_s)
        share = (
            1.0 if task.exclusive else max(1 / slots, min(1.0, (task.predicted_bytes or 0) / budget_bytes))
        )
        return _Weighed(
            task=structs.replace(task, predicted_s=seconds, predicted_cpu_s=None),
            seconds=seconds,
            weight=seconds * share,
            group_s=seconds / groups[task.group] if task.group in groups else 0.0,
        )

    return sorted(map(weigh, tasks), key=lambda item: (-item.weight, item.key))


def _steps() -> Iterator[float]:
    """Yield the time steps. Products, unlike logarithms, are the same on every machine."""
    seconds = SHORTEST_S
    while seconds < LONGEST_S:
        yield seconds
        seconds *= STEP


_STEPS = tuple(_steps())


def _in_steps(seconds: float) -> float:
    """Return the last step that a time has reached."""
    return _STEPS[max(0, bisect(_STEPS, seconds) - 1)]


def _preferred(path: str, total: int) -> Iterator[int]:
    """Yield shards, from 0, in an order derived from the path."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
    for start in range(0, 4 * PREFERENCES, 4):
        yield int.from_bytes(digest[start : start + 4], "big") * total >> 32


def _place(weighed: Sequence[_Weighed], total: int) -> list[list[_Weighed]]:
    """Return the files of each shard."""
    placed: list[list[_Weighed]] = [[] for _ in range(total)]
    loads, queues = _Loads(total), defaultdict[str, _Loads](lambda: _Loads(total))
    bound = FULL * sum(item.weight for item in weighed) / total

    def end_s(item: _Weighed, number: int) -> float:
        queue_s = queues[item.task.group].of[number] + item.group_s if item.group_s else 0.0
        return max(loads.of[number] + item.weight, queue_s)

    for item in weighed:
        preferred = (number for number in _preferred(item.key, total) if end_s(item, number) <= bound)
        chosen = next(preferred, None)
        if chosen is None:
            emptiest = [loads.lowest(), *([queues[item.task.group].lowest()] if item.group_s else [])]
            chosen = min(emptiest, key=lambda number: end_s(item, number))
        placed[chosen].append(item)
        loads.add(chosen, item.weight)
        if item.group_s:
            queues[item.task.group].add(chosen, item.group_s)
    return placed


class _Loads:
    """The load of each shard, with fast access to the least loaded one."""

    def __init__(self, total: int) -> None:
        self.of = [0.0] * total
        self._by_load = [(0.0, number) for number in range(total)]

    def add(self, number: int, load: float) -> None:
        """Add to the load of a shard."""
        self.of[number] += load
        heapq.heappush(self._by_load, (self.of[number], number))

    def lowest(self) -> int:
        """Return the least loaded shard, the first of several."""
        while self._by_load[0][0] != self.of[self._by_load[0][1]]:
            heapq.heappop(self._by_load)
        return self._by_load[0][1]


class _Machine(Struct, frozen=True, kw_only=True):
    """The assumed size of each machine."""

    slots: int
    budget_bytes: int
    groups: Mapping[str, int]

    def finish_s(self, files: Sequence[_Weighed]) -> float:
        """Return when a machine with these files finishes; they start as in a run, largest share first."""
        lower_bound_s = max(sum(item.seconds for item in files) / self.slots, SHORTEST_S)

        def rank(item: _Weighed) -> tuple[float, float, str]:
            share = max(item.seconds / lower_bound_s, (item.task.predicted_bytes or 0) / self.budget_bytes)
            return (-share, -item.seconds, item.key)

        simulated = simulate_run(
            [item.task for item in sorted(files, key=rank)],
            slots=self.slots,
            budget_bytes=self.budget_bytes,
            groups=self.groups,
        )
        return simulated.wall_s or 0.0


class _Trade(Struct, frozen=True, kw_only=True):
    """The files of two shards after an exchange, and when both would finish."""

    files: tuple[list[_Weighed], list[_Weighed]]
    finish: tuple[float, float]


class _Balancer:
    """Moves work off the shard that finishes last until the shards are balanced or nothing helps.

    Args:
        placed: the files of each shard; changed in place.
    """

    def __init__(self, placed: list[list[_Weighed]], machine: _Machine) -> None:
        self._placed = placed
        self._machine = machine
        self._finish = [machine.finish_s(files) for files in placed]
        self._left = _SIMULATED_FILES

    def run(self) -> None:
        """Balance the shards."""
        while self._left > 0:
            slowest = max(range(len(self._finish)), key=self._finish.__getitem__)
            longest_s = max((item.seconds for item in self._placed[slowest]), default=0.0)
            if self._finish[slowest] <= max(EVEN * fmean(self._finish), longest_s):
                return
            if not self._relieve(slowest):
                return

    def _relieve(self, slowest: int) -> bool:
        """Make the move or swap that helps most; False: nothing helps."""
        quickest = sorted(range(len(self._finish)), key=self._finish.__getitem__)[:_PARTNERS]
        for other in quickest:
            trades = (self._simulate(slowest, other, *pair) for pair in self._candidates(slowest, other))
            best = min(trades, key=lambda trade: max(trade.finish), default=None)
            if best is not None and max(best.finish) < self._finish[slowest]:
                self._placed[slowest], self._placed[other] = best.files
                self._finish[slowest], self._finish[other] = best.finish
                return True
        return False

    def _candidates(self, slowest: int, other: int) -> list[tuple[_Weighed, _Weighed | None]]:
        """Return the files worth trying: those closest to half of the difference."""
        wanted = (self._finish[slowest] - self._finish[other]) / 2
        given, taken = self._placed[slowest], self._placed[other]
        pairs: list[tuple[_Weighed, _Weighed | None]] = [(item, None) for item in given]
        pairs += [(item, back) for item in _heaviest(given) for back in _heaviest(taken)]

        def gain(item: _Weighed, back: _Weighed | None) -> float:
            return item.weight - (0.0 if back is None else back.weight)

        def rank(pair: tuple[_Weighed, _Weighed | None]) -> tuple[float, str, str]:
            item, back = pair
            return (abs(gain(item, back) - wanted), item.key, "" if back is None else back.key)

        return heapq.nsmallest(_TRIALS, (pair for pair in pairs if 0 < gain(*pair) < 2 * wanted), key=rank)

    def _simulate(self, slowest: int, other: int, given: _Weighed, taken: _Weighed | None) -> _Trade:
        first = [item for item in self._placed[slowest] if item is not given]
        second = [*(item for item in self._placed[other] if item is not taken), given]
        if taken is not None:
            first.append(taken)
        self._left -= len(first) + len(second)
        finish = (self._machine.finish_s(first), self._machine.finish_s(second))
        return _Trade(files=(first, second), finish=finish)


def _heaviest(files: Sequence[_Weighed]) -> list[_Weighed]:
    """Return the files of a shard that are worth swapping."""
    return heapq.nsmallest(_SWAPPED, files, key=lambda item: (-item.weight, item.key))
