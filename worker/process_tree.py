"""Which processes belong to a file, read from procfs; where there is none, from psutil.

A file's processes are the descendants of its slot's keeper. Only if a test has killed its keeper are
they looked for by the marker that every test process inherits in its environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
HAS_PROC = (PROC / "self" / "task").is_dir()


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes below `pid`, parents first, without `pid` itself."""
    if not HAS_PROC:
        return _descendants_by_psutil(pid)
    found = _children(pid)
    for child in found:  # The list grows while it is walked, a generation at a time.
        found.extend(_children(child))
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - called per process several times a second.
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found.extend(map(int, listing.read().split()))
        except OSError:
            continue
    return found


def _descendants_by_psutil(pid: int) -> list[int]:
    import psutil  # Only where there is no procfs.

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def marked(marker: str) -> list[int]:
    """Return the pids of all processes whose environment at their start held `marker`.

    Args:
        marker: `NAME=value`, unique to one attempt.
    """
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
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
