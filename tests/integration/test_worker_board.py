"""Workers put up cards, and what nobody renews is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from passmuster.model.executor import Limit
from passmuster.wire.broker_keys import WORKER_TTL_S, WORKERS_KEY, worker_key
from passmuster.wire.broker_messages import RunningFileStatus, WorkerStatus
from passmuster.wire.run_store import UNREADABLE_VERSION, WorkerDirectory, connect
from tests.support.valkey import private_server

CARD = WorkerStatus(
    name="w1",
    host="h",
    slots=4,
    busy=1,
    budget_bytes=1 << 30,
    version="0.1.0",
    limits=(Limit(name="slots", value="4", source="--slots"),),
    files=(RunningFileStatus(run_id="r", path="t/\udcff.py", seconds=1.5, used_bytes=7),),
)


@pytest.fixture
def client() -> Iterator[Any]:
    # A server of its own: workers that other tests killed keep their cards for a while.
    with private_server() as server, connect(server.url, timeout_s=5.0) as client:
        yield client


def test_a_card_comes_back_the_same_until_it_is_removed(client: Any) -> None:
    board = WorkerDirectory(client)
    assert board.statuses() == []

    board.publish(CARD)
    assert board.statuses() == [CARD]
    for key in (worker_key("w1"), WORKERS_KEY):
        assert 0 < client.ttl(key) <= WORKER_TTL_S, key

    board.remove("w1")
    assert board.statuses() == []


def test_a_card_that_nobody_renewed_is_forgotten(client: Any) -> None:
    board = WorkerDirectory(client)
    board.publish(CARD)
    client.delete(worker_key("w1"))

    assert board.statuses() == []
    assert not client.sismember(WORKERS_KEY, "w1")


def test_a_card_of_another_version_is_told_as_such(client: Any) -> None:
    board = WorkerDirectory(client)
    board.publish(CARD)
    client.set(worker_key("w2"), '{"name":"w2"}')
    client.sadd(WORKERS_KEY, "w2")

    assert [(card.name, card.version) for card in board.statuses()] == [
        ("w1", "0.1.0"),
        ("w2", UNREADABLE_VERSION),
    ]
