"""Streams the output of running files to their subscribers; see `passmuster.wire.output_stream`.

The heartbeat checks for subscriptions, and each file's own thread sends the rest at its end. Output without a
subscription is neither read nor stored.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from passmuster.model.errors import PassmusterError
from passmuster.wire.broker_keys import MAX_PIECE_BYTES
from passmuster.wire.broker_messages import DamagedDataError
from passmuster.wire.output_stream import OutputPiece
from worker.process.output_capture import OutputCapture
from worker.queue.in_flight import InFlightFile


class OutputSink(Protocol):
    """Where wishes and pieces are; see `passmuster.wire.output_stream.OutputStream`."""

    def are_subscribed(self, files: Sequence[tuple[str, str]]) -> list[bool]:
        """Return for each file, given by run and path, whether it is wanted."""

    def publish(self, run_id: str, path: str, piece: OutputPiece) -> None:
        """Send a piece."""


class _Watched:
    """A file whose output has a subscription."""

    def __init__(self, held: InFlightFile, capture: OutputCapture) -> None:
        self.held, self.capture = held, capture
        self.sent = 0
        self.lock = threading.Lock()


class OutputStreamer:
    """The files of this worker whose output has a subscription. Thread-safe.

    Args:
        output: returns what collects a running file's output, by its attempt; None: it does not run.
        board: where wishes and pieces are.
        broken: the errors that mean that the broker is away.
    """

    def __init__(
        self,
        output: Callable[[str], OutputCapture | None],
        board: OutputSink,
        *,
        broken: tuple[type[Exception], ...],
    ) -> None:
        self._output, self._board, self._broken = output, board, broken
        self._lock = threading.Lock()
        self._watched: dict[str, _Watched] = {}

    def stream(self, held: Sequence[InFlightFile]) -> None:
        """Send the new output of all subscribed files; called with each heartbeat.

        Args:
            held: what this worker has.

        Raises:
            Exception: the broker is away.
        """
        files = [(one.run_id, one.path) for one in held]
        wanted = [
            one for one, is_wanted in zip(held, self._board.are_subscribed(files), strict=True) if is_wanted
        ]
        for watched in self._follow(wanted):
            # At its end the file's own thread sends; it may wait for the broker longer than a heartbeat can.
            if watched.lock.acquire(blocking=False):
                try:
                    with contextlib.suppress(DamagedDataError):  # Only the subscriber misses output.
                        self._send(watched)
                finally:
                    watched.lock.release()

    def finish(self, held: InFlightFile) -> None:
        """Send the rest of a watched file that has ended, before its result is sent; of others nothing."""
        with self._lock:
            watched = self._watched.pop(held.attempt_id, None)
        if watched is not None:
            with watched.lock, contextlib.suppress(PassmusterError, *self._broken):
                self._send(watched)

    def _follow(self, wanted: Sequence[InFlightFile]) -> list[_Watched]:
        """Note which files are watched, and forget all others; return them."""
        with self._lock:
            before, self._watched = self._watched, {}
            for one in wanted:
                watched, capture = before.get(one.attempt_id), self._output(one.attempt_id)
                # None: it has just ended, and its own thread is about to send the rest.
                if capture is not None and (watched is None or watched.capture is not capture):
                    watched = _Watched(one, capture)
                if watched is not None:
                    self._watched[one.attempt_id] = watched
            return list(self._watched.values())

    def _send(self, watched: _Watched) -> None:
        start, data = watched.capture.since(watched.sent, most_bytes=MAX_PIECE_BYTES)
        if data:
            piece = OutputPiece(delivery=watched.held.delivery, start=start, data=data)
            self._board.publish(watched.held.run_id, watched.held.path, piece)
            watched.sent = start + len(data)
