"""Holds process trees still for a moment, so that they can be counted before they have grown further.

Reading the true size of a tree of fifty growing processes takes so long that they are gigabytes further when
it is known (see `worker.budget.memory_probe`). Stopped processes take no memory and no CPU from whoever
reads.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_PASSES = 20
"""How often a tree is listed again for what it forked meanwhile; each pass leaves fewer that could."""


@contextlib.contextmanager
def frozen(trees: Sequence[Callable[[], Iterable[int]]]) -> Iterator[None]:
    """Stop every process of some trees while the context lasts.

    Processes that were stopped already, by their own test, stay as they are. Whoever is killed meanwhile
    dies at once, stopped or not.

    Args:
        trees: each returns the pids of one tree, parents first.
    """
    stopped: set[int] = set()
    try:
        for _ in range(MAX_PASSES):
            new = {pid for tree in trees for pid in tree()} - stopped
            if not new:
                break
            stopped.update(pid for pid in new if not _is_stopped(pid) and _send(pid, signal.SIGSTOP))
            if stopped.isdisjoint(new):
                break
        yield
    finally:
        for pid in stopped:
            _send(pid, signal.SIGCONT)


class StandstillClock:
    """A clock that does not go on while trees are held still.

    Growth that is seen before and after must not be divided by a time in which nothing could grow.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held_since_s: float | None = None
        self._held_s = 0.0

    def now_s(self) -> float:
        """Return the seconds that files have had to grow in."""
        now_s = self._clock() if self._held_since_s is None else self._held_since_s
        return now_s - self._held_s

    @contextlib.contextmanager
    def frozen(self, trees: Sequence[Callable[[], Iterable[int]]]) -> Iterator[None]:
        """Hold some trees still; with none, only the context is entered and time passes."""
        if not trees:
            yield
            return
        self._held_since_s = self._clock()
        try:
            with frozen(trees):
                yield
        finally:
            self._held_s += self._clock() - self._held_since_s
            self._held_since_s = None


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped or traced (proc(5), state T or t)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False when there is nobody to get it."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
