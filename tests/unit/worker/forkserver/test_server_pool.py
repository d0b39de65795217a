"""Files are forked where that changes nothing, whatever becomes of servers and supervisors meanwhile."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.errors import InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, RunnerKind, Status
from tests.unit.worker.workbench import Workbench, is_alive, until
from worker.child.passmuster_child_procs import children_of
from worker.forkserver.explain import explain
from worker.forkserver.server import PYTEST
from worker.forkserver.server_pool import ServerPool, StartPlan
from worker.forkserver.tree import MAX_DEATHS, ServerKey
from worker.process.supervisor_client import SupervisorClient

WAITS = """
    import pathlib, time
    pathlib.Path("ready").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
"""
KILLS_ITS_SUPERVISOR = """
    import os, pathlib, time
    if os.fork() == 0:
        os.setsid()
        pathlib.Path("orphan").write_text(str(os.getpid()))
        time.sleep(600)
    while not pathlib.Path("orphan").exists() or not pathlib.Path("orphan").read_text():
        time.sleep(0.01)
    os.kill(os.getppid(), 9)
    time.sleep(600)
"""


def fleet_of(bench: Workbench) -> ServerPool:
    assert isinstance(bench.executor._server_pool, ServerPool)
    return bench.executor._server_pool


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.executor.close()


def servers(bench: Workbench) -> list[int]:
    """Return the processes of all fork servers of the bench."""
    return [server.pid for server in fleet_of(bench)._tree.servers.values()]


def kill_servers(bench: Workbench) -> None:
    for pid in servers(bench):
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not is_alive(pid), "the server is dead")  # type: ignore[misc]


def use_isolation(bench: Workbench, isolation: Isolation) -> None:
    bench.use(structs.replace(bench.settings, isolation=isolation))


def how(result: TestResult) -> tuple[Status, Isolation, str]:
    return (result.status, result.isolation, result.isolation_note)


def test_a_file_is_forked_and_every_file_gets_a_process_of_its_own(bench: Workbench) -> None:
    text = "import os, sys\nprint(os.getpid())\nsys.leak = getattr(sys, 'leak', 0) + 1\nprint(sys.leak)\n"

    first, second = bench.run_text(text), bench.run_text(text)

    assert how(first) == how(second) == (Status.PASS, Isolation.FORK, "")
    assert first.output.split()[0] != second.output.split()[0]
    assert first.output.split()[1] == second.output.split()[1] == "1"


def test_what_is_asked_for_is_done(bench: Workbench) -> None:
    use_isolation(bench, Isolation.SPAWN)
    assert bench.run_text("pass\n").isolation is Isolation.SPAWN
    assert servers(bench) == []
    bench.write("script.py", "pass\n")
    forked = structs.replace(bench.task("script.py"), isolation=Isolation.FORK)
    assert bench.run(forked).isolation is Isolation.FORK


def test_a_file_whose_text_tells_that_it_must_not_be_forked_is_spawned_unless_told_otherwise(
    bench: Workbench,
) -> None:
    text = "import sys\nprint('unittest' in sys.modules)\n"
    by_itself = bench.run_text(text)
    use_isolation(bench, Isolation.FORK)
    told = bench.run_text(text)

    assert (by_itself.isolation, by_itself.output) == (Isolation.SPAWN, "False\n")
    assert "sys.modules" in by_itself.isolation_note
    assert (told.isolation, told.output) == (Isolation.FORK, "True\n")


def test_a_server_that_dies_is_replaced(bench: Workbench) -> None:
    assert bench.run_text("pass\n").isolation is Isolation.FORK
    kill_servers(bench)
    # The supervisor of this slot lives on; another slot needs a new one.
    bench.write("waits.py", WAITS)
    started = bench.start(bench.task("waits.py"))
    until((bench.root / "ready").exists, "the first file runs")

    result = bench.run_text("pass\n")
    (bench.root / "go").touch()

    assert how(result) == (Status.PASS, Isolation.FORK, "")
    assert how(started.result()) == (Status.PASS, Isolation.FORK, "")


def test_a_server_that_hangs_is_killed_and_replaced(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.run_text("pass\n").isolation is Isolation.FORK
    monkeypatch.setattr("worker.forkserver.server.FORK_WAIT_S", 1.0)
    *others, deepest = servers(bench)
    os.kill(deepest, signal.SIGSTOP)
    # The supervisor of this slot lives on; another slot needs a new one.
    bench.write("waits.py", WAITS)
    started = bench.start(bench.task("waits.py"))
    until((bench.root / "ready").exists, "the first file runs")

    result = bench.run_text("pass\n")
    (bench.root / "go").touch()

    assert how(result) == (Status.PASS, Isolation.FORK, "")
    assert how(started.result()) == (Status.PASS, Isolation.FORK, "")
    until(lambda: not is_alive(deepest), "the server is killed")
    assert all(map(is_alive, others))


def test_a_running_file_is_not_harmed_when_servers_die(bench: Workbench) -> None:
    bench.write("waits.py", WAITS)
    started = bench.start(bench.task("waits.py"))
    until((bench.root / "ready").exists, "the file runs")

    kill_servers(bench)
    (bench.root / "go").touch()

    assert how(started.result()) == (Status.PASS, Isolation.FORK, "")


def test_where_servers_died_too_often_files_are_spawned(bench: Workbench) -> None:
    fleet_of(bench)._tree._deaths = MAX_DEATHS

    result = bench.run_text("print('ran')\n")

    assert (result.status, result.isolation, result.output) == (Status.PASS, Isolation.SPAWN, "ran\n")
    assert "died" in result.isolation_note


def test_nothing_is_left_of_a_forked_file_that_kills_its_supervisor(bench: Workbench) -> None:
    result = bench.run_text(KILLS_ITS_SUPERVISOR)

    orphan = int((bench.root / "orphan").read_text(encoding="utf-8"))
    assert (result.status, result.isolation) == (Status.CRASH, Isolation.FORK)
    until(lambda: not is_alive(orphan), "the orphan is dead")
    assert how(bench.run_text("pass\n")) == (Status.PASS, Isolation.FORK, "")


def test_servers_and_supervisors_end_with_the_executor(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.run_text("pass\n")
    pids = [pid for server in servers(bench) for pid in (server, *children_of(server))]

    bench.executor.close()

    assert len(pids) >= 3
    until(lambda: not any(map(is_alive, pids)), "all of them are gone")


def test_a_file_waits_for_a_process_where_there_is_none_to_be_had(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = ServerPool.launch
    refusals = iter([BlockingIOError(errno.EAGAIN, "no process"), OSError(errno.ENOMEM, "no memory")])

    def refusing(self: ServerPool, task: object, slot: int) -> StartPlan:
        for refusal in refusals:
            raise refusal
        return launch(self, task, slot)  # type: ignore[arg-type]

    monkeypatch.setattr(ServerPool, "launch", refusing)
    monkeypatch.setattr("worker.executor.local.EXHAUSTED_PAUSE_S", 0.001)

    result = bench.run_text("pass\n")

    assert (result.status, result.start_delayed_by) == (Status.PASS, "processes")


def test_a_run_without_any_process_is_given_up_after_a_while(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ServerPool, task: object, slot: int) -> StartPlan:
        raise BlockingIOError(errno.EAGAIN, "no process")

    monkeypatch.setattr(ServerPool, "launch", refuse)
    monkeypatch.setattr("worker.executor.local.EXHAUSTED_WAIT_S", 0.01)
    bench.executor.check()

    results = [bench.run_text("pass\n") for _ in range(2)]

    assert {result.status for result in results} == {Status.START_ERROR}
    with pytest.raises(InfrastructureError, match=r"no process could start .* no process; .*\(ulimit -u\)"):
        bench.executor.check()


def test_files_that_wait_for_a_process_do_not_keep_those_of_each_other(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = ServerPool.launch
    supervisors: dict[int, SupervisorClient] = {}

    def launch_one(self: ServerPool, task: object, slot: int) -> StartPlan:
        """Allow the supervisor of one slot at a time, as a limit of processes would."""
        if any(is_alive(supervisor.pid) for other, supervisor in supervisors.items() if other != slot):
            raise BlockingIOError(errno.EAGAIN, "no process")
        found = launch(self, task, slot)  # type: ignore[arg-type]
        supervisors[slot] = found.supervisor
        return found

    monkeypatch.setattr(ServerPool, "launch", launch_one)
    monkeypatch.setattr("worker.executor.local.EXHAUSTED_PAUSE_S", 0.001)
    names = ("first.py", "second.py")
    for name in names:
        bench.write(name, "pass\n")

    started = [bench.start(bench.task(name)) for name in names]

    assert [one.result().status for one in started] == [Status.PASS] * 2


def test_a_file_that_needs_another_error_is_not_waited_for(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ServerPool, task: object, slot: int) -> StartPlan:
        raise FileNotFoundError(errno.ENOENT, "no interpreter")

    monkeypatch.setattr(ServerPool, "launch", refuse)

    result = bench.run_text("pass\n")

    assert (result.status, result.start_delayed_by) == (Status.START_ERROR, "")
    assert "no interpreter" in result.error


def test_each_forked_file_draws_its_own_random_numbers(bench: Workbench) -> None:
    text = "import random, uuid, secrets\nprint(random.random(), uuid.uuid4(), secrets.token_hex())\n"

    numbers = [bench.run_text(text).output.split() for _ in range(2)]

    assert all(first != second for first, second in zip(*numbers, strict=True))


def test_a_variable_that_an_interpreter_reads_at_its_start_makes_the_file_spawned(bench: Workbench) -> None:
    bench.write("script.py", "print(hash('a'))\n")
    tasks = [structs.replace(bench.task("script.py"), environment=(("PYTHONHASHSEED", "7"),)) for _ in "ab"]

    results = [bench.run(task) for task in tasks]

    assert {result.isolation for result in results} == {Isolation.SPAWN}
    assert results[0].output == results[1].output
    assert "PYTHONHASHSEED" in results[0].isolation_note


def test_every_pytest_file_has_the_configuration_of_the_working_directory(bench: Workbench) -> None:
    test = "def test_it(request):\n    assert request.config.inipath.parent.name == 'project'\n"
    bench.write("pytest.ini", "[pytest]\n")
    bench.write("one/test_it.py", test)
    bench.write("two/pytest.ini", "[pytest]\n")
    bench.write("two/test_more.py", test)

    for name in ("one/test_it.py", "two/test_more.py"):
        for isolation in (Isolation.AUTO, Isolation.SPAWN):
            task = structs.replace(bench.task(name), runner=RunnerKind.PYTEST, isolation=isolation)
            result = bench.run(task)
            expected = Isolation.SPAWN if isolation is Isolation.SPAWN else Isolation.FORK
            assert (result.status, result.isolation) == (Status.PASS, expected), result.output


def test_a_pytest_file_that_the_session_does_not_suit_becomes_a_fresh_interpreter(bench: Workbench) -> None:
    bench.write("conftest.py", "def pytest_cmdline_main(): pass\n")
    bench.write("test_it.py", "def test_it(): pass\n")
    bench.write("test_more.py", "def test_it(): pass\n")

    def run(name: str) -> TestResult:
        return bench.run(structs.replace(bench.task(name), runner=RunnerKind.PYTEST))

    status, isolation, note = how(run("test_it.py"))
    assert (status, isolation) == (Status.PASS, Isolation.SPAWN)
    assert "pytest_cmdline_main" in note
    # What one file of a folder has found out holds for the others: they are forked without a session.
    assert how(run("test_more.py")) == (Status.PASS, Isolation.FORK, "")


def test_what_the_servers_take_is_held_once(bench: Workbench) -> None:
    bench.run_text("pass\n")
    held_bytes = bench.executor._server_pool.held_bytes

    assert 2 * 2**20 < held_bytes < 200 * 2**20
    assert bench.executor.usage().used_bytes == held_bytes


def test_a_forked_file_is_not_charged_for_what_its_server_has_imported(bench: Workbench) -> None:
    takes_40_mib = "import time\nblob = bytearray(40 * 2**20)\ntime.sleep(0.3)\n"

    result = bench.run_text(takes_40_mib)

    assert result.peak_bytes is not None
    assert 40 * 2**20 <= result.peak_bytes <= 60 * 2**20


def test_the_explanation_says_why_no_session_of_pytest_is_begun_ahead(bench: Workbench) -> None:
    bench.write("pytest.ini", "[pytest]\naddopts = -p own_plugin\n")
    bench.write("own_plugin.py", "")
    bench.write("test_it.py", "def test_it(): pass\n")
    task = structs.replace(bench.task("test_it.py"), runner=RunnerKind.PYTEST)

    with closing(ServerPool(bench.settings)) as fleet:
        lines = list(explain(fleet, [task]))

    assert any("begin their session themselves" in line and "own_plugin" in line for line in lines), lines


def test_a_pool_that_is_warmed_up_for_pytest_prepares_its_session_and_loads_nothing_else(
    bench: Workbench,
) -> None:
    bench.write("pytest.ini", "[pytest]\n")

    with closing(ServerPool(bench.settings)) as fleet:
        fleet.warm_up(2, base=PYTEST)
        until(lambda: ServerKey(base=PYTEST, session=True) in fleet._tree.servers, "no session")
        made = set(fleet._tree.servers)

    assert made == {ServerKey(), ServerKey(base=PYTEST), ServerKey(base=PYTEST, session=True)}
