"""Turns SIGINT and SIGTERM into a count that the run's loop looks at. Nothing is raised anywhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """How often the user, or the system, asked for the end of the run. Is itself the signals' handler."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.count = 0
        self.wake = wake

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Count a signal and end the wait."""
        self.count += 1
        self.wake()


@contextmanager
def watch_interrupts(
    wake: Callable[[], None] = lambda: None, *, ignored_afterwards: bool = False
) -> Iterator[Interrupts]:
    """Count SIGINT and SIGTERM while the context lasts; afterwards the old handlers are back.

    Inside another such context there is one count, that of the outer one: so whoever prepares a run and
    cleans up after it is not torn out of that by an impatient user.

    Args:
        wake: called at each signal, inside the handler, to end a wait; at once if one was counted already.
        ignored_afterwards: once a signal was counted, let all that follow do nothing even after the
            context: for a process that is about to end anyway.

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
