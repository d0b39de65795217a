"""Collects the stacks of hanging Python processes before a timeout kills them.

The file's own process and its forks have a handler for `STACK_SIGNAL`, which writes their stacks to the
report's descriptor and continues. A Python process that the test started by exec has no such handler. If it
inherited PYTHONFAULTHANDLER, SIGABRT makes it write its stacks to its stderr and exit, which is acceptable
because it is about to be killed. That stderr is often a pipe that the hanging test no longer reads, so it is
read here.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Sequence

from passmuster.host.subprocesses import send_signal, stat_fields

STACK_SIGNAL = 60
"""The same number as in `worker/child/passmuster_child_start.py`."""

WAIT_S = 0.25
"""Maximum seconds to wait for the stacks: a busy interpreter writes them within milliseconds."""

EACH_S = 0.1
"""Seconds that a process may take to write its stacks before the next is signalled: they share a descriptor,
and stacks written at the same time would mix."""

ALL_S = 1.0
"""Seconds for which processes are signalled one after another; the rest are signalled at once."""

PAUSE_S = 0.01
"""Seconds of silence after which the stacks of a process count as complete."""

TEXT_LIMIT_BYTES = 64 * 1024
"""Bytes of stacks kept of one process."""


def ask_for_stacks(pids: Sequence[int], output_inode: int, drain: Callable[[float], int]) -> str:
    """Make every Python process among `pids`, the file's processes, write its stacks.

    Return only the stacks written to a stderr that is neither the report nor the file's output, which is the
    pipe with `output_inode`. `drain` reads output and report for some seconds and returns the bytes read.
    """
    others: list[tuple[int, int | None]] = []
    all_by = time.monotonic() + ALL_S
    for pid in pids:
        caught = _caught_signals(pid)
        if caught >> (STACK_SIGNAL - 1) & 1:
            send_signal(pid, STACK_SIGNAL)
            _wait_for_text(min(all_by, time.monotonic() + EACH_S), drain)
        elif caught >> (signal.SIGABRT - 1) & 1:
            others.append((pid, _open_stderr(pid, output_inode)))
    drain(WAIT_S / 2)
    texts = [_abort_and_read(pid, descriptor, drain, pids) for pid, descriptor in others]
    drain(WAIT_S / 2)
    return "\n".join(text for text in texts if text)


def _wait_for_text(deadline: float, drain: Callable[[float], int]) -> None:
    """Read until output has arrived and then stopped, or until `deadline` (monotonic)."""
    has_arrived = False
    while time.monotonic() < deadline:
        if drain(PAUSE_S):
            has_arrived = True
        elif has_arrived:
            return


def _caught_signals(pid: int) -> int:
    """Return the mask of the signals that a process handles (proc(5), SigCgt); 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"SigCgt:"):
                    return int(line.split()[1], 16)
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _open_stderr(pid: int, output_inode: int) -> int | None:
    """Open the stderr of a process for reading; return None if it cannot or need not be read."""
    path = f"/proc/{pid}/fd/2"
    try:
        status = os.stat(path)  # noqa: PTH116 - follows the magic link of procfs.
        if status.st_ino == output_inode or not (
            stat.S_ISFIFO(status.st_mode) or stat.S_ISREG(status.st_mode)
        ):
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISREG(status.st_mode):
            os.lseek(descriptor, 0, os.SEEK_END)
    except OSError:
        return None
    return descriptor


def _abort_and_read(
    pid: int, descriptor: int | None, drain: Callable[[float], int], family: Sequence[int]
) -> str:
    """Make one process write its stacks to its stderr; return them if that can be read, else ""."""
    parent = int(field) if (field := b"".join(stat_fields(pid)[1:2])) else 0
    # Its parent may block in read() on the same pipe and would receive the text instead.
    is_parent_stopped = descriptor is not None and parent in family and send_signal(parent, signal.SIGSTOP)
    send_signal(pid, signal.SIGABRT)
    text = b""
    if descriptor is None:
        drain(WAIT_S / 4)
    else:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and len(text) < TEXT_LIMIT_BYTES:
            try:
                part = os.read(descriptor, 1 << 16)
            except OSError:
                part = b""
            text += part
            if not part:
                if text and _caught_signals(pid) == 0:
                    break
                drain(0.01)
        os.close(descriptor)
    if is_parent_stopped:
        send_signal(parent, signal.SIGCONT)
    header = f"Process {pid}:\n" if text else ""
    return header + text[:TEXT_LIMIT_BYTES].decode("utf-8", "backslashreplace")
