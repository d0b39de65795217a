"""What a worker knows of the others."""

from __future__ import annotations

from passmuster.wire.broker_keys import HEARTBEAT_S
from passmuster.wire.broker_messages import WorkerStatus
from tests.unit.worker.queue.scripted_queue import BrokerAwayError, Clock
from worker.queue.peer_workers import PeerWorkers

CARD = WorkerStatus(name="w2", host="h", slots=1, busy=0, budget_bytes=100, version="1", runs=("r1",))


def test_the_board_is_read_once_in_a_while_and_a_broker_that_is_away_has_none() -> None:
    clock, asked = Clock(), 0
    trouble: Exception | None = None

    def cards() -> list[WorkerStatus]:
        nonlocal asked
        asked += 1
        if trouble is not None:
            raise trouble
        return [CARD]

    neighbours = PeerWorkers(cards, name="w1", clock=clock)

    assert neighbours.can_fit("r1", 100)
    assert not neighbours.can_fit("r1", 101)
    assert not neighbours.can_fit("r2", 1)
    assert asked == 1
    clock.now, trouble = HEARTBEAT_S, BrokerAwayError()
    assert not neighbours.can_fit("r1", 100)
    assert asked == 2
