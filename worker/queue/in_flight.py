"""What a worker has taken from the queue and not given back yet, and what the broker says of it.

Shared by the threads that run files, the heartbeat, and the end of the worker. Purely a book.
"""

from __future__ import annotations

import threading
from enum import StrEnum

from msgspec import Struct


class InFlightFile(Struct, frozen=True, kw_only=True):
    """A file that this worker has, as the broker knows it.

    Args:
        run_id: whose.
        path: the file.
        take: the number under which it was handed out.
        attempt_id: as the executor knows it.
        cancel_grace_s: seconds its run gives it to tidy up when it is stopped.
    """

    run_id: str
    path: str
    take: int
    attempt_id: str
    cancel_grace_s: float = 0.0


class AbortReason(StrEnum):
    """Why a file that this worker has is not to go on."""

    LOST = "lost"
    """It is another worker's by now: its result must not be sent."""
    CANCELLED = "cancelled"
    """Its run was stopped: its result is wanted."""


class InFlightFiles:
    """The files that this worker has. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._entered: dict[str, InFlightFile] = {}
        self._claimed: set[str] = set()
        self._fates: dict[str, AbortReason] = {}
        self._is_closed = False
        self._has_given_up = False
        self._ran = 0

    @property
    def is_closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._is_closed

    @property
    def has_given_up(self) -> bool:
        """Whether what runs is ended because the worker ends."""
        return self._has_given_up

    @property
    def ran(self) -> int:
        """How many files were run to an end of their own."""
        return self._ran

    def enter(self, held: InFlightFile) -> bool:
        """Begin with a file; False: nothing is taken any more, or an attempt of this id is here already."""
        with self._changed:
            if self._is_closed or held.attempt_id in self._entered:
                return False
            self._entered[held.attempt_id] = held
            return True

    def claim(self, attempt_id: str) -> None:
        """Note that the broker gave the file to this worker, so that it must be renewed."""
        with self._changed:
            self._claimed.add(attempt_id)

    def unclaim(self, attempt_id: str) -> None:
        """Note that the file is about to be given back without a result: it is not to be renewed."""
        with self._changed:
            self._claimed.discard(attempt_id)

    def has_claimed(self, attempt_id: str) -> bool:
        """Whether the broker gave the file to this worker, which still has it."""
        return attempt_id in self._claimed

    def note_run(self) -> None:
        """Count a file that was run to an end of its own."""
        with self._changed:
            self._ran += 1

    def leave(self, attempt_id: str) -> None:
        """Be done with a file."""
        with self._changed:
            del self._entered[attempt_id]
            self._claimed.discard(attempt_id)
            self._fates.pop(attempt_id, None)
            self._changed.notify_all()

    def held(self) -> tuple[InFlightFile, ...]:
        """Return what the broker gave to this worker, oldest first."""
        with self._changed:
            return tuple(held for key, held in self._entered.items() if key in self._claimed)

    @property
    def taken(self) -> int:
        """How many messages are here, of files that run or that wait for a place."""
        return len(self._entered)

    def doom(self, attempt_id: str, fate: AbortReason) -> bool:
        """Note what the broker says of a file; False: it is no longer here, or that was noted before."""
        with self._changed:
            if attempt_id not in self._entered or self._fates.get(attempt_id) in (fate, AbortReason.LOST):
                return False
            self._fates[attempt_id] = fate
            return True

    def fate(self, attempt_id: str) -> AbortReason | None:
        """Return why a file is not to go on; None: it is."""
        return self._fates.get(attempt_id)

    def close(self) -> None:
        """Take nothing any more."""
        with self._changed:
            self._is_closed = True

    def give_up(self) -> None:
        """Note that what runs is ended because the worker ends."""
        with self._changed:
            self._is_closed = self._has_given_up = True

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until nothing is here, but not longer than `timeout_s` seconds; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._entered, timeout_s)
