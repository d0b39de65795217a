"""A run over a broker and workers of its own: the same as without, whatever happens to them."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script
from tests.e2e.support.unprivileged import UNPRIVILEGED
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

NUMBER_OF_FILES = 8

FILES = {
    **{f"tests/test_{number}.py": PASSING for number in range(NUMBER_OF_FILES)},
    "tests/test_bad.py": FAILING,
    "tests/test_crash.py": script("os.abort()\n"),
    "tests/test_empty.py": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n",
    "tests/test_quits.py": script("os._exit(7)\n"),
    "tests/test_loud.py": script("print('line\\n' * 1000)\n"),
}
WAITS = script(
    """
    name = os.path.basename(__file__)
    open(name + '.started', 'a').write(f'{os.getppid()} ')
    until = time.monotonic() + 60
    while not os.path.exists('go') and time.monotonic() < until:
        time.sleep(0.02)
    """
)


def worker_pids(project: Project) -> list[int]:
    """Return the worker processes of the project's calls."""
    found = []
    for line in project.processes():
        match = re.match(r"(\d+)", line)
        if match and "worker/__main__.py" in Path(f"/proc/{match[1]}/cmdline").read_text().replace("\0", " "):
            found.append(int(match[1]))
    return found


def summary(outcome: Outcome) -> list[str]:
    """Return the counts of the summary."""
    return [
        line for line in outcome.lines if re.match(r"  (Total tests|Passed|Failed|Of the|Tests in)", line)
    ]


def details(outcome: Outcome) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return what each file printed, without times and addresses, and its cases with their outcomes."""
    return {
        one.label: (
            re.sub(r"in [0-9.]+s|0x[0-9a-f]+", "", one.output),
            [(case.case_id, case.outcome) for case in one.cases],
        )
        for one in outcome.finished()
        if one.is_verdict
    }


def test_the_results_are_those_of_a_run_without(project: Project) -> None:
    project.write(FILES)

    here = project.run("--no-history", "--junit-xml", "here.xml")
    there = project.run("--no-history", "--junit-xml", "there.xml", "--cluster", "2")

    assert there.code == here.code == 1, str(there)
    assert there.statuses() == here.statuses()
    assert summary(there) == summary(here)
    assert details(there) == details(here)


def test_coverage_is_the_same(project: Project) -> None:
    env = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)}
    project.write(
        {
            "shop.py": "def price(n):\n    if n > 10:\n        return n - 1\n    return n\n",
            "tests/test_a.py": "import shop\ndef test_a(): shop.price(1)\n",
            "tests/test_b.py": "import shop\ndef test_b(): shop.price(11)\n",
            "conftest.py": "",
            "tests/test_c.py": "def test_c(): pass\n",
        }
    )

    def covered(*arguments: str) -> str:
        outcome = project.run(
            *("--coverage", "--coverage-source", "shop", "--coverage-dir", "reports", "--no-history"),
            *arguments,
            env=env,
        )
        assert outcome.code == 0, str(outcome)
        return (project.root / "reports" / "coverage_report.txt").read_text()

    assert covered() == covered("--cluster", "2")


def test_a_killed_worker_loses_nothing(project: Project) -> None:
    project.may_leave_tmp = True  # A killed worker cannot remove anything.
    project.write({**FILES, "tests/test_waits.py": WAITS})
    running = project.start("--no-history", "--cluster", "2", "-j", "2", "tests/test_waits.py", "tests")
    first = running.wait_for_file("test_waits.py.started")

    # The supervisor is the file's parent, and the worker the supervisor's or its server's.
    killed = _worker_above(int(first.split()[0]))
    os.kill(killed, signal.SIGKILL)
    project.write({"go": "now"})
    outcome = running.end()

    assert outcome.code == 1, str(outcome)
    assert outcome.statuses()["tests/test_waits.py"] == "PASS"
    assert outcome.statuses()["tests/test_bad.py"] == "FAIL"
    assert len(outcome.statuses()) == len(FILES) + 1
    assert len((project.root / "test_waits.py.started").read_text().split()) >= 2
    assert re.search(r"worker worker-\d disappeared while it ran tests/test_waits.py", outcome.stderr)


def test_ctrl_c_leaves_nothing_behind(project: Project) -> None:
    project.write(
        {"tests/test_a_waits.py": WAITS, "tests/test_b_waits.py": WAITS, "tests/test_c.py": PASSING}
    )
    running = project.start("--no-history", "--cluster", "2", "-j", "2")
    running.wait_for_file("test_a_waits.py.started")

    running.send(signal.SIGINT)
    outcome = running.end()

    assert outcome.code == 130, str(outcome)
    assert project.processes() == []


def test_a_killed_dispatcher_leaves_neither_a_process_nor_its_folder(project: Project) -> None:
    project.may_leave_tmp = True
    project.write({"tests/test_a_waits.py": WAITS})
    running = project.start("--no-history", "--cluster", "1")
    running.wait_for_file("test_a_waits.py.started")

    running.send(signal.SIGKILL)
    running.end()

    wait_until(lambda: project.processes() == [], "a process is left")
    assert [name for name in project.left_in_tmp() if name.startswith("pm-cluster-")] == []


def test_nobody_sees_the_password_or_the_secret(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": script(
                """
                print(sorted(name for name in os.environ if 'BROKER' in name or 'SECRET' in name))
                for name in os.listdir('/proc'):
                    try:
                        words = open(f'/proc/{name}/cmdline').read()
                        environ = open(f'/proc/{name}/environ').read()
                    except OSError:
                        continue
                    if os.environ['HOME'] not in environ:
                        continue
                    if 'redis://' in words or 'requirepass' in words:
                        print('seen in', words)
                """
            )
        }
    )

    outcome = project.run("--no-history", "--cluster", "1")

    assert outcome.code == 0, str(outcome)
    assert outcome.final("tests/test_a.py").output == "[]\n"
    assert "@" not in "".join(line for line in outcome.lines if "redis://" in line)


def test_a_test_cannot_read_them_from_the_processes_and_files_around_it(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": script(
                """
                import pathlib, tempfile
                places = list(pathlib.Path('/proc').glob('[0-9]*/environ'))
                places += pathlib.Path(tempfile.gettempdir()).parent.parent.glob('pm-*/**/*')
                read = set()
                for place in places:
                    try:
                        text = place.read_bytes()
                    except OSError:
                        continue
                    if b'redis://:' in text or b'requirepass' in text or b'PASSMUSTER_SECRET' in text:
                        print('seen in', place)
                    read.add(place.name)
                print(sorted(read & {'environ', 'server.log', 'worker-1.log'}))
                """
            )
        }
    )

    outcome = project.run("--no-history", "--cluster", "1", prefix=UNPRIVILEGED)

    assert outcome.code == 0, str(outcome)
    assert outcome.final("tests/test_a.py").output == "['environ', 'server.log', 'worker-1.log']\n"


def test_a_broker_of_ones_own_and_a_cluster_exclude_each_other(project: Project) -> None:
    project.write({"tests/test_a.py": PASSING})

    outcome = project.run("--cluster", "1", env={"PASSMUSTER_BROKER_URL": "redis://:hidden@localhost:1/0"})

    assert outcome.code == 2
    assert "leave out one of them, or give --broker none" in outcome.stderr
    shown = project.run("--show-config", env={"PASSMUSTER_BROKER_URL": "redis://:hidden@localhost:1/0"})
    assert "redis://localhost:1/0" in shown.stdout
    assert "hidden" not in shown.stdout + outcome.stderr


def _worker_above(pid: int) -> int:
    """Return the worker that a process descends from."""
    while pid > 1:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if any(word.endswith("worker/__main__.py") for word in words):
            return pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    pytest.fail(f"no worker above {sys.argv}")
