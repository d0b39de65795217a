"""What lies on each machine after a run that several joined: coverage of all, and a worker that died once."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import closing

from passmuster.wire.run_store import WorkerDirectory, connect
from tests.e2e.support.joined import FAILS_UNTIL_MENDED, Machines, counted, ends, kill, leader_of, waits
from tests.e2e.support.outcome import Outcome
from tests.e2e.support.processes import processes_with, wait_until
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

Make = Callable[[int], Machines]

LIBRARY = "".join(f"def part_{number}():\n    return {number}\n\n\n" for number in range(4))
USERS = {
    f"tests/test_{number}.py": counted(f"test_{number}", f"import library; library.part_{number}()")
    for number in range(4)
}
COVERED = {"library.py": LIBRARY, "tests/__init__.py": "", ".coveragerc": "[run]\ninclude = library.py\n"}
PYTHON = str(PYTEST_ENVIRONMENT)


def total(outcome: Outcome) -> str:
    """Return what a machine printed of the coverage, which is the library's."""
    (found,) = re.findall(r"^Overall Coverage: (\d+%)", outcome.stdout, re.MULTILINE)
    return str(found)


def test_coverage_is_that_of_all_files_on_every_machine_and_in_every_round(machines: Make) -> None:
    two = machines(2)
    two.write({**COVERED, **USERS, "tests/test_fails.py": FAILS_UNTIL_MENDED})
    words = ("--coverage", "--coverage-dir", "cov", "--coverage-xml", "coverage.xml")

    def run(attempt: str) -> dict[int, Outcome]:
        return ends(
            {
                number: two.start(
                    number, *words, PASSMUSTER_ATTEMPT=attempt, VIRTUAL_ENV=PYTHON, PYTHONPATH="."
                )
                for number in range(2)
            }
        )

    first = run("1")
    two.tell("mended")
    second = run("2")

    assert [outcome.code for outcome in first.values()] == [1, 1], str(first)
    assert [outcome.code for outcome in second.values()] == [0, 0], str(second)
    for outcome in (*first.values(), *second.values()):
        assert total(outcome) == "100%", str(outcome)
    for project in two.projects:
        assert 'line-rate="1"' in (project.root / "coverage.xml").read_text()
        assert (project.root / "cov" / "index.html").is_file()


def test_every_machine_has_the_page_of_all_files(machines: Make) -> None:
    two = machines(2)
    two.write(USERS | {"library.py": LIBRARY})

    outcomes = ends({number: two.start(number, "--report", "html", PYTHONPATH=".") for number in range(2)})

    for number, outcome in outcomes.items():
        assert outcome.code == 0, str(outcome)
        (page,) = two.projects[number].root.glob(".passmuster/runs/*/report.html")
        assert all(name in page.read_text() for name in USERS), str(outcome)


def test_coverage_outlives_the_leader_that_collected_it(machines: Make) -> None:
    two = machines(2)
    two.write({**COVERED, **USERS, "tests/test_slow.py": waits("test_slow")})
    words = ("--coverage", "--coverage-dir", "cov", "--isolation", "spawn")
    running = {number: two.start(number, *words, VIRTUAL_ENV=PYTHON, PYTHONPATH=".") for number in range(2)}
    first = leader_of(running)
    two.wait_for("test_slow.waits")
    wait_until(lambda: ended(running[first].events.read_text()) == 4, "the others do not end", within_s=60)

    kill(running.pop(first))
    assert leader_of(running) == 1 - first
    two.tell("go")
    outcome = ends(running)[1 - first]

    assert outcome.code == 0, str(outcome)
    assert total(outcome) == "100%", str(outcome)
    assert [two.runs_of(f"test_{number}") for number in range(4)] == [1, 1, 1, 1]


def ended(events: str) -> int:
    """Return how many attempts have ended."""
    return events.count('"event": "file-finished"') + events.count('"event":"file-finished"')


def test_a_worker_that_dies_is_replaced(machines: Make) -> None:
    one = machines(1)
    one.write({"tests/test_slow.py": waits("test_slow")})
    running = one.start(0)
    one.wait_for("test_slow.waits")
    with closing(connect(one.url, timeout_s=5)) as client:
        (name,) = [card.name for card in WorkerDirectory(client).statuses()]
    (worker,) = [line for line in processes_with(f"--name\0{name}\0") if "__main__.py" in line]

    os.kill(int(worker.partition(":")[0]), signal.SIGKILL)
    one.projects[0].may_leave_tmp = True
    one.tell("go")
    outcome = ends({0: running})[0]

    assert outcome.code == 0, str(outcome)
    assert outcome.statuses() == {"tests/test_slow.py": "PASS"}
    assert "the worker of this machine ended with status -9" in outcome.stderr
    assert "starting another one" in outcome.stderr
