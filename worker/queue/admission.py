"""Admits the files of the queue on this worker, and keeps exclusive files from starving.

The executor decides whether a file fits now. A worker has no ready queue, so this module makes sure that an
exclusive file gets its turn although other files keep arriving.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from passmuster.model.executor import Executor
from passmuster.model.task import TestTask
from worker.queue.in_flight import InFlightFiles
from worker.queue.peer_workers import PeerWorkers

ADMIT_S = 2.0
"""Seconds for which a file waits for admission before other workers may try it."""

ADMIT_INTERVAL_S = 0.05


class Admission:
    """Admits files to an executor; `budget_bytes` is its memory for all files. Thread-safe."""

    def __init__(
        self,
        executor: Executor,
        in_flight: InFlightFiles,
        peers: PeerWorkers,
        *,
        budget_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._executor, self._in_flight, self._peers = executor, in_flight, peers
        self._budget_bytes, self._clock, self._pause = budget_bytes, clock, pause
        self._lock = threading.Lock()
        self._next_exclusive: str | None = None

    def admit(self, task: TestTask, is_wanted: Callable[[], bool]) -> bool:
        """Wait for a slot and reserve it; return False if none became free, or no file is accepted any more.

        An exclusive file waits without a limit, one at a time, and no other file is admitted meanwhile. All
        others wait `ADMIT_S` seconds.

        Args:
            is_wanted: returns whether the file must still run; called repeatedly during a long wait.

        Raises:
            InfrastructureError: memory can no longer be measured.
        """
        is_too_large = (task.predicted_bytes or 0) > self._budget_bytes
        if is_too_large and self._peers.can_fit(task.run_id, task.predicted_bytes or 0):
            return False
        needs_worker = task.exclusive or is_too_large
        until = self._clock() + ADMIT_S
        try:
            while not self._in_flight.is_closed:
                if self._has_turn(task.attempt_id, is_exclusive=needs_worker) and self._executor.admit(task):
                    return True
                if self._clock() >= until:
                    if self._next_exclusive != task.attempt_id or not is_wanted():
                        return False
                    until = self._clock() + ADMIT_S
                self._pause(ADMIT_INTERVAL_S)
            return False
        finally:
            with self._lock:
                if self._next_exclusive == task.attempt_id:
                    self._next_exclusive = None

    def _has_turn(self, attempt_id: str, *, is_exclusive: bool) -> bool:
        """Whether no other exclusive file waits."""
        with self._lock:
            if is_exclusive and self._next_exclusive is None:
                self._next_exclusive = attempt_id
            return self._next_exclusive in (None, attempt_id)
