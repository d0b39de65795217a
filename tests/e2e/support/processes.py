"""Looks at the processes of this machine, and waits for something with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.01
"""Seconds between two looks while something is waited for."""


def processes_with(text: str) -> list[str]:
    """Return `pid: command line` of each living process whose environment or command line holds `text`."""
    wanted = text.encode()
    found: list[str] = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            command = (directory / "cmdline").read_bytes()
            environment = (directory / "environ").read_bytes()
        except OSError:
            # It ended while we looked.
            continue
        if wanted in environment or wanted in command:
            found.append(f"{directory.name}: {command.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition: Callable[[], bool], what: str, *, within_s: float = 20.0) -> None:
    """Wait until `condition` holds; fail with `what` after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain: {what}"
        time.sleep(POLL_S)
