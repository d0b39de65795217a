"""A worker's sign of life: renews what it has, obeys what the broker says of it, and follows the runs.

One thread with a client of its own, so that nothing that runs can hold it up. It ends only what was lost or
cancelled; all else goes on, even while the broker is away.
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
from passmuster.wire.broker_messages import DamagedRecordError, RenewReply, WorkerStatus
from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles
from worker.queue.log import LogLevel, Say
from worker.queue.task_handler import KEEP_RESULT_S, LeaseStore

LOOK_S = 0.5
"""Seconds between two looks at which runs there are: what a run waits for at its start, and at Ctrl-C."""

CANCEL_GRACE_S = 2.0
"""Seconds between SIGTERM and SIGKILL at most where a run was stopped: with the heartbeat before it, and the
result after it, less than the five seconds that a dispatcher waits."""


class WorkerDirectory(Protocol):
    """Where workers say that they are there; see `passmuster.wire.run_store.WorkerDirectory`."""

    def announce(self, card: WorkerStatus) -> None:
        """Put a card up, for a while."""

    def remove(self, name: str) -> None:
        """Take a card down."""


class RunFollower(Protocol):
    """The runs that this worker serves; see `worker.queue.run_subscriptions.Joining`."""

    def follow(self, runs: Collection[str]) -> None:
        """Serve these and no others. Must not wait."""

    def leave_alone(self, run_id: str, why: str) -> None:
        """Serve a run no more that is damaged."""


class Heartbeat:
    """The thread.

    Args:
        executor: ends what must end.
        roster: what this worker has.
        board: where it says that it is there.
        record: returns what the broker knows of a run.
        active_runs: asks the broker which runs are under way.
        runs: those it serves.
        name: of this worker.
        card: returns what to say of this worker, given what it has.
        broken: the errors that mean that the broker is away.
        say: prints a line.
        tails: sends what files print to those who watch them, given what this worker has.
        clock: seconds that never go back.
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
        self._unusable: tuple[type[Exception], ...] = (*broken, DamagedRecordError)
        self._unknown_since: dict[str, float] = {}
        self._is_away = False
        self._seen: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, at once with a first beat."""
        self._thread.start()

    def close(self) -> None:
        """End, and take the worker's card down where that can be done. May be called twice."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(HEARTBEAT_S)
        with contextlib.suppress(*self._unusable):  # It expires.
            self._board.remove(self._name)

    def beat(self) -> None:
        """Do all that is to be done once in `HEARTBEAT_S` seconds. A broker that is away is asked again."""
        try:
            # First what cannot wait: the rest only costs time when it is late.
            held = self._roster.held()
            for one in held:
                self._renew(one)
            self._forget_all_but(held)
            if not self._roster.is_closed:
                self._board.announce(self._card(held))
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
        """Whether a run has begun, ended or been stopped since the last beat, as far as can be known."""
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
            except Exception:  # The thread's top: without heartbeats every file would be thought lost.
                self._say(f"a fault in the heartbeat: {traceback.format_exc()}", level=LogLevel.ERROR)
            self._stopped.wait(LOOK_S)

    def _renew(self, held: InFlightFile) -> None:
        record = self._record(held.run_id)
        try:
            self._obey(held, record.renew(held.path, held.take, self._name), record)
        except DamagedRecordError as error:
            # It cannot be finished either, and other runs wait for its place.
            self._runs.leave_alone(held.run_id, str(error))
            self._end(held, AbortReason.LOST, grace_s=0)

    def _obey(self, held: InFlightFile, hold: RenewReply, record: LeaseStore) -> None:
        if hold is not RenewReply.UNKNOWN:
            self._unknown_since.pop(held.attempt_id, None)
        match hold:
            case RenewReply.HELD:
                if not self._roster.has_claimed(held.attempt_id):
                    # It was given back at this moment, and this renewal took it once more.
                    record.release(held.path, held.take, self._name)
            case RenewReply.LOST:
                self._end(held, AbortReason.LOST, grace_s=0)
            case RenewReply.CANCELLED:
                self._end(held, AbortReason.CANCELLED, grace_s=min(held.cancel_grace_s, CANCEL_GRACE_S))
            case RenewReply.UNKNOWN:
                # A broker that lost its memory is told again. Nobody waits longer for a result than this.
                since = self._unknown_since.setdefault(held.attempt_id, self._clock())
                if self._clock() - since >= KEEP_RESULT_S:
                    self._end(held, AbortReason.LOST, grace_s=0)

    def _end(self, held: InFlightFile, fate: AbortReason, *, grace_s: float) -> None:
        if self._roster.doom(held.attempt_id, fate):
            self._say(f"ends a file: it is {fate}", about=held)
            self._executor.end([held.attempt_id], StopReason.CANCELLED, grace_s=grace_s)

    def _forget_all_but(self, held: tuple[InFlightFile, ...]) -> None:
        here = {one.attempt_id for one in held}
        for attempt_id in self._unknown_since.keys() - here:
            del self._unknown_since[attempt_id]
