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

ADMIT_LOOK_S = 0.05


class Admission:
    """Admits files. Thread-safe.

    Args:
        executor: has the places.
        roster: says whether anything is taken at all.
        neighbours: the other workers.
        budget_bytes: memory of this one for all files.
        clock: seconds that never go back.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        executor: Executor,
        roster: InFlightFiles,
        neighbours: PeerWorkers,
        *,
        budget_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._executor, self._roster, self._neighbours = executor, roster, neighbours
        self._budget_bytes, self._clock, self._pause = budget_bytes, clock, pause
        self._lock = threading.Lock()
        self._next_alone: str | None = None

    def admit(self, task: TestTask, is_wanted: Callable[[], bool]) -> bool:
        """Wait for a slot and reserve it; return False if none became free, or no file is accepted any more.

        A file that needs the worker for itself waits as long as it takes, one at a time, and nothing else is
        admitted meanwhile. All others wait `ADMIT_S` seconds.

        Args:
            task: what is to run.
            is_wanted: asks whether it is still to be run; asked now and then while the wait is long.

        Raises:
            InfrastructureError: memory can no longer be measured.
        """
        is_too_big = (task.predicted_bytes or 0) > self._budget_bytes
        if is_too_big and self._neighbours.can_fit(task.run_id, task.predicted_bytes or 0):
            return False
        needs_all = task.exclusive or is_too_big
        until = self._clock() + ADMIT_S
        try:
            while not self._roster.is_closed:
                if self._may_try(task.attempt_id, needs_all=needs_all) and self._executor.admit(task):
                    return True
                if self._clock() >= until:
                    if self._next_alone != task.attempt_id or not is_wanted():
                        return False
                    until = self._clock() + ADMIT_S
                self._pause(ADMIT_LOOK_S)
            return False
        finally:
            self._give_way(task.attempt_id)

    def _may_try(self, attempt_id: str, *, needs_all: bool) -> bool:
        """Whether a waiting exclusive file lets another file be admitted now."""
        with self._lock:
            if needs_all and self._next_alone is None:
                self._next_alone = attempt_id
            return self._next_alone in (None, attempt_id)

    def _give_way(self, attempt_id: str) -> None:
        with self._lock:
            if self._next_alone == attempt_id:
                self._next_alone = None
