"""Shuts a worker down: accepts no more files, gives running files a grace period, then exits in any case.

A signal handler only records the request, because it may interrupt a thread that holds a lock; a thread does
the rest.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from passmuster.model.executor import Stoppable
from passmuster.model.status import StopReason
from worker.queue.in_flight import InFlightFiles

TERM_S = 1.0
"""Seconds between SIGTERM and SIGKILL for files that did not end within the grace: to tidy up."""

LEAVE_S = 5.0
"""Seconds the process may take to end once nothing runs; then it ends without ceremony. A broker that is away
could hold it up for ever."""

LOOK_S = 0.1


class Shutdown:
    """Waits for a shutdown request, and carries it out.

    Args:
        executor: what runs.
        roster: what this worker has.
        grace_s: seconds for which running files may continue.
        leave: ends the process at once.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        executor: Stoppable,
        roster: InFlightFiles,
        *,
        grace_s: float,
        leave: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor, self._roster = executor, roster
        self._grace_s, self._leave, self._clock = grace_s, leave, clock
        self._wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._is_asked = False

    def start(self) -> None:
        """Wait in a thread of its own."""
        threading.Thread(target=self.wait, name="ending", daemon=True).start()

    def ask(self, *, at_once: bool = False) -> None:
        """Request the shutdown; a second request, or `at_once`, skips the grace period. Safe in signal
        handlers."""
        self._is_asked = True
        self._wishes.put(at_once)

    @property
    def is_asked(self) -> bool:
        """Whether the shutdown was requested."""
        return self._is_asked

    def done(self) -> None:
        """Record that the process is about to exit by itself."""
        self._ended.set()

    def wait(self) -> None:
        """Wait for the first request, and carry it out."""
        is_urgent = self._wishes.get()
        self._roster.close()
        until = self._clock() + self._grace_s
        while not is_urgent and self._clock() < until and not self._roster.wait_until_empty(LOOK_S):
            is_urgent = self._is_asked_again()
        self._roster.mark_stopping()
        self._executor.stop_all(StopReason.CANCELLED, grace_s=0 if is_urgent else TERM_S)
        until = self._clock() + LEAVE_S
        while self._clock() < until and not self._ended.wait(LOOK_S):
            if not is_urgent and self._is_asked_again():
                is_urgent = True
                self._executor.stop_all(StopReason.CANCELLED, grace_s=0)
        if not self._ended.is_set():
            self._leave()

    def _is_asked_again(self) -> bool:
        try:
            self._wishes.get_nowait()
        except queue.Empty:
            return False
        return True
