"""Finds and kills the processes of a file, by procfs where it exists.

A file's processes are the descendants of its slot's process supervisor. If a test has killed its supervisor,
they are found by the marker that every test process inherits in its environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from passmuster.host.host_resources import PROC
from passmuster.host.psutil_fallback import pids_below
from passmuster.host.subprocesses import send_signal
from worker.child.passmuster_child_procs import all_below

HAS_PROC = (PROC / "self" / "task").is_dir()


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes below `pid`, parents first, without `pid` itself."""
    if not HAS_PROC:
        return pids_below(pid)
    return all_below(pid)


def marked(marker: str) -> list[int]:
    """Return the pids of all processes whose initial environment holds `marker`, such as `NAME=value`."""
    wanted = os.fsencode(marker)
    found: list[int] = []
    for entry in os.listdir(PROC) if HAS_PROC else ():  # noqa: PTH208 - names are all that is needed.
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as environment:
                if wanted in environment.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            continue
    return found


def kill_all(pids: Iterable[int]) -> None:
    """Send SIGKILL to each process that still exists."""
    for pid in pids:
        send_signal(pid, signal.SIGKILL)
