"""A real worker with a real broker and real files: what is run, what is left, and how it ends."""

from __future__ import annotations

import base64
import json
import signal
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import kombu.transport
import pytest
from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.model.status import Isolation, Status, StopReason
from passmuster.wire.broker import read_address
from passmuster.wire.broker_keys import RUN_TTL_S, TASK_NAME, queue_keys, queue_name
from tests.faults.network import Network
from tests.support.pytest_environment import PYTEST_PYTHON
from tests.support.queue_worker import Run, Start, WorkerProcess, until, waiting
from tests.support.valkey import private_server
from worker.queue.celery_app import make_app
from worker.queue.transport import install_guarded_transport, rebuild_message

FILES = {
    "ok.py": "print('hello')\n",
    "fail.py": "import sys\nsys.exit(3)\n",
    "hangs.py": "import time\ntime.sleep(600)\n",
    "environ.py": (
        "import os\nwords = ('SECRET', 'BROKER', '_MP_')\n"
        "print(sorted(name for name in os.environ if any(word in name for word in words)))\n"
    ),
    "half.py": "x = 1\nif x > 1:\n    y = 2\n",
}

MEETS_FOUR = """
import json, os, pathlib, time
pathlib.Path(__file__).with_suffix(".here").touch()
while len(list(pathlib.Path(__file__).parent.glob("*.here"))) < 4:
    time.sleep(0.01)
names = {"worker": "WORKER", "count": "WORKER_COUNT", "run": "TESTRUNUID"}
found = {key: os.environ[f"PYTEST_XDIST_{name}"] for key, name in names.items()}
print(json.dumps({**found, "slot": os.environ["PASSMUSTER_SLOT"]}))
"""
"""A script that ends once four files have begun."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_files_run_and_their_results_come_once(run: Run, start: Start) -> None:
    worker = start()

    run.submit(run.task("ok.py"), run.task("fail.py"), run.task("gone.py"), run.task("environ.py"))
    results = run.wait(4)

    assert {name: result.status for name, result in results.items()} == {
        "ok.py": Status.PASS,
        "fail.py": Status.FAIL,
        "gone.py": Status.START_ERROR,
        "environ.py": Status.PASS,
    }
    assert results["ok.py"].output == "hello\n"
    # Tests see no secret, and nothing of Celery.
    assert results["environ.py"].output == "[]\n"
    assert {result.worker for result in results.values() if result.status is not Status.START_ERROR} == {
        worker.name
    }
    assert run.record.is_settled()


def test_files_that_run_at_once_are_different_workers_to_pytest_xdist(
    run: Run, start: Start, root: Path
) -> None:
    names = [f"meets_{number}.py" for number in range(4)]
    for name in names:
        (root / name).write_text(MEETS_FOUR, encoding="utf-8")
    start()
    start()

    run.submit(*(run.task(name) for name in names))
    results = run.wait(4)

    found = [json.loads(result.output) for result in results.values()]
    assert sorted(one["worker"] for one in found) == ["gw0", "gw1", "gw2", "gw3"]
    assert sorted(one["slot"] for one in found) == ["0", "1", "2", "3"]
    assert all(int(one["slot"]) < int(one["count"]) for one in found)
    assert len({one["run"] for one in found}) == 1


def test_files_are_forked_whether_they_are_measured_or_not(run: Run, start: Start) -> None:
    start("--python", str(PYTEST_PYTHON))
    measured = run.task("half.py", with_coverage=True)

    run.seed(run.task("ok.py"), measured, spec=run.signed_spec(has_coverage=True))
    run.publish(run.task("ok.py"), 101)
    run.publish(measured, 101)

    results = run.wait(2)
    assert {name: (one.isolation, one.isolation_note) for name, one in results.items()} == {
        "ok.py": (Isolation.FORK, ""),
        "half.py": (Isolation.FORK, ""),
    }
    assert {result.status for result in results.values()} == {Status.PASS}
    assert list(run.coverage) == ["half.py"]
    assert run.coverage["half.py"].startswith(b"SQLite format 3")


def test_a_second_copy_of_a_message_starts_nothing(run: Run, start: Start) -> None:
    start()
    run.submit(run.task("ok.py"))
    run.publish(run.task("ok.py"), 101)
    run.wait(1)

    until(lambda: run.client.llen(f"pm:pm.{run.run_id}\x06\x165") == 0, "both messages are taken")
    run.look()
    assert len(run.started) == 1


def test_a_cancelled_run_ends_what_runs_and_gives_its_result(run: Run, start: Start) -> None:
    start()
    run.submit(run.task("hangs.py"), run.task("ok.py"))
    run.wait_for_start(2)

    run.record.cancel()

    assert run.wait(2)["hangs.py"].stop_reason is StopReason.CANCELLED
    until(run.record.is_settled, "nobody holds a lease")


def test_a_file_that_another_worker_finished_is_ended_without_a_result(run: Run, start: Start) -> None:
    worker = start()
    run.submit(run.task("hangs.py"))
    run.wait_for_start()

    assert run.record.finish("hangs.py", 101, "somebody", run.body("hangs.py"))
    assert run.wait(1)["hangs.py"].worker == "somebody"

    until(lambda: run.busy(worker.name) == 0, "the file is ended")
    run.look()  # A second result would be an error.


def test_sigterm_releases_what_runs_and_ends_with_status_0(run: Run, start: Start) -> None:
    worker = start("--grace-period", "100ms")
    run.submit(run.task("hangs.py"))
    run.wait_for_start()

    worker.signal(signal.SIGTERM)
    status, output = worker.end()

    assert (status, output.splitlines()[-1]) == (0, "ran 0 file(s)")
    run.look()
    assert run.released == [("hangs.py", 101, worker.name)]
    assert waiting(run.record, ["hangs.py"]) == {"hangs.py": 101}
    assert run.record.is_settled()
    assert worker.name not in run.workers()


def test_sigterm_lets_a_file_finish_within_the_grace(run: Run, start: Start, root: Path) -> None:
    (root / "waits.py").write_text(
        "import pathlib, time\nwhile not pathlib.Path('go-on').exists():\n    time.sleep(0.01)\n"
    )
    worker = start("--grace-period", "60s")
    run.submit(run.task("waits.py"))
    run.wait_for_start()

    worker.signal(signal.SIGTERM)
    (root / "go-on").touch()

    assert worker.end()[0] == 0
    assert run.wait(1)["waits.py"].status is Status.PASS


def test_a_second_signal_does_not_wait_for_the_grace(run: Run, start: Start) -> None:
    worker = start("--grace-period", "10m")
    run.submit(run.task("hangs.py"))
    run.wait_for_start()

    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)

    assert worker.end()[0] == 0


def test_it_ends_with_its_standard_input(run: Run, start: Start) -> None:
    worker = start("--exit-with-stdin", "--grace-period", "10m")
    run.submit(run.task("hangs.py"))
    run.wait_for_start()

    assert worker.process.stdin is not None
    worker.process.stdin.close()
    worker.process.stdin = None

    assert worker.end()[0] == 0


def test_a_killed_worker_leaves_no_key_of_celerys(run: Run, start: Start) -> None:
    worker = start()
    run.submit(run.task("hangs.py"))
    run.wait_for_start()

    worker.signal(signal.SIGKILL)
    worker.end()

    kept = [key for key in run.client.scan_iter("pm:*") if "unacked" in key]
    assert kept == []


def test_a_worker_whose_connections_are_lost_in_silence_takes_messages_again(
    server: EmbeddedServer, run: Run, root: Path
) -> None:
    port = read_address(server.url).port
    network = Network(port)
    way = network.open()
    worker = WorkerProcess(server.url.replace(f":{port}", f":{way.port}"), root)
    try:
        until(lambda: worker.name in run.workers(), "it is ready")

        way.strand()
        run.submit(run.task("ok.py"))

        assert run.wait(1)["ok.py"].status is Status.PASS
        worker.signal(signal.SIGTERM)
        assert "got no reply for" in worker.end()[1]
    finally:
        worker.close()
        network.close()


def test_limits_are_said_with_their_sources(start: Start) -> None:
    worker = start("--memory-budget", "1GiB")

    worker.signal(signal.SIGTERM)
    lines = worker.end()[1].splitlines()

    assert lines[0] == "slots: 2 (asked for)"
    assert lines[1] == "memory budget: 1 GiB (asked for as 1 GiB)"
    assert lines[2].startswith(f"ready: {worker.name}, broker redis://127.0.0.1:")
    assert "@" not in lines[2]


def test_a_name_can_be_taken_once(server: EmbeddedServer, start: Start, root: Path) -> None:
    worker = start()

    second = WorkerProcess(server.url, root, name=worker.name)
    status, output = second.end()

    assert status == 2
    assert f"a worker called {worker.name} exists already" in output


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "is neither Redis nor Valkey"), (None, "cannot be reached")],
)
def test_a_broker_that_is_none_is_told_in_one_line(root: Path, answer: bytes | None, complaint: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        if answer is not None:
            listener.listen()
            threading.Thread(target=_answer, args=(listener, answer), daemon=True).start()
        worker = WorkerProcess(f"redis://127.0.0.1:{port}", root)
        status, output = worker.end()

    assert status == 3
    assert complaint in output
    assert len(output.splitlines()) == 1


def _answer(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        with link:
            link.recv(1024)
            link.sendall(answer)


def test_a_wrong_password_is_told_apart(server: EmbeddedServer, root: Path) -> None:
    address = server.url.rpartition("@")[2]

    worker = WorkerProcess(f"redis://:wrong@{address}", root)
    status, output = worker.end()

    assert status == 3
    assert "rejects the password" in output
    assert ":wrong@" not in output


def test_lines_about_a_file_name_it_and_can_be_json(run: Run, start: Start) -> None:
    worker = start("--log-format", "json")
    run.submit(run.task("ok.py"))
    run.wait(1)

    worker.signal(signal.SIGTERM)
    lines = [json.loads(line) for line in worker.end()[1].splitlines() if line.startswith("{")]

    [line] = [line for line in lines if "file" in line]
    assert (line["run"], line["file"], line["attempt"]) == (run.run_id, "ok.py", 1)
    assert line["event"].startswith("PASS after ")
    assert {line["worker"] for line in lines} == {worker.name}
    assert lines[-1]["event"] == "ran 1 file(s)"


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process take messages as a worker does."""
    monkeypatch.setattr(kombu.transport, "_transport_cache", {})
    for scheme in ("redis", "rediss"):
        monkeypatch.setitem(TRANSPORT_ALIASES, scheme, TRANSPORT_ALIASES[scheme])
    install_guarded_transport(lambda *_, **__: None)


def taken(connection: Connection, run_id: str) -> Any:
    """Return a channel that has taken a message of a run, and not acknowledged it."""
    body = base64.b64encode(json.dumps([["sealed"], {}, {}]).encode()).decode()
    sent = {"headers": {"task": TASK_NAME}, "body": body, "properties": {}}
    channel: Any = connection.default_channel
    message = channel.Message(rebuild_message(sent, queue_name(run_id)), channel=channel)
    channel.qos.append(message, message.delivery_tag)
    return channel


@pytest.mark.usefixtures("guarded")
def test_a_message_that_cannot_be_put_back_is_written_to_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_server() as server, make_app(server.url).connection() as connection:
        channel = taken(connection, "run")
        server.close()

        channel.qos.restore_unacked_once()

        assert list(tmp_path.glob("tmp*")) == []


@pytest.mark.usefixtures("guarded")
def test_a_message_that_is_put_back_does_not_stay_for_ever(run: Run) -> None:
    run.record.seed({"a.py": 101}, epoch="word")
    with make_app(run.url).connection() as connection:
        taken(connection, run.run_id).qos.restore_unacked_once()

    (queue,) = [key for key in queue_keys(run.run_id) if run.client.exists(key)]
    assert 0 < run.client.ttl(queue) <= RUN_TTL_S


@pytest.mark.usefixtures("guarded")
def test_a_message_of_a_run_that_has_ended_is_not_put_back(run: Run) -> None:
    run.record.seed({"a.py": 101}, epoch="word")
    with make_app(run.url).connection() as connection:
        channel = taken(connection, run.run_id)
        run.record.end()
        channel.qos.restore_unacked_once()

    assert run.client.keys(f"*{run.run_id}*") == []


def test_what_a_killed_worker_left_is_removed_by_the_next_one(
    server: EmbeddedServer,
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tmp = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(tmp))
    run = Run(server.url)

    def end_one(number: signal.Signals) -> None:
        worker = WorkerProcess(server.url, root)
        until(lambda: worker.name in run.workers() or worker.process.poll() is not None, "it is ready")
        worker.signal(number)
        worker.end()

    end_one(signal.SIGKILL)
    assert list(tmp.iterdir()) != []

    end_one(signal.SIGTERM)
    assert list(tmp.iterdir()) == []
