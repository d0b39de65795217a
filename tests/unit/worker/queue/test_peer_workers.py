"""What a worker knows of other workers."""

from __future__ import annotations

from passmuster.wire.broker_keys import HEARTBEAT_S
from passmuster.wire.broker_messages import WorkerStatus
from tests.unit.worker.queue.scripted_queue import BrokerAwayError, Clock
from worker.queue.peer_workers import PeerWorkers

STATUS = WorkerStatus(name="w2", host="h", slots=1, busy=0, budget_bytes=100, version="1", runs=("r1",))


def test_statuses_are_cached_for_one_heartbeat_and_empty_while_the_broker_is_unavailable() -> None:
    clock, asked = Clock(), 0
    error: Exception | None = None

    def statuses() -> list[WorkerStatus]:
        nonlocal asked
        asked += 1
        if error is not None:
            raise error
        return [STATUS]

    peers = PeerWorkers(statuses, name="w1", clock=clock)

    assert peers.can_fit("r1", 100)
    assert not peers.can_fit("r1", 101)
    assert not peers.can_fit("r2", 1)
    assert asked == 1
    clock.now, error = HEARTBEAT_S, BrokerAwayError()
    assert not peers.can_fit("r1", 100)
    assert asked == 2
