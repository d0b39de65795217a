"""A worker's heartbeat: renews its leases, publishes its status, and follows the active runs.

It runs in a thread with a broker client of its own, so running files cannot delay it. It stops only files
whose lease was lost or whose run was cancelled; all other files continue, even while the broker is
unavailable.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from passmuster.model.executor import Stoppable
from passmuster.model.status import StopReason
from passmuster.wire.access import BROKER_OR_DATA_ERRORS
from passmuster.wire.broker_keys import HEARTBEAT_S, OUTAGE_S
from passmuster.wire.broker_messages import DamagedDataError, RenewReply, WorkerStatus
from passmuster.wire.run_store import RunStore, WorkerDirectory
from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles
from worker.queue.log import LogLevel, Say
from worker.queue.run_subscriptions import RunSubscriptions

INTERVAL_S = 0.5
"""Seconds between two queries for active runs: the delay of a run at its start and at Ctrl-C."""

CANCEL_GRACE_S = 2.0
"""Maximum seconds between SIGTERM and SIGKILL when a run is stopped: together with the heartbeat before and
the result after it, less than the five seconds that a dispatcher waits."""


class Heartbeat:
    """Sends the heartbeat from a thread of its own.

    Args:
        on_beat: called after each heartbeat, whether or not it reached the broker.
    """

    def __init__(
        self,
        executor: Stoppable,
        in_flight: InFlightFiles,
        directory: WorkerDirectory,
        open_store: Callable[[str], RunStore],
        active_runs: Callable[[], set[str]],
        subscriptions: RunSubscriptions,
        *,
        name: str,
        make_status: Callable[[Sequence[InFlightFile]], WorkerStatus],
        say: Say,
        stream_output: Callable[[Sequence[InFlightFile]], None] = lambda files: None,
        on_beat: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._executor, self._in_flight, self._directory = executor, in_flight, directory
        self._open_store, self._active_runs, self._subscriptions = open_store, active_runs, subscriptions
        self._name, self._make_status, self._say = name, make_status, say
        self._stream_output, self._on_beat = stream_output, on_beat
        self._clock, self._wall_clock = clock, wall_clock
        self.reached_at = 0.0
        """Unix time of the last heartbeat that reached the broker; 0: none yet."""
        self._unknown_since: dict[str, float] = {}
        self._is_unavailable = False
        self._runs: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start, with a first heartbeat immediately."""
        self._thread.start()

    def close(self) -> None:
        """Stop if started, and remove the worker's status if the broker is available. Idempotent."""
        if self._stopped.is_set() or self._thread.ident is None:
            return
        self._stopped.set()
        self._thread.join(HEARTBEAT_S)
        with contextlib.suppress(*BROKER_OR_DATA_ERRORS):  # It expires.
            self._directory.remove(self._name)

    def beat(self) -> None:
        """Send one heartbeat, due every `HEARTBEAT_S` seconds. The next one retries an unavailable broker."""
        try:
            # Leases first: they expire, whereas a delay of the rest only costs time.
            files = self._in_flight.claimed()
            for file in files:
                self._renew(file)
            self._forget_all_but(files)
            if not self._in_flight.is_closed:
                self._directory.publish(self._make_status(files))
                self._runs = self._active_runs()
                self._subscriptions.follow(self._runs)
            self._stream_output(files)
        except BROKER_OR_DATA_ERRORS as error:
            if not self._is_unavailable:
                self._say(
                    f"the broker is unavailable: {error}; running files continue", level=LogLevel.WARNING
                )
            self._is_unavailable = True
            return
        self.reached_at = self._wall_clock()
        if self._is_unavailable:
            self._say("the broker is available again")
        self._is_unavailable = False

    def has_changed_runs(self) -> bool:
        """Whether a run started, finished or was stopped since the last heartbeat; False if unknown."""
        try:
            return self._active_runs() != self._runs
        except BROKER_OR_DATA_ERRORS:
            return False

    def _run(self) -> None:
        next_beat_s = self._clock()
        while not self._stopped.is_set():
            try:
                if self._clock() >= next_beat_s or self.has_changed_runs():
                    next_beat_s = self._clock() + HEARTBEAT_S
                    self.beat()
                    self._on_beat()
            except Exception:  # The top of the thread: without heartbeats every lease would expire.
                self._say(
                    f"an internal error in the heartbeat: {traceback.format_exc()}", level=LogLevel.ERROR
                )
            self._stopped.wait(INTERVAL_S)

    def _renew(self, file: InFlightFile) -> None:
        store = self._open_store(file.run_id)
        try:
            self._apply(file, store.renew(file.path, file.delivery, self._name), store)
        except DamagedDataError as error:
            # The file's result cannot be submitted either, and other runs wait for its slot.
            self._subscriptions.abandon(file.run_id, str(error))
            self._stop(file, AbortReason.LOST, grace_s=0)

    def _apply(self, file: InFlightFile, reply: RenewReply, store: RunStore) -> None:
        if reply is not RenewReply.UNKNOWN:
            self._unknown_since.pop(file.attempt_id, None)
        match reply:
            case RenewReply.HELD:
                if not self._in_flight.has_claimed(file.attempt_id):
                    # The file was returned at this moment, and this renewal leased it again.
                    store.release(file.path, file.delivery, self._name)
            case RenewReply.LOST:
                self._stop(file, AbortReason.LOST, grace_s=0)
            case RenewReply.CANCELLED:
                self._stop(file, AbortReason.CANCELLED, grace_s=min(file.cancel_grace_s, CANCEL_GRACE_S))
            case RenewReply.UNKNOWN:
                # The dispatcher restores a broker that lost its data. A result is kept no longer than this.
                since = self._unknown_since.setdefault(file.attempt_id, self._clock())
                if self._clock() - since >= OUTAGE_S:
                    self._stop(file, AbortReason.LOST, grace_s=0)

    def _stop(self, file: InFlightFile, reason: AbortReason, *, grace_s: float) -> None:
        if self._in_flight.mark_aborted(file.attempt_id, reason):
            self._say(f"stops a file: it is {reason}", about=file)
            self._executor.stop_attempts([file.attempt_id], StopReason.CANCELLED, grace_s=grace_s)

    def _forget_all_but(self, files: tuple[InFlightFile, ...]) -> None:
        present = {file.attempt_id for file in files}
        for attempt_id in self._unknown_since.keys() - present:
            del self._unknown_since[attempt_id]
