"""A process that was told to end is waited for, and killed if it does not end."""

from __future__ import annotations

import signal
import subprocess
import sys

from passmuster.host.subprocesses import wait_or_kill


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
