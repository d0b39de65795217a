"""Attempts that are compared run on one worker, although several serve the run."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sources import PASSING, SEES_A_FORK
from tests.support.broker_server import BrokerServer, broker_server

FILES = 6


@pytest.fixture
def server() -> Iterator[BrokerServer]:
    with broker_server("user default on nopass ~* &* +@all") as server:
        yield server


def test_each_attempt_that_is_compared_runs_where_the_first_one_did(
    project: Project, server: BrokerServer
) -> None:
    env = {"PASSMUSTER_BROKER_URL": f"redis://127.0.0.1:{server.port}", "PASSMUSTER_SECRET": SECRET}
    project.write({f"tests/test_fresh_{number}.py": SEES_A_FORK for number in range(FILES)})
    project.write({f"tests/test_good_{number}.py": PASSING for number in range(FILES)})

    with Worker(project, "--name", "one", env=env) as first:
        first.wait_until_ready()
        with Worker(project, "--name", "two", env=env) as second:
            second.wait_until_ready()
            outcome = project.run(env=env)

    assert outcome.code == 0, str(outcome)
    ran_on: dict[str, list[str]] = {}
    for event in outcome.of_kind("file-finished"):
        ran_on.setdefault(str(event["label"]), []).append(str(event["worker"]))
        assert str(event["interpreter"]).startswith(f"CPython {platform.python_version()}, packages ")
    fresh = [workers for label, workers in ran_on.items() if "fresh" in label]
    assert [len(workers) for workers in fresh] == [4] * FILES
    assert all(len(set(workers)) == 1 for workers in ran_on.values()), ran_on
    findings = [
        event["finding"] for event in outcome.of_kind("file-settled") if "fresh" in str(event["label"])
    ]
    assert findings == ["fails-when-forked"] * FILES
    assert not [key for key in server.admin().scan_iter() if "@" in str(key)]
