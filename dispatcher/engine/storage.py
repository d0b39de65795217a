"""The directories that outlive a run: `.passmuster/` in the project root, ignored by git.

.passmuster/history.sqlite3     the history of each file
.passmuster/runs/RUN_ID/        the files of one run; the last runs are kept
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from msgspec import Struct

from passmuster.host.state_directory import STATE_DIRECTORY, ignore_by_git

KEPT_RUNS = 10
"""Runs whose outputs are kept: enough to look back over an afternoon, a few MiB each."""


class Storage(Struct, frozen=True, kw_only=True, weakref=True):
    """The directories of one run.

    When this object or its process is gone, `prune_runs` may remove the run's directory; a temporary one is
    removed at once.
    """

    state_dir: Path | None = None
    """`.passmuster/` of the root; None: nothing is kept there, and `run_dir` is temporary."""
    run_dir: Path
    """The run's own directory, which exists."""
    notice: str = ""
    """Why nothing can be kept although it was wanted; empty: it can, or was not wanted."""

    @property
    def is_temporary(self) -> bool:
        """Whether nothing of the run is kept."""
        return self.state_dir is None


def open_storage(root: Path, run_id: str, *, wanted: bool) -> Storage:
    """Make the directories of a run.

    Args:
        wanted: whether anything is to be kept in the root; if not, or if the root cannot be written, a
            temporary directory serves for the run.
    """
    notice = ""
    if wanted:
        state_dir = root / STATE_DIRECTORY
        run_dir = state_dir / "runs" / run_id
        try:
            descriptor = _make_locked(run_dir)
        except OSError as error:
            notice = f"outputs and history of this run are not kept: {state_dir}: {error.strerror}"
        else:
            ignore_by_git(state_dir)
            storage = Storage(state_dir=state_dir, run_dir=run_dir)
            weakref.finalize(storage, os.close, descriptor)
            return storage
    storage = Storage(run_dir=Path(tempfile.mkdtemp(prefix="pm-run-")), notice=notice)
    # `tempfile.TemporaryDirectory` would warn about a leak, visibly for a user of the API.
    weakref.finalize(storage, shutil.rmtree, storage.run_dir, ignore_errors=True)
    return storage


def make_state_dir(root: Path) -> None:
    """Make `.passmuster/` if possible; if not, `open_storage` reports why."""
    state_dir = root / STATE_DIRECTORY
    with contextlib.suppress(OSError):
        state_dir.mkdir(mode=0o700, exist_ok=True)
        ignore_by_git(state_dir)


def _make_locked(run_dir: Path) -> int:
    """Make a run's directory, which already exists for a resumed run, and lock it against `prune_runs`.

    Returns:
        The descriptor that holds the lock.

    Raises:
        OSError: it cannot be made or locked.
    """
    while True:
        run_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        descriptor = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            # Another run may have removed it before it was locked.
            if run_dir.exists() and os.path.samestat(os.fstat(descriptor), run_dir.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def prune_runs(runs_dir: Path, *, keep: int) -> tuple[Path, ...]:
    """Remove the oldest run directories that no run uses, and return the removed ones.

    A directory that cannot be removed stays. Links are never followed, neither `runs_dir` itself nor its
    entries.

    Args:
        runs_dir: the directory with one directory for each run; it need not exist.
        keep: how many of the newest (by modification time) stay, at least 0; those in use stay in addition.
    """
    if runs_dir.is_symlink():
        return ()
    try:
        with os.scandir(runs_dir) as entries:
            found = [
                (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name)
                for entry in entries
                if entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        # The directory is missing, or another run prunes it now: the next run tries again.
        return ()
    oldest = [runs_dir / name for _, name in sorted(found, reverse=True)[max(0, keep) :]]
    return tuple(directory for directory in oldest if _remove_unused(directory))


def _remove_unused(directory: Path) -> bool:
    """Remove a run's directory unless a run uses it; return whether it is gone."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return not directory.exists()
