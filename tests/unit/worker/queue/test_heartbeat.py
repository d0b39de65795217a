"""What a worker tells the broker every two seconds, and what it does with the answers."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.wire.broker_messages import RenewReply, WorkerStatus
from passmuster.wire.run_store import WorkerDirectory
from tests.unit.worker.queue.scripted_queue import NAME, BrokerAwayError, Desk, task
from worker.queue.heartbeat import CANCEL_GRACE_S, Heartbeat
from worker.queue.in_flight import AbortReason, InFlightFile
from worker.queue.run_subscriptions import RunSubscriptions
from worker.queue.task_handler import KEEP_RESULT_S

HELD = InFlightFile(
    run_id="run", path="ok.py", delivery=101, attempt_id=task().attempt_id, cancel_grace_s=1.5
)


class Wall(WorkerDirectory, RunSubscriptions):
    """A board, and the runs that are followed."""

    def __init__(self) -> None:
        self.busy: list[int] = []
        self.removed: list[str] = []
        self.runs: set[str] = set()
        self.followed: list[set[str]] = []
        self.trouble: Exception | None = None

    def publish(self, status: WorkerStatus) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.busy.append(status.busy)

    def remove(self, name: str) -> None:
        self.removed.append(name)
        if self.trouble is not None:
            raise self.trouble

    def follow(self, runs: Collection[str]) -> None:
        self.followed.append(set(runs))

    def abandon(self, run_id: str, damage: str) -> None:
        raise NotImplementedError


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.roster.add(HELD)
    desk.roster.claim(HELD.attempt_id)
    return desk


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def heartbeat(desk: Desk, wall: Wall) -> Heartbeat:
    return Heartbeat(
        desk.executor,
        desk.roster,
        wall,
        lambda run_id: desk.record,
        lambda: wall.runs,
        wall,
        name=NAME,
        make_status=lambda held: WorkerStatus(
            name=NAME, host="here", slots=2, busy=len(held), budget_bytes=1, version="1"
        ),
        say=desk.say,
        clock=desk.clock,
    )


def test_what_runs_is_renewed_and_the_card_put_up(desk: Desk, wall: Wall, heartbeat: Heartbeat) -> None:
    heartbeat.beat()

    assert desk.record.asked == [("renew", "ok.py", 101, NAME)]
    assert wall.busy == [1]
    assert desk.executor.ended == []


@pytest.mark.parametrize(
    ("hold", "fate", "grace_s"),
    [(RenewReply.LOST, AbortReason.LOST, 0), (RenewReply.CANCELLED, AbortReason.CANCELLED, 1.5)],
)
def test_what_is_lost_or_cancelled_is_ended_once(
    desk: Desk, heartbeat: Heartbeat, hold: RenewReply, fate: AbortReason, grace_s: float
) -> None:
    desk.record.holds = [hold]

    heartbeat.beat()
    heartbeat.beat()

    assert desk.executor.ended == [((HELD.attempt_id,), grace_s)]
    assert desk.roster.abort_reason(HELD.attempt_id) is fate


def test_a_run_s_grace_has_a_bound(desk: Desk, heartbeat: Heartbeat) -> None:
    desk.roster.remove(HELD.attempt_id)
    patient = structs.replace(HELD, cancel_grace_s=60.0)
    desk.roster.add(patient)
    desk.roster.claim(patient.attempt_id)
    desk.record.holds = [RenewReply.CANCELLED]

    heartbeat.beat()

    assert desk.executor.ended == [((HELD.attempt_id,), CANCEL_GRACE_S)]


def test_a_file_that_was_given_back_while_it_was_renewed_is_given_back_again(
    desk: Desk, heartbeat: Heartbeat
) -> None:
    desk.record.while_renewing = lambda: desk.roster.unclaim(HELD.attempt_id)

    heartbeat.beat()
    heartbeat.beat()

    assert desk.record.words == ["renew", "release"]


def test_an_unknown_run_goes_on_as_long_as_somebody_may_want_it(desk: Desk, heartbeat: Heartbeat) -> None:
    desk.record.holds = [RenewReply.UNKNOWN]

    heartbeat.beat()
    desk.clock.now = KEEP_RESULT_S - 1
    heartbeat.beat()
    assert desk.executor.ended == []

    desk.clock.now = KEEP_RESULT_S
    heartbeat.beat()
    assert desk.executor.ended == [((HELD.attempt_id,), 0)]


def test_a_run_that_is_known_again_is_unknown_anew_later(desk: Desk, heartbeat: Heartbeat) -> None:
    desk.record.holds = [RenewReply.UNKNOWN, RenewReply.HELD, RenewReply.UNKNOWN]

    heartbeat.beat()
    heartbeat.beat()
    desk.clock.now = KEEP_RESULT_S
    heartbeat.beat()

    assert desk.executor.ended == []


def test_the_runs_under_way_are_followed(wall: Wall, heartbeat: Heartbeat) -> None:
    wall.runs = {"a"}
    heartbeat.beat()
    wall.runs = {"b"}
    heartbeat.beat()

    assert wall.followed == [{"a"}, {"b"}]


def test_a_broker_that_is_away_ends_nothing_and_is_told_once(
    desk: Desk, wall: Wall, heartbeat: Heartbeat
) -> None:
    desk.record.holds = [BrokerAwayError("gone"), BrokerAwayError("gone"), RenewReply.HELD]

    for _ in range(3):
        heartbeat.beat()

    assert desk.executor.ended == []
    assert desk.lines == [
        "the broker is unavailable: gone; running files continue",
        "the broker is available again",
    ]


def test_a_worker_that_ends_renews_but_is_no_longer_there_for_others(
    desk: Desk, wall: Wall, heartbeat: Heartbeat
) -> None:
    desk.roster.close()
    wall.runs = {"a"}

    heartbeat.beat()

    assert desk.record.words == ["renew"]
    assert (wall.busy, wall.followed) == ([], [])


def test_closing_takes_the_card_down_whether_or_not_the_broker_is_there(
    wall: Wall, heartbeat: Heartbeat
) -> None:
    wall.trouble = BrokerAwayError()

    heartbeat.close()
    heartbeat.close()

    assert wall.removed == [NAME]


def test_a_run_that_began_or_was_stopped_is_news(heartbeat: Heartbeat, wall: Wall) -> None:
    assert not heartbeat.has_changed_runs()
    wall.runs = {"run"}
    assert heartbeat.has_changed_runs()
    heartbeat.beat()
    assert not heartbeat.has_changed_runs()
    wall.runs = set()
    assert heartbeat.has_changed_runs()
