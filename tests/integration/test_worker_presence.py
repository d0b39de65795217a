"""The health check of a worker's container, at a real server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.broker_messages import WorkerStatus
from passmuster.wire.run_store import WorkerDirectory, connect

SCRIPT = Path(__file__).resolve().parents[2] / "worker" / "queue" / "health_check.py"
CARD = WorkerStatus(
    name="present", host=socket.gethostname(), slots=1, busy=0, budget_bytes=1, version="0.1.0"
)


@pytest.fixture
def board(server: EmbeddedServer) -> Iterator[WorkerDirectory]:
    with connect(server.url, timeout_s=5.0) as client:
        board = WorkerDirectory(client)
        yield board
        board.remove(CARD.name)


def ask(url: str, root: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-P", SCRIPT, "--root", root],
        env={**os.environ, "PASSMUSTER_BROKER_URL": url, "PASSMUSTER_SECRET": "0123456789abcdef"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_a_worker_of_this_host_is_found(
    server: EmbeddedServer, board: WorkerDirectory, tmp_path: Path
) -> None:
    board.publish(CARD)

    assert ask(server.url, tmp_path) == (0, "")


def test_one_of_another_host_is_not(server: EmbeddedServer, board: WorkerDirectory, tmp_path: Path) -> None:
    board.publish(structs.replace(CARD, host="elsewhere"))

    status, output = ask(server.url, tmp_path)

    assert status == 1
    assert output.endswith(f"knows no worker of the host {CARD.host}\n")


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    status, output = ask("redis://127.0.0.1:1/0", tmp_path)

    assert status == 1
    assert output.startswith("the broker redis://127.0.0.1:1/0 cannot be reached")
