"""Turns SIGINT and SIGTERM into a count that the run's loop reads. No handler raises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Counts the requests to end the run. The object is itself the signal handler."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.count = 0
        self.numbers: set[int] = set()
        """Which signals were counted."""
        self.wake = wake

    def forget(self) -> None:
        """Start to count anew."""
        self.count = 0
        self.numbers.clear()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Count a signal and end the wait."""
        self.count += 1
        self.numbers.add(number)
        self.wake()


@contextmanager
def watch_interrupts(
    wake: Callable[[], None] = lambda: None, *, ignored_afterwards: bool = False
) -> Iterator[Interrupts]:
    """Count SIGINT and SIGTERM while the context lasts, then restore the old handlers.

    Nested contexts share the count of the outer one, so that an impatient user does not interrupt the
    preparation and clean-up around a run.

    Args:
        wake: called inside the handler at each signal, to end a wait; called at once if a signal was already
            counted.
        ignored_afterwards: after the first counted signal, ignore all further ones, even after the context:
            for a process that is about to end.

    Outside the main thread, where Python allows no handlers, nothing is counted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Interrupts(wake)
        return
    outer = signal.getsignal(signal.SIGTERM)
    if isinstance(outer, Interrupts):
        outer.wake, before_wake = wake, outer.wake
        if outer.count:
            wake()
        try:
            yield outer
        finally:
            outer.wake = before_wake
        return
    interrupts = Interrupts(wake)
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if _is_heeded(number)]
    before = {number: signal.signal(number, interrupts) for number in numbers}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ignored_afterwards and interrupts.count else handler)


def _is_heeded(number: signal.Signals) -> bool:
    """Whether a signal is not ignored on purpose, as SIGHUP is under nohup(1)."""
    return signal.getsignal(number) is not signal.SIG_IGN
