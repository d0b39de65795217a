"""A server for all tests of this folder; each test has runs and workers of its own on it.

A test of workers has a fixture `root`, which is their project.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from tests.support.queue_worker import Run, Start, WorkerProcess, until
from tests.support.valkey import private_server


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    with private_server() as server:
        yield server


@pytest.fixture
def run(server: EmbeddedServer) -> Iterator[Run]:
    run = Run(server.url)
    yield run
    run.close()


@pytest.fixture
def start(server: EmbeddedServer, root: Path, run: Run) -> Iterator[Start]:
    workers: list[WorkerProcess] = []

    def begin(*words: str) -> WorkerProcess:
        worker = WorkerProcess(server.url, root, *words)
        workers.append(worker)
        until(lambda: worker.name in run.workers() or worker.process.poll() is not None, "it is ready")
        return worker

    yield begin
    for worker in workers:
        worker.close()
