"""Servers that have loaded the initial conftests: created when it pays, and never older than the files."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, RunnerKind, Status
from passmuster.model.task import TestTask
from passmuster.model.test_selection import TestSelection
from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.workbench import Workbench, until
from worker.forkserver.server import PYTEST, ForkServer, Setup
from worker.forkserver.server_pool import ServerPool
from worker.forkserver.tree import ServerKey

HELD = ServerKey(base=PYTEST, session=True, conftests=True)

CONFTEST = "import helper, os\nMOOD = {mood!r}\nLOADED_BY = os.readlink('/proc/self')\n"
TEST = """
    import conftest, os
    def test_a():
        print(conftest.MOOD, conftest.helper.VALUE, conftest.LOADED_BY == os.readlink("/proc/self"))
"""
NAMES = [f"test_{number}.py" for number in range(4)]


class PytestBench(Workbench):
    """A bench whose files run by pytest."""

    def tasks(self) -> list[TestTask]:
        return [structs.replace(self.task(name), runner=RunnerKind.PYTEST) for name in NAMES]

    def load(self) -> ServerPool:
        """Have the conftests loaded, as a run of many files does."""
        fleet = self.executor._server_pool
        assert isinstance(fleet, ServerPool)
        fleet.probe(self.tasks())
        return fleet

    def shown(self) -> list[str]:
        """Run a file; return its mood, the value of its helper, and whether it loaded the conftest itself."""
        result: TestResult = self.run(self.tasks()[0])
        assert (result.status, result.isolation) == (Status.PASS, Isolation.FORK), result
        [line] = [line for line in result.output.splitlines() if line.endswith(("True", "False"))]
        return line.split()[-3:]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PytestBench]:
    monkeypatch.delenv("PASSMUSTER_ATTEMPT", raising=False)  # These tests may run by Passmuster themselves.
    bench = PytestBench(tmp_path, interpreter=str(PYTEST_PYTHON))
    bench.write("pytest.ini", "[pytest]\naddopts = -s\n")
    bench.write("conftest.py", CONFTEST.format(mood="fine"))
    bench.write("helper.py", "VALUE = 1\n")
    for name in NAMES:
        bench.write(name, TEST)
    yield bench
    bench.executor.close()


def test_files_are_forked_behind_the_conftests_once_they_are_loaded(bench: PytestBench) -> None:
    assert bench.shown() == ["fine", "1", "True"]

    bench.load()

    assert bench.shown() == ["fine", "1", "False"]


SEES = """
import gc, os, sys
SEEN = [os.environ.get("PYTEST_VERSION"), sys.argv[0], sys.modules["__main__"].__file__, gc.get_threshold()]
LOADED_BY = os.readlink("/proc/self")
gc.disable()
"""
SHOWS = """
import conftest, gc, os
def test_a():
    print("seen:", conftest.SEEN, gc.isenabled())
    print("loaded by itself:", conftest.LOADED_BY == os.readlink("/proc/self"))
"""


def test_a_conftest_sees_the_same_in_a_server_as_in_the_process_of_a_file(bench: PytestBench) -> None:
    bench.write("conftest.py", SEES)
    bench.write(NAMES[0], SHOWS)
    bench.load()

    forked = bench.run(bench.tasks()[0])
    spawned = bench.run(structs.replace(bench.tasks()[0], isolation=Isolation.SPAWN))

    assert ("loaded by itself: False" in forked.output, "loaded by itself: True" in spawned.output) == (
        True,
        True,
    )
    [seen], [expected] = (
        [line for line in each.output.splitlines() if "seen: " in line] for each in (forked, spawned)
    )
    assert seen == expected


def test_conftests_are_configured_with_the_expressions_of_a_selection(bench: PytestBench) -> None:
    bench.write("conftest.py", "def pytest_configure(config): config.selected = config.option.keyword\n")
    bench.write(NAMES[0], "def test_a(request): assert request.config.selected == 'a or b'\n")
    fleet = bench.load()
    assert HELD in fleet._tree.servers

    result = bench.run(structs.replace(bench.tasks()[0], selection=TestSelection(keyword="a or b")))

    assert (result.status, result.isolation) == (Status.PASS, Isolation.FORK), result


@pytest.mark.parametrize("changed", ["conftest.py", "helper.py"])
def test_a_file_of_the_project_that_changes_makes_its_server_unusable(
    bench: PytestBench, changed: str
) -> None:
    bench.load()
    assert bench.shown() == ["fine", "1", "False"]

    texts = {"conftest.py": CONFTEST.format(mood="changed"), "helper.py": "VALUE = 'changed'\n"}
    bench.write(changed, texts[changed])
    mood, value, _ = bench.shown()
    assert "changed" in (mood, value)

    bench.load()
    mood, value, is_own = bench.shown()
    assert ("changed" in (mood, value), is_own) == (True, "False")


def test_a_file_runs_on_when_another_server_takes_the_place_of_its_own(bench: PytestBench) -> None:
    waiting = "def test_a():\n    import pathlib, time\n    pathlib.Path('ready').touch()\n"
    waiting += "    while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
    bench.write(NAMES[1], waiting)
    bench.load()
    started = bench.start(bench.tasks()[1])
    until((bench.root / "ready").exists, "the file runs")

    bench.write("conftest.py", CONFTEST.format(mood="changed"))
    assert bench.shown()[0] == "changed"
    bench.load()
    assert bench.shown() == ["changed", "1", "False"]
    (bench.root / "go").touch()

    result = started.result()
    assert (result.status, result.isolation) == (Status.PASS, Isolation.FORK), result


@pytest.mark.parametrize(("act", "reason"), [("os._exit(3)", "ends the process"), ("time.sleep(600)", "1 s")])
def test_a_conftest_that_ends_or_stops_its_server_is_loaded_by_each_file(
    bench: PytestBench, monkeypatch: pytest.MonkeyPatch, act: str, reason: str
) -> None:
    hostile = f"import os, sys, time\nif not os.environ.get('PASSMUSTER_ATTEMPT'):\n    {act}\n"
    bench.write("conftest.py", CONFTEST.format(mood="fine") + hostile)
    bench.shown()  # The servers below are there: the limit is for the conftest alone.
    monkeypatch.setattr("worker.forkserver.server.IMPORT_WAIT_S", 1.0)

    fleet = bench.load()

    assert reason in fleet.why_no_conftests()
    assert HELD not in fleet._tree.servers
    assert bench.shown() == ["fine", "1", "True"]


def test_what_a_probe_has_found_is_known_in_the_next_run_until_a_file_changes(
    bench: PytestBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probes: list[Setup] = []
    derive = ForkServer.derive

    def derive_noted(server: ForkServer, setup: Setup, given_up: threading.Event) -> ForkServer:
        probes.extend([setup] if setup.probe and setup.conftests else [])
        return derive(server, setup, given_up)

    def load_again() -> tuple[str, int]:
        probes.clear()
        bench.use(structs.replace(bench.settings, state_dir=tmp_path))
        return bench.load().why_no_conftests(), len(probes)

    monkeypatch.setattr(ForkServer, "derive", derive_noted)
    assert [load_again(), load_again()] == [("", 1), ("", 0)]
    assert bench.shown() == ["fine", "1", "False"]

    bench.write("helper.py", "import time\nVALUE = time.time()\n")
    reason = "reads the clock in helper.py:2"
    assert [load_again(), load_again()] == [(reason, 1), (reason, 0)]
    assert bench.shown()[2] == "True"

    bench.write("helper.py", "VALUE = 'again'\n")
    assert [load_again(), load_again()] == [("", 1), ("", 0)]

    bench.write("pytest.ini", "[pytest]\naddopts = -s -v\n")
    assert [load_again(), load_again()] == [("", 1), ("", 0)]

    (bench.root / "pytest.ini").unlink()
    assert [load_again(), load_again()] == [("", 1), ("", 0)]

    bench.write("pytest.ini", "[pytest]\naddopts = -s\n")
    assert load_again() == ("", 1)


def test_an_import_that_differs_between_probe_and_server_keeps_the_server_from_use(
    bench: PytestBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    derive = ForkServer.derive

    def derive_and_change(server: ForkServer, setup: Setup, given_up: threading.Event) -> ForkServer:
        made = derive(server, setup, given_up)
        bench.write("weather.txt", "bad" if setup.probe else "good")
        return made

    monkeypatch.setattr(ForkServer, "derive", derive_and_change)
    signals = "import signal\nif open('weather.txt').read() == 'bad': signal.signal(signal.SIGUSR2, print)\n"
    bench.write("weather.txt", "good")
    bench.write("conftest.py", CONFTEST.format(mood="fine") + signals)

    fleet = bench.load()

    assert "changes the handler of signal 12" in fleet.why_no_conftests()
    assert HELD not in fleet._tree.servers


def test_a_change_of_the_configuration_makes_another_session(bench: PytestBench) -> None:
    bench.load()
    bench.write("pytest.ini", "[pytest]\naddopts = -s --tb=no\n")
    bench.write(NAMES[0], "def test_a(pytestconfig): assert pytestconfig.option.tbstyle == 'no'\n")

    result = bench.run(bench.tasks()[0])

    assert (result.status, result.isolation) == (Status.PASS, Isolation.FORK), result


def test_a_conftest_that_only_its_configuration_keeps_out_of_a_server_is_executed_there(
    bench: PytestBench,
) -> None:
    slow = "sum(range(2_000_000))\n"
    hook = "def pytest_configure(config): config.child = os.fork() or os._exit(0)\n"
    bench.write("conftest.py", CONFTEST.format(mood="fine") + slow + hook)
    bench.write("helper.py", "VALUE = 1\n" + slow)
    configured = "def test_b(request): assert request.config.child\n"
    for name in NAMES:
        bench.write(name, "import other" + textwrap.dedent(TEST) + configured)
    bench.write("other.py", slow)

    fleet = bench.load()

    assert fleet.why_no_conftests() == "forks in conftest.py:5"
    [chosen] = fleet._advisor.choices()[PYTEST].sets
    assert chosen.modules == ("helper", "/conftest.py")
    assert bench.shown() == ["fine", "1", "False"]


def test_no_conftest_is_no_reason_for_a_server(bench: PytestBench) -> None:
    (bench.root / "conftest.py").unlink()

    fleet = bench.load()

    assert HELD not in fleet._tree.servers
    assert fleet.why_no_conftests() == ""


def test_under_coverage_each_file_loads_the_conftests_where_they_are_measured(
    bench: PytestBench, tmp_path: Path
) -> None:
    bench.use(structs.replace(bench.settings, coverage_dir=tmp_path))

    assert HELD not in bench.load()._tree.servers
