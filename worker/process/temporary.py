"""Manages the private temporary directories of one worker, and removes those left by killed workers.

Each worker has a directory `pm-…` with one subdirectory for each attempt. The worker holds a lock on a file
in it as long as it lives: if the lock is free, the directory is abandoned.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from passmuster.model.errors import InfrastructureError

PREFIX = "pm-"
"""Short, because the path of a socket in it may have at most 107 bytes (unix(7))."""

LOCK = ".lock"


class PrivateTmp:
    """A worker's temporary directory, readable by its user only."""

    def __init__(self, parent: Path) -> None:
        """Create the directory in `parent`; raise InfrastructureError if that fails."""
        sweep(parent)
        try:
            self._directory, self._lock = _make(parent)
        except OSError as error:
            raise InfrastructureError(
                f"cannot make a temporary directory in {parent}: {error.strerror};"
                " free some space there or set TMPDIR to another directory"
            ) from error

    def make(self, name: str) -> Path:
        """Create and return the directory of one attempt."""
        directory = self._directory / name
        directory.mkdir(mode=0o700)
        return directory

    @staticmethod
    def remove(directory: Path) -> None:
        """Remove the directory of one attempt with its content."""
        try:
            os.rmdir(directory)  # noqa: PTH106 - most files leave nothing; this is one system call.
        except OSError:
            shutil.rmtree(directory, ignore_errors=True)

    def close(self, *, keep: bool) -> None:
        """Remove everything; with `keep`, leave the kept directories, which are never swept. Idempotent."""
        if self._lock < 0:
            return
        with contextlib.suppress(OSError):
            if keep:
                (self._directory / LOCK).unlink()
                self._directory.rmdir()
            else:
                shutil.rmtree(self._directory, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1


def _make(parent: Path) -> tuple[Path, int]:
    """Create a directory; return it and its lock. Until the lock is held, another worker may remove it."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = os.open(directory / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:
                return directory, lock
        except BlockingIOError:
            pass  # Another worker that starts at the same moment is removing it.
        except OSError:
            os.close(lock)
            raise
        os.close(lock)


def sweep(parent: Path) -> None:
    """Remove the directories that killed workers of this user left in `parent`; never fails."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                _remove_if_abandoned(Path(entry.path))


def _remove_if_abandoned(directory: Path) -> None:
    with contextlib.suppress(OSError):
        if directory.stat().st_uid != os.getuid():
            return
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)
