"""Tells whether a file would fit on another worker of the run, from the published worker statuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from passmuster.wire.access import BROKER_OR_DATA_ERRORS
from passmuster.wire.broker_keys import HEARTBEAT_S
from passmuster.wire.broker_messages import WorkerStatus


class PeerWorkers:
    """The workers other than `name`; `statuses` reads those of all workers from the broker. Thread-safe."""

    def __init__(
        self,
        statuses: Callable[[], Sequence[WorkerStatus]],
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._name, self._clock = statuses, name, clock
        self._lock = threading.Lock()
        self._statuses: tuple[WorkerStatus, ...] = ()
        self._read_at_s = float("-inf")

    def can_fit(self, run_id: str, needed_bytes: int) -> bool:
        """Whether the memory budget of another worker of the run is large enough."""
        return any(
            run_id in status.runs and status.budget_bytes >= needed_bytes
            for status in self._recent_statuses()
            if status.name != self._name
        )

    def _recent_statuses(self) -> tuple[WorkerStatus, ...]:
        """Return statuses that are at most one heartbeat old."""
        with self._lock:
            if self._clock() - self._read_at_s >= HEARTBEAT_S:
                try:
                    self._statuses = tuple(self._read())
                except BROKER_OR_DATA_ERRORS:
                    self._statuses = ()
                self._read_at_s = self._clock()
            return self._statuses
