"""A worker's heartbeat, and its reaction to the broker's replies."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.wire.broker_keys import OUTAGE_S
from passmuster.wire.broker_messages import RenewReply, WorkerStatus
from passmuster.wire.run_store import WorkerDirectory
from tests.unit.worker.queue.scripted_queue import NAME, BrokerAwayError, ScriptedWorker, task
from worker.queue.heartbeat import CANCEL_GRACE_S, Heartbeat
from worker.queue.in_flight import AbortReason, InFlightFile
from worker.queue.run_subscriptions import RunSubscriptions

FILE = InFlightFile(
    run_id="run", path="ok.py", delivery=101, attempt_id=task().attempt_id, cancel_grace_s=1.5
)


class ScriptedBroker(WorkerDirectory, RunSubscriptions):
    """A board, and the runs that are followed."""

    def __init__(self) -> None:
        self.busy: list[int] = []
        self.removed: list[str] = []
        self.runs: set[str] = set()
        self.followed: list[set[str]] = []
        self.error: Exception | None = None

    def publish(self, status: WorkerStatus) -> None:
        if self.error is not None:
            raise self.error
        self.busy.append(status.busy)

    def remove(self, name: str) -> None:
        self.removed.append(name)
        if self.error is not None:
            raise self.error

    def follow(self, runs: Collection[str]) -> None:
        self.followed.append(set(runs))

    def abandon(self, run_id: str, damage: str) -> None:
        raise NotImplementedError


@pytest.fixture
def worker(tmp_path: Path) -> ScriptedWorker:
    worker = ScriptedWorker(tmp_path)
    worker.in_flight.add(FILE)
    worker.in_flight.claim(FILE.attempt_id)
    return worker


@pytest.fixture
def broker() -> ScriptedBroker:
    return ScriptedBroker()


@pytest.fixture
def heartbeat(worker: ScriptedWorker, broker: ScriptedBroker) -> Heartbeat:
    return Heartbeat(
        worker.executor,
        worker.in_flight,
        broker,
        lambda run_id: worker.record,
        lambda: broker.runs,
        broker,
        name=NAME,
        make_status=lambda held: WorkerStatus(
            name=NAME, host="here", slots=2, busy=len(held), budget_bytes=1, version="1"
        ),
        say=worker.say,
        clock=worker.clock,
    )


def test_a_heartbeat_renews_leases_and_publishes_the_status(
    worker: ScriptedWorker, broker: ScriptedBroker, heartbeat: Heartbeat
) -> None:
    heartbeat.beat()

    assert worker.record.asked == [("renew", "ok.py", 101, NAME)]
    assert broker.busy == [1]
    assert worker.executor.ended == []


@pytest.mark.parametrize(
    ("reply", "reason", "grace_s"),
    [(RenewReply.LOST, AbortReason.LOST, 0), (RenewReply.CANCELLED, AbortReason.CANCELLED, 1.5)],
)
def test_a_lost_or_cancelled_file_is_stopped_once(
    worker: ScriptedWorker, heartbeat: Heartbeat, reply: RenewReply, reason: AbortReason, grace_s: float
) -> None:
    worker.record.renewals = [reply]

    heartbeat.beat()
    heartbeat.beat()

    assert worker.executor.ended == [((FILE.attempt_id,), grace_s)]
    assert worker.in_flight.abort_reason(FILE.attempt_id) is reason


def test_the_grace_period_of_a_run_is_limited(worker: ScriptedWorker, heartbeat: Heartbeat) -> None:
    worker.in_flight.remove(FILE.attempt_id)
    patient = structs.replace(FILE, cancel_grace_s=60.0)
    worker.in_flight.add(patient)
    worker.in_flight.claim(patient.attempt_id)
    worker.record.renewals = [RenewReply.CANCELLED]

    heartbeat.beat()

    assert worker.executor.ended == [((FILE.attempt_id,), CANCEL_GRACE_S)]


def test_a_file_returned_during_its_renewal_is_released_again(
    worker: ScriptedWorker, heartbeat: Heartbeat
) -> None:
    worker.record.while_renewing = lambda: worker.in_flight.unclaim(FILE.attempt_id)

    heartbeat.beat()
    heartbeat.beat()

    assert worker.record.words == ["renew", "release"]


def test_files_of_an_unknown_run_continue_while_their_result_is_kept(
    worker: ScriptedWorker, heartbeat: Heartbeat
) -> None:
    worker.record.renewals = [RenewReply.UNKNOWN]

    heartbeat.beat()
    worker.clock.now = OUTAGE_S - 1
    heartbeat.beat()
    assert worker.executor.ended == []

    worker.clock.now = OUTAGE_S
    heartbeat.beat()
    assert worker.executor.ended == [((FILE.attempt_id,), 0)]


def test_the_time_of_an_unknown_run_restarts_once_it_is_known_again(
    worker: ScriptedWorker, heartbeat: Heartbeat
) -> None:
    worker.record.renewals = [RenewReply.UNKNOWN, RenewReply.HELD, RenewReply.UNKNOWN]

    heartbeat.beat()
    heartbeat.beat()
    worker.clock.now = OUTAGE_S
    heartbeat.beat()

    assert worker.executor.ended == []


def test_active_runs_are_followed(broker: ScriptedBroker, heartbeat: Heartbeat) -> None:
    broker.runs = {"a"}
    heartbeat.beat()
    broker.runs = {"b"}
    heartbeat.beat()

    assert broker.followed == [{"a"}, {"b"}]


def test_an_unavailable_broker_stops_no_file_and_is_logged_once(
    worker: ScriptedWorker, broker: ScriptedBroker, heartbeat: Heartbeat
) -> None:
    worker.record.renewals = [BrokerAwayError("gone"), BrokerAwayError("gone"), RenewReply.HELD]

    for _ in range(3):
        heartbeat.beat()

    assert worker.executor.ended == []
    assert worker.lines == [
        "the broker is unavailable: gone; running files continue",
        "the broker is available again",
    ]


def test_a_closed_worker_renews_leases_but_publishes_no_status(
    worker: ScriptedWorker, broker: ScriptedBroker, heartbeat: Heartbeat
) -> None:
    worker.in_flight.close()
    broker.runs = {"a"}

    heartbeat.beat()

    assert worker.record.words == ["renew"]
    assert (broker.busy, broker.followed) == ([], [])


def test_closing_removes_the_status_if_the_broker_is_available(
    broker: ScriptedBroker, heartbeat: Heartbeat
) -> None:
    broker.error = BrokerAwayError()

    heartbeat.close()
    assert broker.removed == [], "nothing was published"
    heartbeat.start()
    heartbeat.close()
    heartbeat.close()

    assert broker.removed == [NAME]


def test_a_started_or_stopped_run_is_noticed(heartbeat: Heartbeat, broker: ScriptedBroker) -> None:
    assert not heartbeat.has_changed_runs()
    broker.runs = {"run"}
    assert heartbeat.has_changed_runs()
    heartbeat.beat()
    assert not heartbeat.has_changed_runs()
    broker.runs = set()
    assert heartbeat.has_changed_runs()
