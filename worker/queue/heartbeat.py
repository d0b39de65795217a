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
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from passmuster.model.executor import Stoppable
from passmuster.model.status import StopReason
from passmuster.wire.broker_keys import HEARTBEAT_S
from passmuster.wire.broker_messages import DamagedDataError, RenewReply, WorkerStatus
from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles
from worker.queue.log import LogLevel, Say
from worker.queue.task_handler import KEEP_RESULT_S, LeaseStore

LOOK_S = 0.5
"""Seconds between two queries for active runs: the delay of a run at its start and at Ctrl-C."""

CANCEL_GRACE_S = 2.0
"""Maximum seconds between SIGTERM and SIGKILL when a run is stopped: together with the heartbeat before and
the result after it, less than the five seconds that a dispatcher waits."""


class WorkerDirectory(Protocol):
    """The directory of worker statuses; see `passmuster.wire.run_store.WorkerDirectory`."""

    def publish(self, card: WorkerStatus) -> None:
        """Publish a status, which expires."""

    def remove(self, name: str) -> None:
        """Remove a status."""


class RunFollower(Protocol):
    """The runs that this worker serves; see `worker.queue.run_subscriptions.Joining`."""

    def follow(self, runs: Collection[str]) -> None:
        """Serve exactly these runs. Must not block."""

    def abandon(self, run_id: str, why: str) -> None:
        """Stop serving a run whose data on the broker is damaged."""


class Heartbeat:
    """Sends the heartbeat from a thread of its own.

    Args:
        executor: stops files.
        roster: the files that this worker holds.
        board: publishes the worker's status.
        record: returns the run store of a run.
        active_runs: asks the broker for the active runs.
        runs: the runs that this worker serves.
        name: of this worker.
        card: makes the status from the held files.
        broken: the errors that mean that the broker is unavailable.
        say: writes a log line.
        tails: streams the output of the held files to their subscribers.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        executor: Stoppable,
        roster: InFlightFiles,
        board: WorkerDirectory,
        record: Callable[[str], LeaseStore],
        active_runs: Callable[[], set[str]],
        runs: RunFollower,
        *,
        name: str,
        card: Callable[[Sequence[InFlightFile]], WorkerStatus],
        broken: tuple[type[Exception], ...],
        say: Say,
        tails: Callable[[Sequence[InFlightFile]], None] = lambda held: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor, self._roster, self._board = executor, roster, board
        self._tails = tails
        self._record, self._active_runs, self._runs = record, active_runs, runs
        self._name, self._card, self._broken, self._say, self._clock = name, card, broken, say, clock
        self._unusable: tuple[type[Exception], ...] = (*broken, DamagedDataError)
        self._unknown_since: dict[str, float] = {}
        self._is_away = False
        self._seen: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start, with a first heartbeat immediately."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and remove the worker's status if the broker is available. Idempotent."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(HEARTBEAT_S)
        with contextlib.suppress(*self._unusable):  # It expires.
            self._board.remove(self._name)

    def beat(self) -> None:
        """Send one heartbeat, due every `HEARTBEAT_S` seconds. The next one retries an unavailable broker."""
        try:
            # Leases first: they expire, whereas a delay of the rest only costs time.
            held = self._roster.held()
            for one in held:
                self._renew(one)
            self._forget_all_but(held)
            if not self._roster.is_closed:
                self._board.publish(self._card(held))
                self._seen = self._active_runs()
                self._runs.follow(self._seen)
            self._tails(held)
        except self._unusable as error:
            if not self._is_away:
                self._say(f"the broker is away: {error}; what runs goes on", level=LogLevel.WARNING)
            self._is_away = True
            return
        if self._is_away:
            self._say("the broker is there again")
        self._is_away = False

    def is_news(self) -> bool:
        """Whether a run started, finished or was stopped since the last heartbeat; False if unknown."""
        try:
            return self._active_runs() != self._seen
        except self._unusable:
            return False

    def _run(self) -> None:
        next_beat_s = self._clock()
        while not self._stopped.is_set():
            try:
                if self._clock() >= next_beat_s or self.is_news():
                    next_beat_s = self._clock() + HEARTBEAT_S
                    self.beat()
            except Exception:  # The top of the thread: without heartbeats every lease would expire.
                self._say(f"a fault in the heartbeat: {traceback.format_exc()}", level=LogLevel.ERROR)
            self._stopped.wait(LOOK_S)

    def _renew(self, held: InFlightFile) -> None:
        record = self._record(held.run_id)
        try:
            self._obey(held, record.renew(held.path, held.delivery, self._name), record)
        except DamagedDataError as error:
            # It cannot be finished either, and other runs wait for its place.
            self._runs.abandon(held.run_id, str(error))
            self._end(held, AbortReason.LOST, grace_s=0)

    def _obey(self, held: InFlightFile, hold: RenewReply, record: LeaseStore) -> None:
        if hold is not RenewReply.UNKNOWN:
            self._unknown_since.pop(held.attempt_id, None)
        match hold:
            case RenewReply.HELD:
                if not self._roster.has_claimed(held.attempt_id):
                    # The file was returned at this moment, and this renewal leased it again.
                    record.release(held.path, held.delivery, self._name)
            case RenewReply.LOST:
                self._end(held, AbortReason.LOST, grace_s=0)
            case RenewReply.CANCELLED:
                self._end(held, AbortReason.CANCELLED, grace_s=min(held.cancel_grace_s, CANCEL_GRACE_S))
            case RenewReply.UNKNOWN:
                # The dispatcher restores a broker that lost its data. No result is waited for longer than
                # this.
                since = self._unknown_since.setdefault(held.attempt_id, self._clock())
                if self._clock() - since >= KEEP_RESULT_S:
                    self._end(held, AbortReason.LOST, grace_s=0)

    def _end(self, held: InFlightFile, fate: AbortReason, *, grace_s: float) -> None:
        if self._roster.mark_aborted(held.attempt_id, fate):
            self._say(f"ends a file: it is {fate}", about=held)
            self._executor.stop_attempts([held.attempt_id], StopReason.CANCELLED, grace_s=grace_s)

    def _forget_all_but(self, held: tuple[InFlightFile, ...]) -> None:
        here = {one.attempt_id for one in held}
        for attempt_id in self._unknown_since.keys() - here:
            del self._unknown_since[attempt_id]
