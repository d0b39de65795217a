"""Tells whether a file would fit on another worker of the run, from the published worker statuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from passmuster.wire.broker_keys import HEARTBEAT_S
from passmuster.wire.broker_messages import WorkerStatus


class PeerWorkers:
    """The other workers. Thread-safe.

    Args:
        cards: asks the broker for the cards of all workers.
        name: of this worker.
        broken: the errors that mean that the broker is away.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        cards: Callable[[], Sequence[WorkerStatus]],
        *,
        name: str,
        broken: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._name, self._broken, self._clock = cards, name, broken, clock
        self._lock = threading.Lock()
        self._cards: tuple[WorkerStatus, ...] = ()
        self._asked_at = float("-inf")

    def can_fit(self, run_id: str, needed_bytes: int) -> bool:
        """Whether another worker that serves the run has so much memory for files at all."""
        return any(
            run_id in card.runs and card.budget_bytes >= needed_bytes
            for card in self._seen()
            if card.name != self._name
        )

    def _seen(self) -> tuple[WorkerStatus, ...]:
        """Return the cards, as old as they are put up at most."""
        with self._lock:
            if self._clock() - self._asked_at >= HEARTBEAT_S:
                try:
                    self._cards = tuple(self._ask())
                except self._broken:
                    self._cards = ()
                self._asked_at = self._clock()
            return self._cards
