"""No process of a file outlives it, whatever the file, its supervisor or the runner do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from passmuster.model.status import Status, StopReason
from tests.unit.worker.workbench import Workbench, is_alive, until
from worker.process.supervisor_client import (
    Ended,
    Failed,
    Started,
    SupervisorGoneError,
    SupervisorMessage,
    start_supervisor,
)

REPOSITORY = Path(__file__).resolve().parents[4]

DAEMON = """
    import os, signal, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 3)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open("daemon", "w").write(str(os.getpid()))
        time.sleep(600)
    os.wait()
    while not os.path.exists("daemon") or not os.path.getsize("daemon"):
        time.sleep(0.01)
"""
RELAY = """
    import os, time
    if os.fork() == 0:
        for _ in range(20_000):
            if os.fork():
                os._exit(0)
            with open("relay", "a") as file:
                file.write("x")
        os._exit(0)
    while not os.path.exists("relay"):
        time.sleep(0.01)
"""
UNSEEN = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import passmuster_child_supervisor as module
kept = module.Supervisor(None)
pid = os.fork()
if pid == 0:
    time.sleep(600)
module.all_below = lambda _: []
print("gone" if kept.clear() is None else "again")
os.kill(pid, signal.SIGKILL)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print("gone" if kept.clear() is None else "again")
"""
FORKS_AND_WAITS = """
    import os, pathlib, time
    for number in range(3):
        if os.fork() == 0:
            os.setsid()
            break
    pathlib.Path(f"ready-{os.getpid()}").touch()
    time.sleep(600)
"""
RUNNER = """
import os, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.unit.worker.workbench import Workbench
bench = Workbench(Path(sys.argv[2]))
bench.write("forks.py", Path(sys.argv[3]).read_text())
task = bench.task("forks.py")
print(task.attempt_id, flush=True)
bench.start(task).result()
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.executor.close()


def test_a_leaked_daemon_is_killed_and_reported(bench: Workbench) -> None:
    result = bench.run_text(DAEMON)

    pid = int((bench.root / "daemon").read_text(encoding="utf-8"))
    assert result.status is Status.PASS
    assert not is_alive(pid)
    [leaked] = result.leaked
    assert leaked.startswith(f"pid {pid}: ")
    assert "script.py" in leaked


def test_a_chain_of_processes_that_fork_and_exit_is_killed(bench: Workbench) -> None:
    result = bench.run_text(RELAY)

    length = (bench.root / "relay").stat().st_size
    assert result.status is Status.PASS
    assert result.leaked
    assert (bench.root / "relay").stat().st_size == length
    assert bench.left_of(bench.task("script.py")) == []


def test_processes_that_a_search_misses_are_killed_too() -> None:
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", UNSEEN, str(REPOSITORY / "worker" / "child")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.split() == ["again", "gone"]


def test_a_helper_that_exits_soon_after_its_file_is_no_leak(bench: Workbench) -> None:
    result = bench.run_text("import os, time\nif os.fork() == 0:\n    time.sleep(0.05)\n")

    assert (result.status, result.leaked) == (Status.PASS, ())


def test_stopping_a_file_kills_all_its_processes(bench: Workbench) -> None:
    bench.write("forks.py", FORKS_AND_WAITS)
    task = bench.task("forks.py")
    started = bench.start(task)
    until(lambda: len(list(bench.root.glob("ready-*"))) == 4, "all four processes run")

    bench.executor.stop_all(StopReason.CANCELLED, grace_s=0.2)

    assert started.result().status is Status.CANCELLED
    assert bench.left_of(task) == []


def test_a_file_that_kills_its_parent_affects_no_other(bench: Workbench) -> None:
    bench.write("kills.py", "import os\nos.kill(os.getppid(), 9)\nimport time\ntime.sleep(600)\n")
    task = bench.task("kills.py")

    result = bench.run(task)

    assert (result.status, result.error) == (Status.CRASH, "it killed the process that started it")
    until(lambda: bench.left_of(task) == [], "its processes are gone")
    after = [bench.run_text("print('next')").status for _ in range(2)]
    assert after == [Status.PASS, Status.PASS]


def test_a_file_that_kills_its_own_and_its_parents_group_affects_no_other(bench: Workbench) -> None:
    bench.write("other.py", "import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n")
    other = bench.start(bench.task("other.py"))

    result = bench.run_text("import os\nos.killpg(os.getpgid(os.getppid()), 9)\n")

    (bench.root / "go").touch()
    assert result.status is Status.CRASH
    assert other.result().status is Status.PASS


def test_no_process_survives_a_killed_runner(tmp_path: Path) -> None:
    program = tmp_path / "forks.txt"
    program.write_text(FORKS_AND_WAITS, encoding="utf-8")
    command = [sys.executable, "-c", RUNNER, str(REPOSITORY), str(tmp_path), str(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        attempt = runner.stdout.readline().strip()
        until(lambda: len(list((tmp_path / "project").glob("ready-*"))) == 4, "all four processes run")
        pids = [int(path.name.removeprefix("ready-")) for path in (tmp_path / "project").glob("ready-*")]
        supervisors = {_parent(pid) for pid in pids} - set(pids)
        assert attempt

        runner.kill()

    until(lambda: not any(is_alive(pid) for pid in [*pids, *supervisors]), "all of it is gone")


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


class Kept:
    """A supervisor with a file of its own, spoken to directly."""

    def __init__(self) -> None:
        self.supervisor = start_supervisor()
        self.output, self._output_write = os.pipe()
        self.report, self._report_write = os.pipe()
        self._messages: list[SupervisorMessage] = []

    def spawn(self, *argv: str, cwd: str = "/") -> None:
        self.supervisor.spawn(argv, {"A": "1"}, cwd, output=self._output_write, report=self._report_write)

    def next(self) -> SupervisorMessage:
        while not self._messages:
            self._messages.extend(self.supervisor.receive())
        return self._messages.pop(0)

    def close(self) -> None:
        self.supervisor.close()
        for descriptor in (self.output, self._output_write, self.report, self._report_write):
            os.close(descriptor)


@pytest.fixture
def kept() -> Iterator[Kept]:
    kept = Kept()
    yield kept
    kept.close()


def test_a_supervisor_reports_the_start_and_the_end_and_is_reusable(kept: Kept) -> None:
    for code in (0, 7):
        kept.spawn(sys.executable, "-S", "-c", f"import os; os.write(1, b'out'); os._exit({code})")
        started, ended = kept.next(), kept.next()

        assert isinstance(started, Started)
        assert isinstance(ended, Ended)
        assert os.waitstatus_to_exitcode(ended.wait_status) == code
        assert ended.max_rss_bytes > 1 << 20
        assert ended.leaked == ()
        assert os.read(kept.output, 100) == b"out"


@pytest.mark.parametrize(
    ("argv", "cwd", "text"),
    [
        (("/no/such/program",), "/", "No such file or directory"),
        (("/",), "/", "Permission denied"),
        ((sys.executable,), "/no/such/folder", "No such file or directory: b'/no/such/folder'"),
        ((sys.executable, "nul\0nul"), "/", "embedded null byte"),
    ],
)
def test_a_failed_start_is_reported_and_the_supervisor_continues(
    kept: Kept, argv: tuple[str, ...], cwd: str, text: str
) -> None:
    kept.spawn(*argv, cwd=cwd)
    failed = kept.next()
    assert isinstance(failed, Failed)
    assert text in failed.text

    kept.spawn(sys.executable, "-S", "-c", "")
    assert isinstance(kept.next(), Started)


def test_a_signal_reaches_the_group_and_kill_everything(kept: Kept) -> None:
    kept.spawn(sys.executable, "-S", "-c", "import os, time; os.write(1, b'.'); time.sleep(600)")
    assert isinstance(kept.next(), Started)
    os.read(kept.output, 1)
    kept.supervisor.signal(signal.SIGUSR1)
    ended = kept.next()
    assert isinstance(ended, Ended)
    assert os.WTERMSIG(ended.wait_status) == signal.SIGUSR1

    kept.spawn(sys.executable, "-S", "-c", "import time; time.sleep(600)")
    assert isinstance(kept.next(), Started)
    kept.supervisor.kill()
    ended = kept.next()
    assert isinstance(ended, Ended)
    assert os.WTERMSIG(ended.wait_status) == signal.SIGKILL


def test_an_idle_supervisor_ignores_signals_and_kills(kept: Kept) -> None:
    kept.supervisor.signal(signal.SIGTERM)
    kept.supervisor.kill()

    kept.spawn(sys.executable, "-S", "-c", "")
    assert isinstance(kept.next(), Started)


def test_a_dead_supervisor_is_noticed(kept: Kept) -> None:
    os.kill(kept.supervisor.pid, signal.SIGKILL)

    with pytest.raises(SupervisorGoneError):
        kept.supervisor.receive()
    kept.supervisor.kill()
    kept.supervisor.signal(signal.SIGTERM)
    with pytest.raises(SupervisorGoneError):
        kept.spawn(sys.executable)


def test_closing_a_supervisor_kills_its_processes(kept: Kept) -> None:
    kept.spawn(sys.executable, "-S", "-c", "import time; time.sleep(600)")
    started = kept.next()
    assert isinstance(started, Started)

    kept.supervisor.close()

    assert not is_alive(started.pid)
    assert not is_alive(kept.supervisor.pid)


def test_a_ctrl_c_in_the_terminal_does_not_reach_a_supervisor(kept: Kept) -> None:
    assert os.getsid(kept.supervisor.pid) == kept.supervisor.pid
    kept.spawn(sys.executable, "-S", "-c", "import os; os.write(1, b'%d' % os.getsid(0))")
    started = kept.next()
    assert isinstance(started, Started)

    assert int(os.read(kept.output, 100)) == started.pid
