"""The list that autoscalers watch, on a real broker: as long as the files of all runs that wait or run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.config.model import TestConfig
from dispatcher.queue.embedded_server import EmbeddedServer
from dispatcher.queue.target import BrokerTarget
from passmuster.model.errors import InfrastructureError
from passmuster.wire.broker_keys import DEMAND_REPORTS_KEY, DEMAND_TTL_S
from passmuster.wire.run_store import WorkerDirectory, connect, report_demand

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


def test_a_run_that_waits_for_its_first_worker_counts_as_one_file(
    client: Any, server: EmbeddedServer, tmp_path: Path
) -> None:
    directory = WorkerDirectory(client)
    for left in directory.statuses():  # By workers that other tests killed.
        directory.remove(left.name)
    config = TestConfig(root=tmp_path, broker=server.url, worker_timeout_s=0.1)
    while_it_waits: list[int] = []
    target = BrokerTarget(
        {"PASSMUSTER_SECRET": "0123456789abcdef"}, lambda line: while_it_waits.append(client.llen(LIST))
    )

    with pytest.raises(InfrastructureError, match="no worker was there"):
        target.capacity(config)

    assert while_it_waits == [1]
    assert client.llen(LIST) == 0


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
