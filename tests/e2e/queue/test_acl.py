"""The rights that docs/how-to/broker.md gives the broker's user suffice for a whole run, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from passmuster.wire.run_store import connect
from tests.e2e.support.project import REPOSITORY, Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sources import FAILING, PASSING
from tests.support.broker_server import BrokerServer, broker_server

PASSWORD = "the-users-password"


@pytest.fixture(scope="module")
def server() -> Iterator[BrokerServer]:
    text = (REPOSITORY / "docs" / "how-to" / "broker.md").read_text()
    block = re.search(r"```text\n(user .*?)```", text, re.DOTALL)
    assert block is not None
    with broker_server(*block[1].replace("PASSWORD", PASSWORD).splitlines()) as server:
        yield server


def url(server: BrokerServer) -> str:
    return f"redis://passmuster:{PASSWORD}@127.0.0.1:{server.port}/1"


def test_a_run_needs_no_more(project: Project, server: BrokerServer) -> None:
    env = {"PASSMUSTER_BROKER_URL": url(server), "PASSMUSTER_SECRET": SECRET}
    project.write({"tests/test_a.py": PASSING, "tests/test_b.py": FAILING})
    server.admin().acl_log_reset()

    with Worker(project, env=env) as worker:
        worker.wait_until_ready()
        outcome = project.run(env=env)
        shipped = project.run("--ship", env=env)
        status = project.run("status", env=env, events=False)
        worker.end()
    joined = project.run("--join", "r", env={**env, "PASSMUSTER_ATTEMPT": "1"})
    again = project.run("--join", "r", env={**env, "PASSMUSTER_ATTEMPT": "2"})

    assert outcome.code == 1, f"{outcome}\n{worker.log}"
    assert outcome.statuses() == {"tests/test_a.py": "PASS", "tests/test_b.py": "FAIL"}
    assert shipped.statuses() == outcome.statuses()
    assert joined.statuses() == again.statuses() == outcome.statuses(), f"{joined}{again}"
    assert status.code == 0, str(status)
    assert server.admin().acl_log() == []


@pytest.mark.parametrize(
    "words",
    [
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET *",
        "CONFIG SET maxmemory 1",
        "KEYS *",
        "SHUTDOWN",
        "GET elsewhere",
        "SET elsewhere 1",
        "ACL LIST",
        "SUBSCRIBE pm:x",
    ],
)
def test_nothing_else_is_allowed(server: BrokerServer, words: str) -> None:
    client: Any = connect(url(server), timeout_s=5)  # Its types know no word of this.

    with pytest.raises(NoPermissionError):
        client.execute_command(*words.split())


def test_nobody_else_gets_in(server: BrokerServer) -> None:
    with pytest.raises(redis.AuthenticationError):
        connect(f"redis://127.0.0.1:{server.port}", timeout_s=5).ping()
