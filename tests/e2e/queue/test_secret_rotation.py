"""A secret is replaced on a real broker, while a run with the old one goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import Worker
from tests.e2e.support.sources import PASSING, script
from tests.support.broker_server import BrokerServer, broker_server

OLD, NEW = "the old secret of the tests", "the new secret of the tests"
HOLDS = script(
    """
    import pathlib
    here = pathlib.Path(__file__)
    here.with_suffix('.runs').write_text('x')
    while not here.with_suffix('.go').exists():
        time.sleep(0.01)
    """
)


@pytest.fixture
def server() -> Iterator[BrokerServer]:
    with broker_server("user default on nopass ~* &* +@all") as server:
        yield server


def test_runs_with_the_old_and_the_new_secret_go_on_while_one_replaces_the_other(
    project: Project, server: BrokerServer
) -> None:
    url = f"redis://127.0.0.1:{server.port}"

    def with_secret(secret: str) -> dict[str, str | None]:
        return {"PASSMUSTER_BROKER_URL": url, "PASSMUSTER_SECRET": secret}

    project.write({"a/test_holds.py": HOLDS, "a/test_then.py": PASSING, "b/test_b.py": PASSING})
    with Worker(project, "--slots", "1", "--name", "before", env=with_secret(OLD)) as before:
        before.wait_until_ready()
        first = project.start("a/test_holds.py", "a/test_then.py", env=with_secret(OLD))
        first.wait_for_file("a/test_holds.runs")
        # Two slots: one of them may be taken by the file that the first worker gives back.
        with Worker(project, "--slots", "2", "--name", "both", env=with_secret(f"{OLD}\n{NEW}")) as both:
            both.wait_until_ready()
            before.process.send_signal(signal.SIGTERM)
            second = project.run("b/test_b.py", env=with_secret(NEW))
            project.write({"a/test_holds.go": ""})
            outcome = first.end()
    with Worker(project, "--slots", "1", "--name", "after", env=with_secret(NEW)) as after:
        after.wait_until_ready()
        third = project.run("b/test_b.py", env=with_secret(NEW))

    assert second.statuses() == {"b/test_b.py": "PASS"}, str(second)
    assert set(outcome.statuses().values()) == {"PASS"}, str(outcome)
    assert third.statuses() == {"b/test_b.py": "PASS"}, str(third)
    assert "signature" not in after.log
