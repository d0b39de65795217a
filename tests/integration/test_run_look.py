"""Somebody who takes no part sees the runs on a real broker, and changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.broker_inspector import BrokerInspector
from passmuster.wire.broker_keys import DELIVERIES_PER_ATTEMPT, RUNS_KEY, lease_key, meta_key, state_key
from passmuster.wire.broker_messages import FileStage, FileStatus
from passmuster.wire.run_store import RunStore, connect

FIRST = DELIVERIES_PER_ATTEMPT + 1


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Any]:
    with connect(server.url, timeout_s=5.0) as client:
        yield client


@pytest.fixture
def run_id() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def record(client: Any, run_id: str) -> Iterator[RunStore]:
    record = RunStore(client, run_id)
    record.seed({f"{name}.py": FIRST for name in "abcd"}, epoch="e1")
    yield record
    record.end()


def test_a_run_is_counted_and_timed(client: Any, run_id: str, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    record.claim("b.py", FIRST, "w1")
    record.finish("b.py", FIRST, "w1", "body")
    record.heartbeat(40)
    begun_ms, beat_ms = client.hmget(meta_key(run_id), "started", "heartbeat")
    client.hset(
        meta_key(run_id),
        mapping={"started": int(begun_ms) - 60_000, "heartbeat": int(beat_ms) - 20_000},
    )

    [run] = [run for run in BrokerInspector(client).runs() if run.run_id == run_id]

    assert (run.waiting, run.running, run.done) == (42, 1, 1)
    assert 60 <= run.seconds < 90
    assert 20 <= run.heartbeat_age_s < 50
    assert run.started_at == (int(begun_ms) - 60_000) / 1000


def test_a_sign_of_life_does_not_change_when_a_run_began(client: Any, run_id: str, record: RunStore) -> None:
    client.hset(meta_key(run_id), "started", "12000")

    record.heartbeat()

    assert client.hget(meta_key(run_id), "started") == "12000"


def test_runs_come_in_the_order_of_their_begin_and_gone_ones_not_at_all(client: Any) -> None:
    runs = {name: RunStore(client, name) for name in ("late", "early", "gone")}
    try:
        for name, record in runs.items():
            record.seed({}, epoch="e")
            client.hset(meta_key(name), "started", {"late": 3000, "early": 1000, "gone": 2000}[name])
        client.delete(meta_key("gone"))

        found = [run.run_id for run in BrokerInspector(client).runs() if run.run_id in runs]

        assert found == ["early", "late"]
        assert client.sismember(RUNS_KEY, "gone"), "who only looks changes nothing"
    finally:
        for record in runs.values():
            record.end()


def test_a_file_is_seen_on_its_way(client: Any, run_id: str, record: RunStore) -> None:
    look = BrokerInspector(client)

    assert look.file(run_id, "a.py") == FileStatus(stage=FileStage.WAITING, delivery=FIRST)
    record.claim("a.py", FIRST, "w:1")
    running = FileStatus(stage=FileStage.RUNNING, delivery=FIRST, worker="w:1")
    assert look.file(run_id, "a.py") == running
    record.finish("a.py", FIRST, "w:1", "body")
    assert look.file(run_id, "a.py") == FileStatus(stage=FileStage.DONE, delivery=FIRST)
    assert look.file(run_id, "z.py") is None
    assert look.paths(run_id) == ["a.py", "b.py", "c.py", "d.py"]


def test_a_worker_whose_lease_is_over_is_overdue(client: Any, run_id: str, record: RunStore) -> None:
    look = BrokerInspector(client)
    record.claim("a.py", FIRST, "w1")
    running = look.file(run_id, "a.py")
    assert running is not None
    assert look.expired_for_s(run_id, "a.py", running) == 0

    seconds, _ = client.time()
    [member] = client.zrange(lease_key(run_id), 0, -1)
    client.zadd(lease_key(run_id), {member: (seconds - 30) * 1000})

    assert 30 <= look.expired_for_s(run_id, "a.py", running) < 60


@pytest.mark.parametrize("key", [meta_key, state_key])
def test_a_damaged_run_is_named_and_hides_none_of_the_others(
    client: Any, run_id: str, record: RunStore, key: Callable[[str], str]
) -> None:
    damaged = RunStore(client, "damaged")
    damaged.seed({"a.py": FIRST}, epoch="e")
    client.delete(key("damaged"))
    client.set(key("damaged"), "somebody else's")
    try:
        runs = {run.run_id: run for run in BrokerInspector(client).runs()}
    finally:
        client.delete(key("damaged"))
        damaged.end()

    assert runs[run_id].waiting == 4
    assert "the data on the broker is damaged" in runs["damaged"].damage


def test_nonsense_on_the_broker_is_no_fault(client: Any, run_id: str, record: RunStore) -> None:
    client.hset(meta_key(run_id), mapping={"started": "-5", "backlog": "9" * 99, "heartbeat": "x"})
    client.hset(state_key(run_id), mapping={"odd.py": "what", "none.py": ""})

    [run] = [run for run in BrokerInspector(client).runs() if run.run_id == run_id]

    assert (run.started_at, run.waiting) == (0.0, 4)
    assert BrokerInspector(client).file(run_id, "odd.py") is None
    assert BrokerInspector(client).file(run_id, "none.py") is None
