"""What people see of runs on a broker from another terminal: `status`, and `--tail` of a running file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.queue_runs import SECRET, WORKER, Worker
from tests.e2e.support.sources import PASSING, script
from tests.support.broker_server import BrokerServer, broker_server

TALKS = script(
    """
    import itertools
    print('the first line', flush=True)
    open('talks_started', 'w').write('x')
    until = time.monotonic() + 60
    while not os.path.exists('go') and time.monotonic() < until:
        time.sleep(0.02)
    print('\\x1b[31mthe last line', flush=True)
    """
)


@pytest.fixture
def server() -> Iterator[BrokerServer]:
    with broker_server("user default on nopass ~* &* +@all") as server:
        yield server


@pytest.fixture
def env(server: BrokerServer) -> dict[str, str]:
    return {"PASSMUSTER_BROKER_URL": f"redis://127.0.0.1:{server.port}", "PASSMUSTER_SECRET": SECRET}


def test_a_run_in_progress_is_seen_from_elsewhere(
    project: Project, server: BrokerServer, env: dict[str, str]
) -> None:
    project.write({"tests/test_talks.py": TALKS, "tests/test_b.py": PASSING})
    with Worker(project, "--name", "build-7", "--metrics", "0", env=env) as worker:
        worker.wait_until_ready()
        running = project.start(env=env)
        running.wait_for_file("talks_started")

        shown = []

        def is_shown() -> bool:
            # A worker says what it runs every two seconds.
            shown.append(project.run("status", env=env, events=False))
            return "tests/test_talks.py" in shown[-1].stdout

        wait_until(is_shown, "the file is not shown")
        status = shown[-1]
        as_json = project.run("status", "--json", env=env, events=False)
        # What an autoscaler watches: the other file has finished, this one runs.
        wait_until(lambda: server.admin().llen("pm:demand") == 1, "the demand is not that of one file")
        url = re.search(r"^metrics: (http://127\.0\.0\.1:\d+/metrics)$", worker.log, re.MULTILINE)
        assert url is not None, worker.log
        with urllib.request.urlopen(url[1], timeout=30) as answer:
            metrics = answer.read().decode()
        health = subprocess.run(
            [sys.executable, "-P", WORKER, "health", "--name", "build-7"],
            env=project.environment(env),
            capture_output=True,
            text=True,
            check=False,
        )
        tail = project.start("--tail", "tests/test_talks.py", env=env, events=False)
        assert tail.process.stdout is not None
        first = tail.process.stdout.readline().decode()
        project.write({"go": "now"})
        followed = tail.end()
        outcome = running.end()
        after = project.run("status", env=env, events=False)

    assert outcome.code == 0, str(outcome)
    assert status.code == 0, str(status)
    assert "build-7" in status.stdout
    assert 'passmuster_worker_slots{worker="build-7"} 2.0' in metrics
    assert 'passmuster_worker_files_running{worker="build-7"} 1.0' in metrics
    # Once, or once more to verify a forked pass.
    assert re.search(r'^passmuster_worker_attempts_total{status="PASS",.*} [12]\.0$', metrics, re.MULTILINE)
    heartbeat = re.search(r"^passmuster_worker_heartbeat_timestamp_seconds\S+ (\S+)$", metrics, re.MULTILINE)
    assert heartbeat is not None
    assert time.time() - 60 < float(heartbeat[1]) <= time.time()
    assert (health.returncode, health.stdout) == (0, "healthy: build-7, 1 of 2 slots in use\n"), health.stderr
    run_id = str(outcome.of_kind("run-started")[0]["run_id"])
    assert len(json.loads(as_json.stdout)["runs"]) == 1
    assert run_id in as_json.stdout
    assert first == "the first line\n"
    assert followed.code == 0, str(followed)
    assert followed.stdout.splitlines()[-1].endswith("the last line")
    assert "\x1b" not in followed.stdout
    assert "runs on build-7; its output follows" in followed.stderr
    assert "tests/test_talks.py has finished" in followed.stderr
    # A worker's card may name the run for two seconds more.
    assert "\nRuns: 0\n" in after.stdout
    assert server.admin().llen("pm:demand") == 0


def test_what_cannot_be_followed_is_named(project: Project, env: dict[str, str]) -> None:
    project.write({"tests/test_b.py": PASSING})

    unknown = project.run("--tail", "tests/test_b.py", env=env, events=False)
    nowhere = project.run("--tail", "tests/test_b.py", events=False)

    assert unknown.code == 2, str(unknown)
    assert "no run on the broker has published a file 'tests/test_b.py'" in unknown.stderr
    assert nowhere.code == 2, str(nowhere)
    assert "no broker was given" in nowhere.stderr
