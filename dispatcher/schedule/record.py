"""What is remembered of a test file from earlier runs.

`dispatcher.schedule.history` stores and loads these; `dispatcher.schedule.order` makes predictions of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from passmuster.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHistory:
    """One file as its earlier runs showed it.

    Args:
        path: the file, as `TestFile.path`.
        duration_s: wall-clock seconds it is expected to take.
        cpu_s: processor seconds it is expected to take; None when unknown.
        peak_bytes: the most memory its process tree is expected to use; None when never measured.
        last_status: the verdict of its last attempt that counted.
        size_bytes: the file's size when it last ran.
        mtime_ns: its modification time then; with the size it tells whether it changed since.
        runs: how many attempts this is drawn from.
    """

    path: str
    duration_s: float
    cpu_s: float | None = None
    peak_bytes: int | None = None
    last_status: Status = Status.PASS
    size_bytes: int = 0
    mtime_ns: int = 0
    runs: int = 1
