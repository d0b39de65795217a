"""Decides whether a worker can still run files, because a broken worker would fail all its files.

Only faults of the worker itself count: a missing root, no space for temporary files, or files that could not
be started (`TestResult.is_worker_fault`). A file that ran proves that the worker works.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from passmuster.model.units import format_bytes

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Bytes for temporary files below which no file starts, because tests would fail for lack of space."""

MAX_FAILURES = 2
"""Consecutive failures that show that a worker can no longer run files. One may be an accident."""


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user can write in a directory."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Health:
    """The health of one worker in one root. Thread-safe."""

    def __init__(self, root: Path, folder: Path, *, free: Callable[[Path], int] = free_bytes) -> None:
        self._root, self._folder, self._free = root, folder, free
        self._lock = threading.Lock()
        self._has_run = False
        self._failures = 0

    def problem(self) -> str | None:
        """Return why no file can start now, or None if one can."""
        if not self._root.is_dir():
            return (
                f"the project's root {self._root} does not exist any more: restore it and start the worker"
                " again"
            )
        try:
            found = self._free(self._folder)
        except OSError as error:
            reason = error.strerror
            return f"the directory for temporary files {self._folder} cannot be used: {reason}; set TMPDIR"
        if found >= MIN_FREE_BYTES:
            return None
        return (
            f"the directory for temporary files {self._folder} has {format_bytes(found)} free, at least"
            f" {format_bytes(MIN_FREE_BYTES)} are needed: free some space there or set TMPDIR to another one"
        )

    def count_run(self) -> None:
        """Record that a file ran, with whatever result."""
        with self._lock:
            self._has_run, self._failures = True, 0

    def count_failure(self) -> bool:
        """Record that a file could not be started; return whether this worker must accept no more files."""
        with self._lock:
            self._failures += 1
            return not self._has_run or self._failures >= MAX_FAILURES
