"""Turns SIGINT and SIGTERM into a count that the run's loop looks at. Nothing is raised anywhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """How often the user, or the system, asked for the end of the run."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def watch_interrupts(wake: Callable[[], None]) -> Iterator[Interrupts]:
    """Count SIGINT and SIGTERM while the context lasts; afterwards the old handlers are back.

    Args:
        wake: called at each signal, inside the handler, to end a wait.

    Outside the main thread, where Python allows no handlers, nothing is counted.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        interrupts.count += 1
        wake()

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if _is_heeded(number)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_heeded(number: signal.Signals) -> bool:
    """Whether a signal is not ignored on purpose, as SIGHUP is under nohup(1)."""
    return signal.getsignal(number) is not signal.SIG_IGN
