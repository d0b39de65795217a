"""The state of a process is read, signals reach it, and one that does not end in time is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from passmuster.host.subprocesses import is_stopped, send_signal, wait_or_kill


def start(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)


def test_a_process_that_ends_keeps_its_exit_status() -> None:
    process = start("import sys; sys.stdin.read(); sys.exit(3)")
    assert process.stdin is not None
    process.stdin.close()

    wait_or_kill(process, 60.0)

    assert process.returncode == 3


def test_a_process_that_does_not_end_is_killed() -> None:
    process = start("import sys; sys.stdin.read()")

    wait_or_kill(process, 0.0)

    assert process.returncode == -signal.SIGKILL
    assert process.stdin is not None
    process.stdin.close()


def test_a_stopped_process_is_recognized_until_it_continues() -> None:
    process = start("import sys; sys.stdin.read()")
    assert not is_stopped(process.pid)
    assert send_signal(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    assert is_stopped(process.pid)
    assert send_signal(process.pid, signal.SIGCONT)
    os.waitpid(process.pid, os.WCONTINUED)
    assert not is_stopped(process.pid)
    process.kill()
    process.communicate()


def test_a_process_that_does_not_exist_is_not_stopped_and_gets_no_signal() -> None:
    assert not is_stopped(1 << 30)
    assert not send_signal(1 << 30, signal.SIGCONT)
