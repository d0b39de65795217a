"""Reads from procfs what single processes use, whose children they are, and whether they want a processor.

A process that is gone counts as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

KIB = 1024


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.extend(map(int, (task / "children").read_text().split()))
    except OSError:
        pass
    return found


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for one in found:
        found.extend(children(one))
    return found


def anonymous_bytes(pids: Iterable[int]) -> int:
    """Return the anonymous memory of some processes that share none."""
    return sum(_field_bytes(Path(f"/proc/{pid}/status"), ("RssAnon:",)) for pid in pids)


def proportional_bytes(pids: Iterable[int]) -> int:
    """Return the proportional anonymous and shared memory (PSS) of some processes."""
    names = ("Pss_Anon:", "Pss_Shmem:")
    return sum(_field_bytes(Path(f"/proc/{pid}/smaps_rollup"), names) for pid in pids)


def count_runnable(pids: Iterable[int]) -> int:
    """Return how many processes run or wait for a processor; of their threads only the first counts."""
    return sum(_state(pid) == "R" for pid in pids)


def _state(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split(maxsplit=1)[0]


def _field_bytes(path: Path, names: tuple[str, ...]) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith(names))
