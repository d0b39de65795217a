"""Reads process and memory figures with psutil on systems without /proc (macOS and others).

psutil is imported only here and only on use, so a run on Linux never pays for its import. The callers read
/proc first: `passmuster.host.host_resources`, `worker.budget.memory_probe` and `worker.process.process_tree`.
"""

from __future__ import annotations


def host_memory() -> tuple[int, int]:
    """Return the machine's total and available memory in bytes."""
    import psutil  # type: ignore[import-untyped,unused-ignore]  # psutil ships no types.

    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


def resident_bytes(pid: int) -> int | None:
    """Return the resident bytes of a process; None: it is gone or not readable."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def unshared_bytes(pid: int) -> int | None:
    """Return the bytes that only this process uses; None: it is gone or not readable."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except psutil.Error:
        return None


def pids_below(pid: int) -> list[int]:
    """Return the IDs of all processes below `pid`; none if it is gone."""
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []
