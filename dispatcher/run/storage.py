"""Where a run leaves what outlives it: `.passmuster/` in the project root, ignored by git.

.passmuster/history.sqlite3     what is remembered of each file
.passmuster/runs/RUN_ID/        outputs of one run's files; the last runs are kept
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from passmuster.records import dataclass

STATE_DIRECTORY = ".passmuster"

KEPT_RUNS = 10
"""Runs whose outputs are kept: enough to look back over an afternoon, a few MiB each."""


class TemporaryRun:
    """A directory that is removed with this object, or with the process.

    `tempfile.TemporaryDirectory` would call that a leak, in a warning that a user of the API sees.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="pm-run-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def cleanup(self) -> None:
        """Remove it now."""
        self._remove()


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """The directories of one run.

    Args:
        state_dir: `.passmuster/` of the root; None: nothing is kept there.
        run_dir: the run's own directory, which exists.
        temporary: what removes `run_dir` once this object is gone; None: it stays.
        notice: why nothing can be kept although it was wanted; empty: it can, or was not wanted.
    """

    state_dir: Path | None
    run_dir: Path
    temporary: TemporaryRun | None = None
    notice: str = ""


def open_storage(root: Path, run_id: str, *, wanted: bool) -> Storage:
    """Make the directories of a run.

    Args:
        root: the project root.
        run_id: names the run's directory.
        wanted: whether anything is to be kept in the root; otherwise, and where it cannot be written,
            a temporary directory serves for the time of the run.
    """
    notice = ""
    if wanted:
        state_dir = root / STATE_DIRECTORY
        run_dir = state_dir / "runs" / run_id
        try:
            run_dir.mkdir(parents=True, mode=0o700, exist_ok=True)  # A resumed run has it.
        except OSError as error:
            notice = f"outputs and history of this run are not kept: {state_dir}: {error.strerror}"
        else:
            ignore_by_git(state_dir)
            return Storage(state_dir=state_dir, run_dir=run_dir)
    temporary = TemporaryRun()
    return Storage(state_dir=None, run_dir=temporary.path, temporary=temporary, notice=notice)


def make_state_dir(root: Path) -> None:
    """Make `.passmuster/` if that is possible; where it is not, `open_storage` says why."""
    state_dir = root / STATE_DIRECTORY
    with contextlib.suppress(OSError):
        state_dir.mkdir(mode=0o700, exist_ok=True)
        ignore_by_git(state_dir)


def ignore_by_git(state_dir: Path) -> None:
    """Keep the directory out of the user's commits, whatever their `.gitignore` says."""
    ignore = state_dir / ".gitignore"
    if not ignore.exists() and os.access(state_dir, os.W_OK):
        ignore.write_text("*\n", encoding="utf-8")
