"""Tests retries while the broker is unavailable, and when the leader may be judged."""

from __future__ import annotations

import pytest
import redis

from dispatcher.join.liveness import JUDGE_S
from passmuster.model.errors import InfrastructureError
from passmuster.wire.broker_keys import LEADER_LEASE_MS, MEMBER_HEARTBEAT_S, OUTAGE_S
from tests.unit.dispatcher.join.join_fakes import FakeTime, broker_retry


def broken_for(seconds: float, time: FakeTime) -> object:
    until_s = time() + seconds

    def step() -> str:
        if time() < until_s:
            raise redis.ConnectionError("away")
        return "there"

    return step


def test_a_call_is_retried_until_the_broker_answers() -> None:
    time = FakeTime()

    assert broker_retry(time).call(broken_for(OUTAGE_S - 5, time)) == "there"  # type: ignore[arg-type]

    with pytest.raises(InfrastructureError, match="check that it is running"):
        broker_retry(time).call(broken_for(OUTAGE_S + 5, time))  # type: ignore[arg-type]


def test_a_leaving_member_does_not_retry() -> None:
    time = FakeTime()
    began_s = time()

    with pytest.raises(InfrastructureError):
        broker_retry(time, is_leaving=lambda: True).call(broken_for(50, time))  # type: ignore[arg-type]

    assert time() == began_s


def test_the_leader_is_not_judged_before_it_could_renew_its_lease() -> None:
    time = FakeTime()
    one = broker_retry(time)
    assert one.can_judge_leader()

    one.call(broken_for(3, time))  # type: ignore[arg-type]
    assert not one.can_judge_leader()
    time.pause(JUDGE_S)
    assert one.can_judge_leader()

    one.note_missing_run(is_missing=True)
    time.pause(JUDGE_S / 2)
    one.note_missing_run(is_missing=True)
    assert not one.can_judge_leader()
    time.pause(JUDGE_S / 2)
    assert one.can_judge_leader()


def test_the_lease_outlives_three_missed_heartbeats() -> None:
    assert LEADER_LEASE_MS / 1000 > 3 * MEMBER_HEARTBEAT_S
