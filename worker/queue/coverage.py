"""Encodes a file's coverage data as text for a message, and deletes the data from this machine.

A file that starts other Python processes leaves data for each of them. A message carries only one data file,
so the project's own `coverage`, which knows its format, combines them (`child/passmuster_child_merge.py`).
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
"""Seconds that combining may take: it takes 0.1 for a file with ten processes."""

_MERGE = CHILD_DIR / "passmuster_child_merge.py"


def pack_coverage(files: Sequence[str], settings: WorkerSettings) -> str:
    """Return the coverage data of one test file as text, or "" if there is none; remove its directory.

    All data files are in one directory, which contains nothing else.

    Raises:
        InfrastructureError: the data cannot be read or combined.
    """
    if not files:
        return ""
    folder = Path(files[0]).parent
    try:
        path = Path(files[0]) if len(files) == 1 else _combine(files, folder, settings)
        return pack_bytes(path.read_bytes())
    except OSError as error:
        raise InfrastructureError(f"its coverage data cannot be read: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _combine(files: Sequence[str], folder: Path, settings: WorkerSettings) -> Path:
    """Combine the data in a new file; may also raise OSError."""
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
        raise InfrastructureError(f"combining its coverage data took longer than {MERGE_S:g} s") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="backslashreplace").strip().splitlines() or ["no reason was given"]
        raise InfrastructureError(f"its coverage data cannot be combined: {lines[-1]}")
    return merged
