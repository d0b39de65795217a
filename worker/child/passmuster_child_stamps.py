"""Stamps of files and folders, by which a fork server is known to hold what is no longer true.

The server takes them when it has read something; the runner compares them before it uses the server.
"""

import os
from binascii import crc32

ABSENT = (-1, 0)
"""The stamp of a file that does not exist."""

UNKNOWN_NS = -1
"""The time of a file that may have changed after it was read."""

CLOCK_SLACK_NS = 15_000_000
"""File systems store times of their own clock, which is up to 10 ms late."""

GENERATED = frozenset({"__pycache__", ".pytest_cache", ".hypothesis", ".passmuster"})
"""Names that come and go without anything in the project changing."""


def file_stamp(path: str) -> "tuple[int, int]":
    """Return the size of a file in bytes, and the time of its last change in ns, which no program can set."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    return status.st_size, status.st_ctime_ns


def stamp_of_read(path: str, began_ns: int) -> "tuple[int, int]":
    """Return the stamp of a file that was read since `began_ns`, in Unix time.

    If it has changed since then, it may have been read before: the stamp fits no file.
    """
    size, changed_ns = file_stamp(path)
    return size, changed_ns if changed_ns < began_ns - CLOCK_SLACK_NS else UNKNOWN_NS


def names_digest(folder: str) -> int:
    """Return a digest of the names in a folder; -1: it does not exist."""
    try:
        names = sorted(name for name in os.listdir(folder) if name not in GENERATED)
    except (OSError, ValueError):
        return -1
    return crc32("\0".join(names).encode("utf-8", "surrogateescape"))
