"""The heartbeat of a member, retries while the broker restarts, and the progress of the leader."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from msgspec import Struct

from passmuster.model.errors import InfrastructureError
from passmuster.settings.values import on_one_line
from passmuster.wire.access import BROKER_ERRORS, BROKER_OR_DATA_ERRORS
from passmuster.wire.broker_inspector import BrokerInspector
from passmuster.wire.broker_keys import LEADER_LEASE_MS, MEMBER_HEARTBEAT_S, OUTAGE_S
from passmuster.wire.join_messages import JoinCodec
from passmuster.wire.join_store import JoinStore, LeaderLease


class MemberHeartbeat:
    """Sends the heartbeat of a member, and renews the leader lease while the member leads.

    It runs in its own thread, which nothing else delays.

    Args:
        on_answer: called each time the broker answered.
    """

    def __init__(self, store: JoinStore, name: str, on_answer: Callable[[], None]) -> None:
        self._store, self._name, self._on_answer = store, name, on_answer
        self._lease: LeaderLease | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread, which sends a first heartbeat at once."""
        self._thread.start()

    def set_leader_lease(self, lease: LeaderLease | None) -> None:
        """Renew this lease from now on; None: none."""
        self._lease = lease

    def close(self) -> None:
        """Stop the thread. May be called twice."""
        self._stopped.set()
        self._thread.join(MEMBER_HEARTBEAT_S)

    def _run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(
                *BROKER_OR_DATA_ERRORS
            ):  # Calls that need the broker report that it is unavailable.
                # Each write of the leader itself detects a lost lease.
                if (lease := self._lease) is not None:
                    self._store.renew(lease)
                self._store.heartbeat(self._name)
                self._on_answer()
            self._stopped.wait(MEMBER_HEARTBEAT_S)


JUDGE_S = LEADER_LEASE_MS / 1000 + MEMBER_HEARTBEAT_S
"""Seconds to wait for the leader after the broker was unavailable or had forgotten the run."""

_RETRY_S = 0.5

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class BrokerRetry:
    """Retries broker calls, and records when the broker was unavailable.

    Args:
        is_leaving: returns whether the machine is leaving, so that no answer is needed any more.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        is_leaving: Callable[[], bool],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._is_leaving, self._clock, self._pause = is_leaving, clock, pause
        self._failed_s: float | None = None
        self._is_missing = False

    def call(
        self, step: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Answer:
        """Return the result of an idempotent call to the broker, retried while it is unavailable.

        Raises:
            InfrastructureError: the broker was unavailable for too long, or the end was requested meanwhile.
        """
        start_s = self._clock()
        while True:
            try:
                return step(*args, **kwargs)
            except BROKER_ERRORS as error:
                self._failed_s = self._clock()
                away_s = self._failed_s - start_s
                if away_s >= OUTAGE_S or self._is_leaving():
                    raise InfrastructureError(
                        f"the broker has been unavailable for {away_s:.0f} s: {error}; "
                        "check that it is running and can be reached"
                    ) from error
            self._pause(_RETRY_S)

    def note_missing_run(self, *, is_missing: bool) -> None:
        """Record whether the broker knows the run that this machine joined."""
        if is_missing and not self._is_missing:
            self._failed_s = self._clock()
        self._is_missing = is_missing

    def can_judge_leader(self) -> bool:
        """Whether the broker has been available for long enough for the leader to renew its lease."""
        return self._failed_s is None or self._clock() - self._failed_s >= JUDGE_S


class JoinedRun(Struct, frozen=True):
    """The joined run on the broker."""

    store: JoinStore
    codec: JoinCodec
    retry: BrokerRetry


PROGRESS_S = 60.0


class LeaderProgress:
    """Prints the progress of the run on a member that does not lead.

    Args:
        run: the run's name, for people.
        run_id: the round's ID on the broker.
    """

    def __init__(self, client: Any, run: str, run_id: str, say: Callable[[str], None]) -> None:
        self._inspector, self._run, self._run_id, self._say = BrokerInspector(client), run, run_id, say
        self._leader = ""
        self._next_s = time.monotonic() + PROGRESS_S

    def report(self, leader: str) -> None:
        """Print what is new; `leader` is empty while there is none."""
        if leader and leader != self._leader:
            self._leader = leader
            self._say(f"{on_one_line(leader)[:80]} leads run {self._run}")
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + PROGRESS_S
        for run in self._inspector.runs():
            if run.run_id == self._run_id:
                counts = f"{run.waiting} waiting, {run.running} running, {run.done} done"
                self._say(f"run {self._run}: {counts}, {run.seconds:.0f} s since its start")
