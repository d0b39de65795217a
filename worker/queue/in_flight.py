"""The files that this worker holds but has not finished, and whether the broker still wants their results.

Shared by the threads that run files, the heartbeat, and the shutdown. Holds state only; acts on nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from enum import StrEnum

from msgspec import Struct

from passmuster.model.executor import Usage
from passmuster.wire.broker_messages import MAX_STATUS_FILES, MAX_STATUS_PATH_CHARS, RunningFileStatus


class InFlightFile(Struct, frozen=True, kw_only=True):
    """A file that this worker holds, as the broker identifies it."""

    run_id: str
    path: str
    delivery: int
    attempt_id: str
    cancel_grace_s: float = 0.0
    """Grace period when its run is stopped."""


class AbortReason(StrEnum):
    """Why a file that this worker holds must stop."""

    LOST = "lost"
    """Its lease expired and another worker may have it: its result must not be sent."""
    CANCELLED = "cancelled"
    """Its run was stopped: its result must still be sent."""


class InFlightFiles:
    """The files that this worker holds. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._files: dict[str, InFlightFile] = {}
        self._claimed: set[str] = set()
        self._abort_reasons: dict[str, AbortReason] = {}
        self.is_closed = False
        """Whether no further file is accepted."""
        self.is_stopping = False
        """Whether running files are stopped because the worker shuts down."""
        self.finished = 0
        """Number of files that finished by themselves."""

    @property
    def accepted(self) -> int:
        """Number of files here, running or waiting for admission."""
        return len(self._files)

    def add(self, file: InFlightFile) -> bool:
        """Add a file; return False if no file is accepted any more, or this attempt is already held."""
        with self._changed:
            if self.is_closed or file.attempt_id in self._files:
                return False
            self._files[file.attempt_id] = file
            return True

    def claim(self, attempt_id: str) -> None:
        """Record that this worker holds the lease of the file, which must be renewed."""
        with self._changed:
            self._claimed.add(attempt_id)

    def unclaim(self, attempt_id: str) -> None:
        """Record that the file is about to be returned without a result, so its lease must not be renewed."""
        with self._changed:
            self._claimed.discard(attempt_id)

    def has_claimed(self, attempt_id: str) -> bool:
        """Whether this worker holds the lease of the file."""
        return attempt_id in self._claimed

    def count_finished(self) -> None:
        """Count a file that finished by itself."""
        with self._changed:
            self.finished += 1

    def remove(self, attempt_id: str) -> None:
        """Remove a file."""
        with self._changed:
            del self._files[attempt_id]
            self._claimed.discard(attempt_id)
            self._abort_reasons.pop(attempt_id, None)
            self._changed.notify_all()

    def claimed(self) -> tuple[InFlightFile, ...]:
        """Return the files whose lease this worker holds, oldest first."""
        with self._changed:
            return tuple(file for key, file in self._files.items() if key in self._claimed)

    def mark_aborted(self, attempt_id: str, reason: AbortReason) -> bool:
        """Mark a file to be stopped; return False if it is no longer held or was marked before."""
        with self._changed:
            marked = self._abort_reasons.get(attempt_id)
            if attempt_id not in self._files or marked in (reason, AbortReason.LOST):
                return False
            self._abort_reasons[attempt_id] = reason
            return True

    def abort_reason(self, attempt_id: str) -> AbortReason | None:
        """Return why a file must stop, or None if it may continue."""
        return self._abort_reasons.get(attempt_id)

    def close(self) -> None:
        """Accept no further file."""
        with self._changed:
            self.is_closed = True

    def mark_stopping(self) -> None:
        """Record that running files are stopped because the worker shuts down."""
        with self._changed:
            self.is_closed = self.is_stopping = True

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` seconds until no file is held; return whether none is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._files, timeout_s)


def running_files(usage: Usage, claimed: Sequence[InFlightFile]) -> Iterator[RunningFileStatus]:
    """Yield the claimed files that have started, as many as a worker status can contain."""
    by_attempt = {file.attempt_id: file for file in claimed}
    left_chars = MAX_STATUS_PATH_CHARS
    running = [(by_attempt[one.attempt_id], one) for one in usage.files if one.attempt_id in by_attempt]
    for file, used in running[:MAX_STATUS_FILES]:
        left_chars -= len(file.path) + len(file.run_id)
        if left_chars < 0:
            return
        yield RunningFileStatus(
            run_id=file.run_id, path=file.path, seconds=used.seconds, used_bytes=used.used_bytes
        )
