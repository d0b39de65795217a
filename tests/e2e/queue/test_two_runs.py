"""Two runs on the same workers: they share them, and stopping one is nothing to the other."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sources import script
from tests.support.broker_server import BrokerServer, broker_server

SHORT = script("open('order', 'a').write(os.path.basename(__file__) + ' ')\ntime.sleep(0.3)\n")
GATE = script(
    """
    open('order', 'a').write(os.path.basename(__file__) + ' ')
    while not os.path.exists('go'):
        time.sleep(0.01)
    """
)
"""Holds the worker's only slot until there is a file `go`."""

STUBBORN = script(
    """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open('stubborn_pid', 'w').write(str(os.getpid()))
    time.sleep(600)
    """
)


@pytest.fixture
def server() -> Iterator[BrokerServer]:
    with broker_server("user default on nopass ~* &* +@all") as server:
        yield server


@pytest.fixture
def env(server: BrokerServer) -> dict[str, str]:
    return {"PASSMUSTER_BROKER_URL": f"redis://127.0.0.1:{server.port}", "PASSMUSTER_SECRET": SECRET}


def test_they_take_turns(project: Project, env: dict[str, str], server: BrokerServer) -> None:
    project.write({f"{name}/test_{name}{number}.py": SHORT for name in "ab" for number in range(12)})
    project.write({"a/test_a0.py": GATE})
    with Worker(project, "--slots", "1", env=env) as worker, closing(redis.Redis(port=server.port)) as client:
        worker.wait_until_ready()
        first = project.start(*_files("a"), env=env)
        first.wait_for_file("order")
        second = project.start(*_files("b"), env=env)
        wait_until(lambda: _waiting_queues(client) == 2, "the second run's files are not in its queue")
        (project.root / "go").touch()
        outcomes = (first.end(), second.end())

    assert [outcome.code for outcome in outcomes] == [0, 0], str(outcomes)
    order = [name.removeprefix("test_")[0] for name in (project.root / "order").read_text().split()]
    # From the second run's first file on, until one of them has none left, they alternate.
    both = order[order.index("b") :]
    assert "aaa" not in "".join(both[: both.index("a") + 8]), order
    assert "bbb" not in "".join(both[:8]), order


def test_stopping_one_ends_its_processes_and_nothing_else(project: Project, env: dict[str, str]) -> None:
    project.write({"a/test_stubborn.py": STUBBORN, **{f"b/test_b{number}.py": SHORT for number in range(8)}})
    with Worker(project, env=env) as worker:
        worker.wait_until_ready()
        first = project.start("a/test_stubborn.py", env=env)
        pid = int(first.wait_for_file("stubborn_pid"))
        second = project.start(*_files("b", 8), env=env)
        second.wait_for_file("order")

        first.send(signal.SIGINT)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the file goes on")
        stopped, other = first.end(), second.end()

    assert stopped.code == 130, str(stopped)
    # Its worker ended it, and said so: nobody had to guess.
    assert stopped.final("a/test_stubborn.py").status == "CANCELLED"
    assert "returned no result" not in stopped.final("a/test_stubborn.py").error
    assert other.code == 0, str(other)
    assert set(other.statuses().values()) == {"PASS"}


def _waiting_queues(client: redis.Redis) -> int:
    """Return how many runs have files in their queues."""
    keys = [key for key in client.scan_iter("pm:pm.*") if client.type(key) == b"list"]
    return sum(bool(client.llen(key)) for key in keys)


def _files(name: str, count: int = 12) -> list[str]:
    return [f"{name}/test_{name}{number}.py" for number in range(count)]
