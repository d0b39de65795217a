"""Process utilities of the supervisor and the fork server: descendants, and the few calls that need libc.

Shared with the runner (`worker.process.process_tree`). Its top-level imports are modules that a plain
interpreter has already loaded."""

import os

_PR_SET_CHILD_SUBREAPER = 36

_libc: object = None


def libc() -> object:
    """Return the C library, loaded once per process tree; None if it is unavailable."""
    global _libc
    if _libc is None:
        try:
            import ctypes

            _libc = ctypes.CDLL(None)
        except Exception:  # A test that ends may have replaced any part of the import.
            return None
    return _libc


def is_libc_loaded() -> bool:
    """Whether `libc` has been called here, or in the process that this one was forked from."""
    return _libc is not None


def become_subreaper() -> None:
    """Ask the kernel to hand orphans below us to us; without it (not Linux) only the group is ended."""
    try:
        libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # type: ignore[attr-defined]
    except AttributeError:
        pass


def flush_c_streams() -> None:
    """Write out what C code has printed and not flushed; a normal exit does that, `os._exit` does not."""
    try:
        libc().fflush(None)  # type: ignore[attr-defined]
    except AttributeError:
        pass


def children_of(pid: int) -> "list[int]":
    """Return the pids of a process's children, from procfs; empty where it is gone or unreadable."""
    found: "list[int]" = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found.extend(map(int, listing.read().split()))
        except OSError:
            continue
    return found


def all_below(pid: int) -> "list[int]":
    """Return the pids of every descendant, parents before children."""
    found = children_of(pid)
    for descendant in found:  # The list grows while it is walked, a generation at a time.
        found.extend(children_of(descendant))
    return found


def is_zombie(pid: int) -> bool:
    """Whether a process has ended already and only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return True


def describe(pid: int) -> str:
    """Return `pid N: command line` of a process, bounded."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as listing:
            command = listing.read(400).replace(b"\0", b" ").decode("utf-8", "backslashreplace").strip()
    except OSError:
        command = ""
    return f"pid {pid}: {command or 'unknown command'}"
