"""A run over a broker that works, with nobody to run it, no room left, or results of any size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from passmuster.wire.broker_messages import WorkerStatus
from passmuster.wire.run_store import WorkerDirectory, connect
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, Worker
from tests.e2e.support.sources import PASSING, script
from tests.support.broker_server import BrokerServer, broker_server
from tests.support.pytest_environment import PYTEST_ENVIRONMENT


@pytest.fixture
def server() -> Iterator[BrokerServer]:
    with broker_server("user default on nopass ~* &* +@all") as server:
        yield server


@pytest.fixture
def env(server: BrokerServer) -> dict[str, str]:
    return {"PASSMUSTER_BROKER_URL": f"redis://127.0.0.1:{server.port}", "PASSMUSTER_SECRET": SECRET}


def test_without_a_worker_it_says_how_to_start_one(project: Project, env: dict[str, str]) -> None:
    project.write({"tests/test_a.py": PASSING})

    outcome = project.run("--worker-timeout", "1s", env=env)

    assert outcome.code == 3, str(outcome)
    assert "no worker was there for 1 s: start one with run-tests-worker" in outcome.stderr.splitlines()[-1]


def test_a_worker_of_another_version_does_not_count(project: Project, env: dict[str, str]) -> None:
    project.write({"tests/test_a.py": PASSING})
    client = connect(env["PASSMUSTER_BROKER_URL"], timeout_s=5)
    WorkerDirectory(client).publish(
        WorkerStatus(name="old", host="h", slots=1, busy=0, budget_bytes=1 << 30, version="0.0.1")
    )

    outcome = project.run("--worker-timeout", "1s", env=env)
    client.close()

    assert outcome.code == 3, str(outcome)
    assert "old: it has version 0.0.1 of Passmuster" in outcome.stderr.splitlines()[-1]


def test_a_worker_with_another_secret_is_named(project: Project, env: dict[str, str]) -> None:
    project.write({"tests/test_a.py": PASSING})

    with Worker(project, env={**env, "PASSMUSTER_SECRET": "another"}) as worker:
        worker.wait_until_ready()
        outcome = project.run("--worker-timeout", "3s", env=env)

    assert outcome.code == 3, str(outcome)
    (line, *_) = [line for line in outcome.stderr.splitlines() if "no worker can serve this run" in line]
    assert "secret" in line
    assert "wrong signature" in worker.log


def test_a_broker_and_a_cluster_are_too_much(project: Project, env: dict[str, str]) -> None:
    outcome = project.run("--cluster", "2", env=env)

    assert outcome.code == 2, str(outcome)
    (line,) = outcome.stderr.splitlines()
    assert "leave out one" in line


def test_a_broker_in_reach_of_others_needs_a_secret(project: Project) -> None:
    env = {"PASSMUSTER_BROKER_URL": "redis://queue.example:6379", "PASSMUSTER_SECRET": None}
    project.write({"tests/test_a.py": PASSING})

    with Worker(project, env=env) as worker:
        outcome = project.run(env=env)
        code, log = worker.wait()

    assert (outcome.code, code) == (2, 2)
    for text in (outcome.stderr, log):
        (line,) = text.splitlines()
        assert "there is no secret: set PASSMUSTER_SECRET" in line


def test_much_output_comes_whole(project: Project, env: dict[str, str]) -> None:
    body = "line = 'x' * 99 + '\\n'\nfor _ in range(500_000): sys.stdout.write(line)"
    project.write({"tests/test_a.py": script(body)})

    with Worker(project, env=env) as worker:
        worker.wait_until_ready()
        outcome = project.run("--output-limit", "64MiB", "--timeout", "50s", env=env)

    assert outcome.code == 0, outcome.stdout[-2000:]
    assert outcome.finished()[-1].output_dropped_bytes == 0


def test_a_broker_without_room_is_waited_for(
    project: Project, server: BrokerServer, env: dict[str, str]
) -> None:
    body = "open('is_running', 'w').write('yes')\nwhile not os.path.exists('go_on'): time.sleep(0.01)"
    project.write({"tests/test_a.py": script(body), "tests/test_b.py": PASSING, "tests/test_c.py": PASSING})
    admin = server.admin()

    with Worker(project, "--slots", "1", env=env) as worker:
        worker.wait_until_ready()
        running = project.start("--run-timeout", "50s", env=env)
        running.wait_for_file("is_running")
        admin.config_set("maxmemory", "1")
        wait_until(lambda: "the broker is unavailable" in worker.log, "the worker says that it cannot go on")
        wait_until(lambda: "broker unavailable" in running.events.read_text(), "the command says it, too")
        (project.root / "go_on").touch()
        admin.config_set("maxmemory", "0")
        outcome = running.end()
        worker.end()

    assert outcome.code == 0, f"{outcome}\n{worker.log}"
    assert set(outcome.statuses().values()) == {"PASS"}
    assert "broker unavailable: " in outcome.stdout + outcome.stderr


def test_workers_with_other_packages_are_refused_where_the_user_says_so(
    project: Project, env: dict[str, str]
) -> None:
    project.write({"tests/test_a.py": script("while not os.path.exists('never'):\n    time.sleep(0.01)\n")})
    with_packages = ("--python", str(PYTEST_ENVIRONMENT / "bin" / "python"), "--name", "with-packages")

    with Worker(project, "--name", "bare", env=env) as first:
        first.wait_until_ready()
        with Worker(project, *with_packages, env=env) as second:
            wait_until(lambda: second.log.count("ready: ") == 2, "both are ready")
            outcome = project.run("--mixed-workers", "refuse", "--grace-period", "1s", env=env)

    assert outcome.code == 3, str(outcome)
    said = outcome.stdout + outcome.stderr
    assert "the workers differ, so a file's result may depend on where it runs: bare has CPython" in said
    assert "make them the same, or allow it by --mixed-workers warn" in said
