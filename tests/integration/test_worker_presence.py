"""How containers, systemd, and people learn that a worker is there, at a real server."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.broker_keys import WORKERS_KEY, worker_key
from passmuster.wire.broker_messages import WorkerStatus
from passmuster.wire.run_store import WorkerDirectory, connect
from tests.support.queue_worker import Start

WORKER = Path(__file__).resolve().parents[2] / "worker" / "__main__.py"
STATUS = WorkerStatus(
    name="present", host=socket.gethostname(), slots=2, busy=1, budget_bytes=1, version="0.1.0"
)


Publish = Callable[[WorkerStatus], None]


@pytest.fixture
def publish(server: EmbeddedServer) -> Iterator[Publish]:
    """Publish a status that does not expire while a test waits for a busy machine."""
    with connect(server.url, timeout_s=5.0) as client:
        directory = WorkerDirectory(client)
        for left in directory.statuses():  # By workers that other tests killed.
            directory.remove(left.name)

        def begin(status: WorkerStatus) -> None:
            directory.publish(status)
            client.persist(worker_key(status.name))
            client.persist(WORKERS_KEY)

        yield begin
        directory.remove(STATUS.name)


def ask(url: str, *words: str) -> tuple[int, str]:
    """Ask without the secret that signs messages, which a check does not need."""
    ended = subprocess.run(
        [sys.executable, "-P", WORKER, "health", *words],
        env={**os.environ, "PASSMUSTER_BROKER_URL": url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_a_worker_of_this_host_or_of_a_name_is_found(server: EmbeddedServer, publish: Publish) -> None:
    publish(STATUS)

    healthy = (0, "healthy: present, 1 of 2 slots in use\n")
    assert ask(server.url) == healthy
    assert ask(server.url, "--name", "present") == healthy
    status, output = ask(server.url, "--name", "other")
    assert status == 1
    assert "knows no worker other: it is not running, or cannot reach the broker" in output


def test_one_of_another_host_is_not(server: EmbeddedServer, publish: Publish) -> None:
    publish(structs.replace(STATUS, host="elsewhere"))

    status, output = ask(server.url)

    assert status == 1
    assert f"knows no worker of the host {STATUS.host}: " in output
    assert ask(server.url, "--name", "present")[0] == 0


def test_a_broker_that_cannot_be_asked_has_a_status_of_its_own() -> None:
    # A probe that restarted workers for it would lose what they run.
    status, output = ask("redis://127.0.0.1:1/0")

    assert status == 3
    assert output.startswith("worker: the broker redis://127.0.0.1:1/0 cannot be reached")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def test_systemd_is_told_that_the_worker_is_ready_and_lives(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"passmuster-test-{secrets.token_hex(8)}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        systemd.settimeout(60)
        start()

        found = [systemd.recv(100) for _ in range(3)]

    assert sorted(found) == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
