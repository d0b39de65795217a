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
"""Seconds between SIGTERM and SIGKILL for files that did not finish within the grace period."""

EXIT_S = 5.0
"""Seconds that the process may take to exit once no file runs; then it is forced to. An unavailable broker
could delay the exit without a limit."""

INTERVAL_S = 0.1


class Shutdown:
    """Waits for a shutdown request, and carries it out.

    Running files may continue for `grace_s` seconds. `force_exit` ends the process immediately.
    """

    def __init__(
        self,
        executor: Stoppable,
        in_flight: InFlightFiles,
        *,
        grace_s: float,
        force_exit: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor, self._in_flight = executor, in_flight
        self._grace_s, self._force_exit, self._clock = grace_s, force_exit, clock
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._is_exiting = threading.Event()
        self.is_requested = False
        """Whether the shutdown was requested."""

    def start(self) -> None:
        """Wait in a thread of its own."""
        threading.Thread(target=self.wait, name="shutdown", daemon=True).start()

    def request(self, *, at_once: bool = False) -> None:
        """Request the shutdown; a second request, or `at_once`, skips the grace period. Safe in signal
        handlers."""
        self.is_requested = True
        self._requests.put(at_once)

    def mark_exiting(self) -> None:
        """Record that the process is about to exit by itself."""
        self._is_exiting.set()

    def wait(self) -> None:
        """Wait for the first request, and carry it out."""
        is_urgent = self._requests.get()
        self._in_flight.close()
        until = self._clock() + self._grace_s
        while not is_urgent and self._clock() < until and not self._in_flight.wait_until_empty(INTERVAL_S):
            is_urgent = self._has_request()
        self._in_flight.mark_stopping()
        self._executor.stop_all(StopReason.CANCELLED, grace_s=0 if is_urgent else TERM_S)
        until = self._clock() + EXIT_S
        while self._clock() < until and not self._is_exiting.wait(INTERVAL_S):
            if not is_urgent and self._has_request():
                is_urgent = True
                self._executor.stop_all(StopReason.CANCELLED, grace_s=0)
        if not self._is_exiting.is_set():
            self._force_exit()

    def _has_request(self) -> bool:
        try:
            self._requests.get_nowait()
        except queue.Empty:
            return False
        return True
