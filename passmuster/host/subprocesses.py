"""Reads the state of processes, signals them, and ends those that this process started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from passmuster.host.host_resources import PROC


def stat_fields(pid: int, *, proc: Path = PROC) -> list[bytes]:
    """Return the fields of `/proc/PID/stat` from the state on (proc(5)); [] if there is no such process."""
    try:
        with open(f"{proc}/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()
    except OSError:
        return []


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by Ctrl-Z, or traced; False if that cannot be determined."""
    return stat_fields(pid)[:1] in ([b"T"], [b"t"])


def send_signal(pid: int, number: int) -> bool:
    """Send a signal to a process; return False if it is gone or belongs to another user."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def wait_or_kill(process: subprocess.Popen[bytes], within_s: float) -> None:
    """Wait for a process that was told to end; kill it after `within_s` seconds."""
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
