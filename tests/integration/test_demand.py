"""The list that autoscalers watch, on a real broker: as long as the files of all runs that wait or run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.broker_keys import DEMAND_REPORTS_KEY, DEMAND_TTL_S
from passmuster.wire.run_store import connect, report_demand

LIST = "pm:demand"
"""Documented in docs/how-to/workers.md, so it never changes."""


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Any]:
    with connect(server.url, timeout_s=5.0) as client:
        yield client
        client.delete(LIST, DEMAND_REPORTS_KEY)


def test_the_list_is_as_long_as_the_files_of_all_runs(client: Any) -> None:
    lengths = []
    for dispatcher, files in [("a", 2500), ("b", 3), ("a", 7), ("a", 0), ("b", 0)]:
        report_demand(client, dispatcher, files)
        lengths.append(client.llen(LIST))

    assert lengths == [2500, 2503, 10, 3, 0]
    assert client.exists(LIST, DEMAND_REPORTS_KEY) == 0


def test_a_killed_dispatcher_does_not_count_for_ever(client: Any) -> None:
    report_demand(client, "killed", 5)
    assert 0 < client.ttl(LIST) <= DEMAND_TTL_S
    assert 0 < client.ttl(DEMAND_REPORTS_KEY) <= DEMAND_TTL_S
    client.hset(DEMAND_REPORTS_KEY, "killed", "1:5")  # Its deadline has passed.

    report_demand(client, "alive", 1)

    assert client.llen(LIST) == 1
    assert client.hkeys(DEMAND_REPORTS_KEY) == ["alive"]


@pytest.mark.parametrize("key", [LIST, DEMAND_REPORTS_KEY])
def test_a_damaged_key_is_replaced(client: Any, key: str) -> None:
    client.set(key, "of another type")

    report_demand(client, "a", 2)

    assert client.llen(LIST) == 2


def test_a_damaged_report_does_not_count(client: Any) -> None:
    client.hset(DEMAND_REPORTS_KEY, "b", "many")

    report_demand(client, "a", 2)

    assert client.llen(LIST) == 2
