"""Celery's own commands show the workers of a broker, and reach none of them."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import CeleryCommandException

from dispatcher.queue.embedded_server import EmbeddedServer
from tests.support.queue_worker import Run, Start, until

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    return tmp_path


@pytest.fixture
def app(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PASSMUSTER_BROKER_URL", server.url)
    return importlib.import_module("passmuster.celery").app


def test_inspect_answers_from_what_workers_publish(
    run: Run, start: Start, server: EmbeddedServer, app: Any
) -> None:
    worker = start()
    run.submit(run.task("hangs.py"))
    until(lambda: run.busy(worker.name) == 1, "the worker says that it runs the file")

    command = [sys.executable, "-m", "celery", "-A", "passmuster.celery", "inspect", "active", "--json"]
    environ = {**os.environ, "PASSMUSTER_BROKER_URL": server.url}
    shown = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=True, timeout=60
    )

    [node] = [name for name in json.loads(shown.stdout) if name.startswith(f"{worker.name}@")]
    [file] = json.loads(shown.stdout)[node]
    assert file["id"] == f"{run.run_id}/hangs.py"
    inspect = app.control.inspect(destination=[node])
    assert inspect.ping() == {node: {"ok": "pong"}}
    assert inspect.stats()[node]["pool"] == {"max-concurrency": 2}
    assert inspect.active_queues() == {node: [{"name": f"pm.{run.run_id}"}]}
    for name in ("shutdown", "pool_restart"):
        with pytest.raises(CeleryCommandException, match=f"cannot {name}: .* accept no remote control"):
            getattr(app.control, name)()
    assert worker.process.poll() is None
    assert not [key for key in run.client.scan_iter("*") if "pidbox" in key]


def test_what_cannot_be_answered_is_refused_with_the_reason(app: Any) -> None:
    with pytest.raises(CeleryCommandException, match="do not answer registered, only ping, active,"):
        app.control.inspect().registered()
    with pytest.raises(CeleryCommandException, match="no worker nobody@h has sent a heartbeat to redis://"):
        app.control.inspect(destination=["nobody@h"]).ping()
    with pytest.raises(CeleryCommandException, match="start workers with run-tests-worker"):
        app.Worker()
    with pytest.raises(CeleryCommandException, match="workers drop messages that are not signed"):
        app.send_task("pm.run_file", args=["text"])
    with pytest.raises(CeleryCommandException, match="workers send no events"):
        app.events.State()
    assert app.control.purge() == 0
    with app.connection_for_write() as connection:
        assert list(connection.default_channel.client.scan_iter("*_kombu*")) == []


def test_without_a_broker_it_says_so() -> None:
    environ = {name: text for name, text in os.environ.items() if name != "PASSMUSTER_BROKER_URL"}
    command = [sys.executable, "-m", "celery", "-A", "passmuster.celery", "status"]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode == 1
    assert ended.stderr == "passmuster.celery: no broker was given: set PASSMUSTER_BROKER_URL\n"
