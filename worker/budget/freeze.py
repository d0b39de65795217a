"""Pauses process trees while their memory is measured.

Reading the true size of a tree of fifty growing processes takes so long that the tree has grown by gigabytes
meanwhile (see `worker.budget.memory_probe`). Paused processes do not grow and leave the CPU to the sampler.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence

from passmuster.host.subprocesses import is_stopped, send_signal

MAX_PASSES = 20
"""Maximum number of passes to find newly forked processes; each pass leaves fewer that can fork."""


@contextlib.contextmanager
def frozen(trees: Sequence[Callable[[], Iterable[int]]]) -> Iterator[None]:
    """Pause every process of some trees while the context lasts; each of `trees` lists one, parents first.

    A process that its test had already stopped stays stopped. A paused process can still be killed.
    """
    stopped: set[int] = set()
    try:
        for _ in range(MAX_PASSES):
            new = {pid for tree in trees for pid in tree()} - stopped
            if not new:
                break
            stopped.update(pid for pid in new if not is_stopped(pid) and send_signal(pid, signal.SIGSTOP))
            if stopped.isdisjoint(new):
                break
        yield
    finally:
        for pid in stopped:
            send_signal(pid, signal.SIGCONT)


class PausableClock:
    """A monotonic clock that pauses with the trees, so that growth rates leave out the pauses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._paused_since_s: float | None = None
        self._paused_s = 0.0

    def now_s(self) -> float:
        """Return the seconds in which files could grow."""
        now_s = self._clock() if self._paused_since_s is None else self._paused_since_s
        return now_s - self._paused_s

    @contextlib.contextmanager
    def frozen(self, trees: Sequence[Callable[[], Iterable[int]]]) -> Iterator[None]:
        """Pause some trees and the clock; without trees, do nothing."""
        if not trees:
            yield
            return
        self._paused_since_s = self._clock()
        try:
            with frozen(trees):
                yield
        finally:
            self._paused_s += self._clock() - self._paused_since_s
            self._paused_since_s = None
