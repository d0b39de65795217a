"""Encodes a file's coverage data as text for a message, and deletes the data from this machine.

A file that starts further Python processes leaves data for each of them. A message carries only one, so they
are combined here by the project's own `coverage` (`child/passmuster_child_merge.py`), which knows its format.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from passmuster.model.errors import InfrastructureError
from passmuster.wire.envelope import pack_bytes
from worker.process.command import CHILD_DIR
from worker.process.settings import WorkerSettings

MERGE_S = 60.0
"""Seconds that joining may take: it takes 0.1 for a file with ten processes."""

_MERGE = CHILD_DIR / "passmuster_child_merge.py"


def pack_coverage(files: Sequence[str], settings: WorkerSettings) -> str:
    """Return coverage data as text, empty where there is none; its folder is removed.

    Args:
        files: what one file left, all in a folder of their own.
        settings: of the worker.

    Raises:
        InfrastructureError: it cannot be read or joined.
    """
    if not files:
        return ""
    folder = Path(files[0]).parent
    try:
        path = Path(files[0]) if len(files) == 1 else _merged(files, folder, settings)
        return pack_bytes(path.read_bytes())
    except OSError as error:
        raise InfrastructureError(f"its coverage data cannot be read: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _merged(files: Sequence[str], folder: Path, settings: WorkerSettings) -> Path:
    """Return a new file with the data of all; may raise OSError too."""
    merged = folder / "merged"
    try:
        done = subprocess.run(
            [settings.interpreter, str(_MERGE), str(merged), *files],
            env=settings.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=MERGE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(f"joining its coverage data took longer than {MERGE_S:g} s") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="backslashreplace").strip().splitlines() or ["no reason was given"]
        raise InfrastructureError(f"its coverage data cannot be joined: {lines[-1]}")
    return merged
