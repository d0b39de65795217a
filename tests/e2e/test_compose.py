"""The compose file for real: three containers of workers, one of them killed, one file too large for any."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome, read_events
from tests.support.compose import REPOSITORY, Compose, why_no_engine

WHY_NOT = why_no_engine()
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT), pytest.mark.timeout(600)]

DEADLINE_S = 150.0
"""Seconds after which something has not happened: a few times what it takes beside other tests."""
WORKER_BYTES = 768 << 20

HELD = """\
# Leaves word of the container it runs in, and ends when it is allowed to.
import os
import pathlib
import socket
import time
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "out"


class Held(unittest.TestCase):
    def test_is_let_go(self):
        FOLDER.joinpath("%s.%d.held" % (socket.gethostname(), time.time_ns())).touch()
        deadline = time.monotonic() + 200
        while not FOLDER.joinpath("go").exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
"""

TOO_LARGE = """\
import unittest


class TooLarge(unittest.TestCase):
    def test_takes_more_than_a_container_has(self):
        self.assertTrue(bytearray(b"x") * (3 << 30))
"""

LARGE = """\
import os
import time
import unittest


class Large(unittest.TestCase):
    def test_takes_memory_and_time_and_writes(self):
        taken = bytearray(b"x") * (150 << 20)
        time.sleep(0.5)
        for name in ("TMPDIR", "HOME"):
            with open(os.path.join(os.environ[name], "written"), "w") as file:
                file.write("x" * 4096)
        self.assertEqual(len(taken), 150 << 20)
        self.assertEqual([name for name in os.environ if "SECRET" in name or "BROKER" in name], [])
"""


def until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"
        time.sleep(0.1)


def queues_on(page: str) -> set[str]:
    """Return the queues on Flower's page about the broker."""
    with urllib.request.urlopen(page, timeout=10) as answer:
        return set(re.findall(r"\bpm\.\w+", answer.read().decode()))


def copy_shop(folder: Path) -> Path:
    """Copy the example, without its limits, for users of containers to write into."""
    ignored = shutil.ignore_patterns(".passmuster", "__pycache__", "pyproject.toml")
    shutil.copytree(REPOSITORY / "examples" / "shop", folder, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_shop(tmp_path_factory.mktemp("compose") / "shop")
    # What is written while a run goes on must not be part of the tree that workers compare.
    (folder / "out").mkdir()
    (folder / "out" / "CACHEDIR.TAG").touch()
    (folder / "tests" / "test_held.py").write_text(HELD)
    (folder / "tests" / "test_too_large.py").write_text(TOO_LARGE)
    for number in range(6):
        (folder / "tests" / f"test_large_{number}.py").write_text(LARGE)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    # Under git, as projects are: the image has none, so that workers compare files instead of commits.
    git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "shop", "tests"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    return folder


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[Compose]:
    settings = {"PROJECT": str(project), "WORKER_MEMORY": str(WORKER_BYTES), "WORKER_CPUS": "1.5"}
    made = Compose(tmp_path_factory.mktemp("secrets") / "checkout", **settings)
    try:
        # One after the other: the older builder makes what both share only once then.
        made.call("build", "worker")
        made.call("build", "flower")
        made.call("up", "--detach", "--scale", "worker=3", "worker", "flower")
        until(lambda: made.call("logs", "worker").count(" ready: ") == 3, "all workers are ready")
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def queues_in_flower() -> set[str]:
    """The queues that Flower showed while the run was held."""
    return set()


@pytest.fixture(scope="module")
def outcome(compose: Compose, project: Path, queues_in_flower: set[str]) -> Outcome:
    """A run that lost the worker of the file by which it was held."""
    written = ("--events", "/project/out/events.jsonl", "--metrics-file", "/project/out/run.prom")
    command = ("./run_tests.py", *written)
    run = compose.start("run", "--rm", "--no-TTY", "dispatcher", *command)
    out = project / "out"
    try:
        until(lambda: any(out.glob("*.held")) or run.poll() is not None, "the file runs")
        assert run.poll() is None, run.communicate()[0]
        [first] = out.glob("*.held")
        # All at once and without warning, as the kernel does; the container's own first process notices.
        container = first.name.partition(".")[0]
        subprocess.run(
            ["docker", "exec", container, "sh", "-c", "kill -9 -1"], check=False, env=compose.environ
        )
        until(lambda: len(list(out.glob("*.held"))) > 1, "the file runs elsewhere")
        page = f"http://{compose.place('flower', 5555)}/broker"
        until(lambda: queues_on(page) > {"pm.idle"}, "Flower shows the run's queue")
        queues_in_flower.update(queues_on(page))
        (out / "go").touch()
        output, _ = run.communicate(timeout=DEADLINE_S)
    finally:
        run.kill()
        run.communicate()
    return Outcome(
        command=command,
        code=run.returncode,
        stdout=output,
        stderr="",
        events=read_events(project / "out" / "events.jsonl"),
    )


def test_every_file_has_its_result_although_a_worker_was_killed(outcome: Outcome, project: Path) -> None:
    names = {path.relative_to(project).as_posix() for path in project.glob("tests/test_*.py")}
    statuses = outcome.statuses()

    assert statuses.keys() == names, outcome
    assert {name for name in names if statuses[name] != "PASS"} == {"tests/test_too_large.py"}, outcome
    assert outcome.code == 1, outcome


@pytest.mark.usefixtures("outcome")
def test_the_image_exports_metrics_which_count_the_lost_worker(project: Path) -> None:
    metrics = (project / "out" / "run.prom").read_text()

    # Perhaps one more: see the next test.
    assert re.search(r"^passmuster_run_workers_lost_total\S+ [1-9]", metrics, re.MULTILINE), metrics


def test_a_file_that_is_too_large_for_its_container_is_found_out(outcome: Outcome) -> None:
    # MEMORY from its worker; or the kernel was quicker, and killed the file, or its worker thrice.
    assert outcome.statuses()["tests/test_too_large.py"] in ("MEMORY", "CRASH"), outcome


def test_files_ran_on_all_workers_at_once(outcome: Outcome) -> None:
    assert "[INFO] Workers: 6 at once (3 worker(s) at redis://redis:6379/0)" in outcome.stdout, outcome


@pytest.mark.usefixtures("outcome")
def test_a_killed_worker_is_there_again_and_all_are_well(compose: Compose) -> None:
    workers = compose.containers("worker")

    until(
        lambda: all(compose.inspect(worker, "{{.State.Health.Status}}") == "healthy" for worker in workers),
        "all workers are well",
    )
    assert sorted(compose.inspect(worker, "{{.RestartCount}}") for worker in workers) == ["0", "0", "1"]


@pytest.mark.usefixtures("outcome")
def test_limits_became_slots_and_a_budget(compose: Compose) -> None:
    log = compose.call("logs", "worker")

    assert "slots: 2 (2 CPUs (" in log, log
    assert "768 MiB (cgroup v" in log, log
    assert "memory budget: 576 MiB (asked for as 75%)" in log, log


def run_outside(compose: Compose, python_home: Path, project: Path, *words: str) -> str:
    """Run the command on this machine, over the containers' broker; return what it printed."""
    place = compose.place("redis", 6379)
    assert place.startswith("127.0.0.1:")
    command = [
        *(sys.executable, str(REPOSITORY / "run_tests.py"), "--root", str(project)),
        *("--python", str(python_home / "bin" / "python"), "--broker", f"redis://{place}/0"),
        *("--secret-file", str(compose.secrets / "passmuster_secret")),
        *("--broker-password-file", str(compose.secrets / "redis_password"), *words),
    ]
    ended = subprocess.run(
        command,
        env=compose.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.usefixtures("outcome")
def test_it_is_used_from_outside_too(compose: Compose, bare_environment: Path, project: Path) -> None:
    output = run_outside(compose, bare_environment, project, "tests/test_money.py", "tests/test_held.py")

    assert "2/2 files passed" in output, output


@pytest.mark.usefixtures("outcome")
def test_files_that_the_containers_do_not_have_are_sent(
    compose: Compose, bare_environment: Path, tmp_path: Path
) -> None:
    output = run_outside(compose, bare_environment, copy_shop(tmp_path / "shop"), "--ship")

    assert "14/14 files passed" in output, output


@pytest.mark.usefixtures("outcome")
def test_flower_shows_how_much_a_run_still_has_to_do(queues_in_flower: set[str]) -> None:
    assert len(queues_in_flower - {"pm.idle"}) == 1


@pytest.mark.usefixtures("outcome")
def test_no_secret_can_be_seen_from_outside_a_container(compose: Compose) -> None:
    seen = compose.docker("inspect", *compose.containers()) + compose.call("top") + compose.call("logs")

    for secret in compose.secrets.iterdir():
        assert secret.read_text().strip() not in seen, secret.name


@pytest.mark.usefixtures("outcome")
def test_without_the_password_there_is_no_access_and_with_it_none_to_the_server(compose: Compose) -> None:
    ask = "exec", "--no-TTY", "redis"
    password = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli"

    assert "NOAUTH" in compose.call(*ask, "redis-cli", "PING")
    assert "PONG" in compose.call(*ask, "sh", "-c", f"{password} PING")
    for command in ("CONFIG GET '*'", "FLUSHALL", "SHUTDOWN", "KEYS '*'", "SET other 1"):
        assert "NOPERM" in compose.call(*ask, "sh", "-c", f"{password} {command}"), command


@pytest.mark.usefixtures("outcome")
def test_workers_end_when_they_are_asked_to(compose: Compose) -> None:
    compose.call("stop", "worker")

    ends = {compose.inspect(worker, "{{.State.ExitCode}}") for worker in compose.containers("worker")}
    assert ends == {"0"}


def test_a_project_may_be_part_of_the_image(compose: Compose, tmp_path: Path) -> None:
    copy_shop(tmp_path / "image" / "shop")
    recipe = f"FROM {compose.name}\nCOPY shop /project\n"
    (tmp_path / "image" / "Dockerfile").write_text(recipe)
    whole = Compose(tmp_path / "checkout", "docker/built-in.yml")
    try:
        whole.docker("build", "--tag", whole.name, str(tmp_path / "image"))
        whole.call("up", "--detach", "worker")
        output = whole.call("run", "--rm", "--no-TTY", "dispatcher", "./run_tests.py")
    finally:
        whole.close()

    assert "14/14 files passed" in output, output
