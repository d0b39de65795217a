"""Stopping: the user's Ctrl-C, SIGTERM, and the death of the runner. Nothing survives any of them."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.processes import is_alive, wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, script

POLITE = script(
    """
    import signal
    def leave(*rest):
        open('left_politely', 'w').write('yes')
        sys.exit(1)
    signal.signal(signal.SIGTERM, leave)
    open('polite_pid', 'w').write(str(os.getpid()))
    time.sleep(600)
    """
)
STUBBORN = script(
    """
    import signal
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        open('daemon_pid', 'w').write(str(os.getpid()))
        time.sleep(600)
    open('stubborn_pid', 'w').write(str(os.getpid()))
    time.sleep(600)
    """
)


def check_the_end(outcome: Outcome, *, started: list[str], never: list[str]) -> None:
    """Check the whole end of a stopped run's report."""
    assert outcome.code == 130, str(outcome)
    assert re.fullmatch(r"\[INFO\] To resume this run: .* --resume [0-9a-f-]+( .*)?\n", outcome.stderr)
    (stopping,) = outcome.of_kind("run-stopping")
    assert f"[WARN] Stopping: {stopping['cause']}; no further file starts" in outcome.lines
    total = len(started) + len(never)
    assert f"  Not run: {total}" in outcome.lines, str(outcome)
    after = outcome.lines_after(f"[WARN] {total} file(s) did not run to their end:")[:total]
    found = [re.sub(r"stopped after [0-9.]+s", "stopped", line) for line in after]
    expected = [f"  - {label} (stopped)" for label in started]
    expected += [f"  - {label} (never started)" for label in never]
    assert sorted(found) == sorted(expected)
    assert f"[WARN] The run is not complete: {total} file(s) did not run to their end" in outcome.lines
    assert "All tests passed" not in outcome.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_what_runs_with_grace_and_starts_nothing_more(
    project: Project, number: signal.Signals
) -> None:
    project.write({"tests/test_polite.py": POLITE, "tests/test_x.py": "", "tests/test_y.py": ""})
    running = project.start("--jobs", "1", "--grace-period", "30s")
    pid = int(running.wait_for_file("polite_pid"))
    running.send(number)
    outcome = running.end(timeout_s=20)
    check_the_end(outcome, started=["tests/test_polite.py"], never=["tests/test_x.py", "tests/test_y.py"])
    assert (project.root / "left_politely").exists()
    assert not is_alive(pid)


def test_a_file_that_ignores_sigterm_is_killed_after_the_grace(project: Project) -> None:
    project.write({"tests/test_stubborn.py": STUBBORN})
    running = project.start("--grace-period", "300ms")
    running.wait_for_file("stubborn_pid")
    running.wait_for_file("daemon_pid")
    running.send(signal.SIGINT)
    outcome = running.end(timeout_s=20)
    check_the_end(outcome, started=["tests/test_stubborn.py"], never=[])
    ended = outcome.final("tests/test_stubborn.py")
    assert (ended.status, ended.signal) == ("CANCELLED", signal.SIGKILL)


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)],
)
def test_the_second_signal_ends_everything_at_once(
    project: Project, first: signal.Signals, second: signal.Signals
) -> None:
    project.write({"tests/test_stubborn.py": STUBBORN, "tests/test_z.py": ""})
    running = project.start("--jobs", "1", "--grace-period", "10m")
    running.wait_for_file("stubborn_pid")
    running.wait_for_file("daemon_pid")
    running.send(first)
    wait_until(lambda: "run-stopping" in running.events.read_text(), "the run does not stop")
    running.send(second)
    outcome = running.end(timeout_s=20)
    check_the_end(outcome, started=["tests/test_stubborn.py"], never=["tests/test_z.py"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_impatient_user_gets_the_same_report(project: Project, number: signal.Signals) -> None:
    project.write({"tests/test_stubborn.py": STUBBORN})
    running = project.start("--grace-period", "10m")
    running.wait_for_file("daemon_pid")
    deadline = time.monotonic() + 20
    while running.process.poll() is None and time.monotonic() < deadline:
        running.send(number)
        time.sleep(0.003)
    outcome = running.end(timeout_s=20)
    check_the_end(outcome, started=["tests/test_stubborn.py"], never=[])


def test_when_the_runner_is_killed_its_tests_end_within_seconds(project: Project) -> None:
    project.write({"tests/test_stubborn.py": STUBBORN, "tests/test_polite.py": POLITE})
    project.may_leave_tmp = True
    running = project.start("--jobs", "2")
    pids = [int(running.wait_for_file(name)) for name in ("stubborn_pid", "daemon_pid", "polite_pid")]
    running.send(signal.SIGKILL)
    running.process.wait()
    wait_until(lambda: not any(map(is_alive, pids)), "tests outlive their runner", within_s=5)
    wait_until(lambda: not project.processes(), "supervisors outlive their runner", within_s=15)
    running.end()
    # The next run finds nothing in its way.
    project.write({"tests/test_stubborn.py": PASSING, "tests/test_polite.py": PASSING})
    outcome = project.run()
    assert (outcome.code, outcome.stderr) == (0, "")


def test_when_the_runner_is_killed_the_pytest_that_it_asks_for_files_ends(project: Project) -> None:
    conftest = """
        import os, pathlib, subprocess, time
        here = pathlib.Path(__file__).parent
        if not (here / "released").exists():
            (here / "pids.tmp").write_text(f"{os.getpid()} {subprocess.Popen(['sleep', '600']).pid}")
            (here / "pids.tmp").rename(here / "pids")
            time.sleep(600)
        """
    project.write({"pytest.ini": "[pytest]", "conftest.py": conftest, "test_a.py": "def test_a(): pass"})
    running = project.start("--python", sys.executable)
    pids = [int(pid) for pid in running.wait_for_file("pids").split()]
    running.send(signal.SIGKILL)
    running.end()
    wait_until(lambda: not any(map(is_alive, pids)), "pytest and its child are gone", within_s=5)
    project.write({"released": ""})
    outcome = project.run("--python", sys.executable)
    assert outcome.statuses() == {"test_a.py": "PASS"}, str(outcome)
    assert project.left_in_tmp() == []


def test_the_whole_group_may_be_killed(project: Project) -> None:
    project.write({"tests/test_stubborn.py": STUBBORN})
    project.may_leave_tmp = True
    running = project.start()
    pids = [int(running.wait_for_file(name)) for name in ("stubborn_pid", "daemon_pid")]
    os.killpg(running.pid, signal.SIGKILL)
    running.process.wait()
    wait_until(lambda: not any(map(is_alive, pids)), "tests outlive their runner", within_s=5)
    wait_until(lambda: not project.processes(), "supervisors outlive their runner", within_s=15)
    running.end()


def test_a_run_whose_reader_goes_away_still_ends(project: Project) -> None:
    project.write({f"tests/test_{number}.py": PASSING for number in range(4)})
    running = project.start()
    assert running.process.stdout is not None
    running.process.stdout.close()
    running.process.stdout = (project.base / "nothing").open("w+b")
    outcome = running.end(timeout_s=30)
    assert set(outcome.statuses().values()) == {"PASS"}
    assert "Traceback" not in outcome.stderr


def test_ctrl_c_in_a_terminal(project: Project) -> None:
    project.write({"tests/test_polite.py": POLITE, "tests/test_y.py": ""})
    terminal, inner = pty.openpty()
    process = subprocess.Popen(
        project.command("--jobs", "1"),
        cwd=project.root,
        env=project.environment({"TERM": "xterm-256color"}),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        # The terminal is that of the new session, as it is for a shell's command.
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(inner)
    shown = _read_until(terminal, lambda text: (project.root / "polite_pid").exists() and "polite" in text)
    os.write(terminal, b"\x03")
    shown += _read_until(terminal, lambda text: False)
    process.wait(timeout=20)
    os.close(terminal)
    assert process.returncode == 130, shown
    assert (project.root / "left_politely").exists()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "tests/test_y.py (never started)" in plain
    # The cursor that the footer hid is back.
    assert shown.rfind("\x1b[?25h") >= shown.rfind("\x1b[?25l")


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(terminal: int, is_enough: Callable[[str], bool]) -> str:
    """Read from a terminal until there is enough, or until its other end is closed."""
    shown = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not is_enough(shown.decode(errors="replace")):
        if not select.select([terminal], [], [], 0.05)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    return shown.decode(errors="replace")
