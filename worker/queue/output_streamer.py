"""Streams the output of running files to their subscribers; see `passmuster.wire.output_stream`.

The heartbeat checks for subscriptions, and each file's own thread sends the rest at its end. Output without a
subscription is neither read nor stored.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from passmuster.model.errors import PassmusterError
from passmuster.wire.access import BROKER_ERRORS
from passmuster.wire.broker_keys import MAX_PIECE_BYTES
from passmuster.wire.broker_messages import DamagedDataError
from passmuster.wire.output_stream import OutputPiece, OutputStream
from worker.process.output_capture import OutputCapture
from worker.queue.in_flight import InFlightFile


class _SubscribedFile:
    def __init__(self, file: InFlightFile, capture: OutputCapture) -> None:
        self.file, self.capture = file, capture
        self.sent = 0
        self.lock = threading.Lock()


class OutputStreamer:
    """The files of this worker whose output has a subscription. Thread-safe.

    `find_output` returns the capture of a running file's output by attempt, or None if it does not run.
    """

    def __init__(self, find_output: Callable[[str], OutputCapture | None], stream: OutputStream) -> None:
        self._find_output, self._stream = find_output, stream
        self._lock = threading.Lock()
        self._subscribed: dict[str, _SubscribedFile] = {}

    def stream(self, files: Sequence[InFlightFile]) -> None:
        """Send the new output of those of these files that have a subscription; called with each heartbeat.

        May raise one of `BROKER_ERRORS`.
        """
        is_subscribed = self._stream.are_subscribed([(file.run_id, file.path) for file in files])
        wanted = [file for file, is_wanted in zip(files, is_subscribed, strict=True) if is_wanted]
        for subscribed in self._update(wanted):
            # The file's own thread may hold the lock at its end, and wait for the broker longer than a
            # heartbeat can.
            if subscribed.lock.acquire(blocking=False):
                try:
                    with contextlib.suppress(DamagedDataError):  # Only the subscriber misses output.
                        self._send(subscribed)
                finally:
                    subscribed.lock.release()

    def finish(self, file: InFlightFile) -> None:
        """Send the rest of a finished file's output, before its result is sent, if it has a subscription."""
        with self._lock:
            subscribed = self._subscribed.pop(file.attempt_id, None)
        if subscribed is not None:
            with subscribed.lock, contextlib.suppress(PassmusterError, *BROKER_ERRORS):
                self._send(subscribed)

    def _update(self, wanted: Sequence[InFlightFile]) -> list[_SubscribedFile]:
        """Record the subscribed files, forget all others, and return them."""
        with self._lock:
            before, self._subscribed = self._subscribed, {}
            for file in wanted:
                subscribed, capture = before.get(file.attempt_id), self._find_output(file.attempt_id)
                # None: the file has just finished, and its own thread is about to send the rest.
                if capture is not None and (subscribed is None or subscribed.capture is not capture):
                    subscribed = _SubscribedFile(file, capture)
                if subscribed is not None:
                    self._subscribed[file.attempt_id] = subscribed
            return list(self._subscribed.values())

    def _send(self, subscribed: _SubscribedFile) -> None:
        start, data = subscribed.capture.since(subscribed.sent, max_bytes=MAX_PIECE_BYTES)
        if data:
            file = subscribed.file
            piece = OutputPiece(delivery=file.delivery, start=start, data=data)
            self._stream.publish(file.run_id, file.path, piece)
            subscribed.sent = start + len(data)
