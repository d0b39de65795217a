"""Decides whether a worker can still run files, because a broken worker would fail every file that it takes.

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
"""Bytes for temporary files below which nothing is started: tests would fail for want of them."""

PATIENCE = 2
"""Failures in a row that show that a worker which could run files cannot any more. One may be bad luck."""


def free_bytes(folder: Path) -> int:
    """Return how many bytes can be written in a folder.

    Raises:
        OSError: it is not there, or cannot be asked.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Health:
    """A worker's own. Thread-safe.

    Args:
        root: the project's.
        folder: where temporary files are made.
        free: returns how many bytes can be written there.
    """

    def __init__(self, root: Path, folder: Path, *, free: Callable[[Path], int] = free_bytes) -> None:
        self._root, self._folder, self._free = root, folder, free
        self._lock = threading.Lock()
        self._has_run = False
        self._in_a_row = 0

    def problem(self) -> str:
        """Return why nothing should be started now; empty: it may."""
        if not self._root.is_dir():
            return f"the project's root {self._root} is gone: start the worker again once it is there"
        try:
            found = self._free(self._folder)
        except OSError as error:
            return (
                f"the folder for temporary files {self._folder} cannot be used: {error.strerror}; set TMPDIR"
            )
        if found >= MIN_FREE_BYTES:
            return ""
        return (
            f"the folder for temporary files {self._folder} has {format_bytes(found)} free, at least"
            f" {format_bytes(MIN_FREE_BYTES)} are needed: free some space there or set TMPDIR to another one"
        )

    def count_run(self) -> None:
        """Note that a file ran, however it ended."""
        with self._lock:
            self._has_run, self._in_a_row = True, 0

    def count_failure(self) -> bool:
        """Note that a file could not be started; return whether this worker should take no more of them."""
        with self._lock:
            self._in_a_row += 1
            return not self._has_run or self._in_a_row >= PATIENCE
