"""A run whose keys are damaged: a real worker names it, leaves it alone, and serves the others."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.model.status import Status
from passmuster.wire.broker_keys import (
    DELIVERIES_PER_ATTEMPT,
    RUNS_KEY,
    WORKERS_KEY,
    lease_key,
    meta_key,
    queue_keys,
    results_key,
    state_key,
)
from passmuster.wire.broker_messages import DamagedDataError
from passmuster.wire.run_store import RunStore, WorkerDirectory
from tests.support.queue_worker import Run, Start, until

MANY_DIGITS = "1" * 5000
FIRST = DELIVERIES_PER_ATTEMPT + 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ok.py").write_text("print('hello')\n", encoding="utf-8")
    (tmp_path / "waits.py").write_text(
        "import pathlib, time\nwhile not pathlib.Path('go-on').exists():\n    time.sleep(0.01)\n",
        encoding="utf-8",
    )
    return tmp_path


@pytest.fixture
def other(server: EmbeddedServer) -> Iterator[Run]:
    other = Run(server.url)
    yield other
    other.close()


def of_another_type(client: Any, key: str) -> None:
    client.delete(key)
    client.set(key, "somebody else's")


DAMAGE: dict[str, Callable[[Any, str], object]] = {
    "meta of another type": lambda client, run: of_another_type(client, meta_key(run)),
    "no time in meta": lambda client, run: client.hset(meta_key(run), "heartbeat", "soon"),
    "slots that are none": lambda client, run: client.hset(meta_key(run), "slots:x", "many"),
    "slots of 5,000 digits": lambda client, run: client.hset(meta_key(run), "slots:x", f"{MANY_DIGITS}:1"),
    "states of another type": lambda client, run: of_another_type(client, state_key(run)),
    "leases of another type": lambda client, run: of_another_type(client, lease_key(run)),
    "results of another type": lambda client, run: of_another_type(client, results_key(run)),
    "queue of another type": lambda client, run: of_another_type(client, queue_keys(run)[0]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_worker_leaves_a_damaged_run_alone_and_serves_another(
    run: Run, other: Run, start: Start, damage: str
) -> None:
    other.seed(other.task("ok.py"))
    DAMAGE[damage](other.client, other.run_id)
    worker = start()
    other.publish(other.task("ok.py"), FIRST)

    run.submit(run.task("ok.py"))

    assert run.wait(1)["ok.py"].status is Status.PASS
    worker.signal(signal.SIGTERM)
    status, output = worker.end()
    assert status == 0, output
    assert "Traceback" not in output
    assert [line for line in output.splitlines() if other.run_id in line and "ignores " in line], output


def test_a_file_of_a_run_that_gets_damaged_is_ended(run: Run, other: Run, start: Start) -> None:
    worker = start()
    other.submit(other.task("waits.py"))
    other.wait_for_start()
    for damage in ("leases of another type", "states of another type"):
        DAMAGE[damage](other.client, other.run_id)

    until(lambda: run.busy(worker.name) == 0, "the file is ended")

    run.submit(run.task("ok.py"))
    assert run.wait(1)["ok.py"].status is Status.PASS
    worker.signal(signal.SIGTERM)
    status, output = worker.end()
    assert status == 0, output
    assert "Traceback" not in output
    assert f"ignores run {other.run_id}: the data on the broker is damaged" in output


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ("", "the state of 'a.py' is ''"),
        ("Z:101", "the state of 'a.py' is 'Z:101'"),
        ("Q:x", "the delivery of 'a.py' is 'x'"),
        (f"R:{MANY_DIGITS}:w", "the delivery of 'a.py' is '1111"),
        ("D:-1", "the delivery of 'a.py' is '-1'"),
        ("D:١", r"the delivery of 'a.py' is '\u0661'"),
    ],
)
def test_a_state_that_is_none_is_named(run: Run, state: str, complaint: str) -> None:
    run.record.seed({"a.py": FIRST}, epoch="e")
    run.client.hset(state_key(run.run_id), "a.py", state)

    for read in (lambda: run.record.states(["a.py"]), run.record.load_states):
        with pytest.raises(DamagedDataError) as error:
            read()
        assert complaint in str(error.value)
        assert len(str(error.value)) < 300


@pytest.mark.parametrize("member", ["", "101", "101\0w", f"{MANY_DIGITS}\0w\0a.py", "x\0w\0a.py"])
def test_a_lease_that_is_none_is_named(run: Run, member: str) -> None:
    run.record.seed({"a.py": FIRST}, epoch="e")
    run.client.zadd(lease_key(run.run_id), {member: 1})

    with pytest.raises(DamagedDataError, match="lease"):
        run.record.expired()


@pytest.mark.parametrize(
    "fields",
    [
        {"x": "y"},
        {"kind": "finished", "path": "a.py", "delivery": MANY_DIGITS, "worker": "w", "body": ""},
        {"kind": "finished", "path": "a.py", "delivery": "-1", "worker": "w", "body": ""},
        {"kind": "finished", "path": "a.py", "delivery": "101", "worker": "w"},
    ],
)
def test_a_damaged_entry_hides_none_of_the_others(run: Run, fields: Any) -> None:
    run.record.seed({"a.py": FIRST}, epoch="e")
    run.client.xadd(results_key(run.run_id), fields)
    run.record.claim("a.py", FIRST, "w")

    entries = run.record.read("0", block_s=0.0)

    assert [entry.kind for entry in entries] == ["damaged", "started"]
    assert "of the run's results" in entries[0].body


def test_numbers_of_a_stream_that_have_run_out_are_named(run: Run) -> None:
    run.record.seed({"a.py": FIRST}, epoch="e")
    last = "18446744073709551615-18446744073709551615"
    run.client.xadd(results_key(run.run_id), {"x": "y"}, id=last)

    with pytest.raises(DamagedDataError):
        run.record.claim("a.py", FIRST, "w")


@pytest.mark.parametrize("key", [RUNS_KEY, WORKERS_KEY])
def test_what_all_runs_share_is_named_too(run: Run, key: str) -> None:
    kept: Any = run.client
    members = kept.smembers(key)
    of_another_type(kept, key)
    try:
        with pytest.raises(DamagedDataError, match="WRONGTYPE"):
            RunStore.active_runs(run.client) if key == RUNS_KEY else WorkerDirectory(run.client).statuses()
    finally:
        kept.delete(key)
        if members:
            kept.sadd(key, *members)
