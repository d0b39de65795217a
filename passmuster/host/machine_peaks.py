"""Stores the peaks of test files of any project on this machine, to predict those of a project without
history.

Each user has a small file in the common directory of the runs (`passmuster.host.machine_claims`). It is only
a cache: if it is missing, damaged or not writable, predictions are less accurate. If two runs end at the same
moment, the peaks of one may be lost.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from passmuster.host.machine_claims import MAX_BYTES
from passmuster.host.state_directory import write_cache

MAX_PEAKS = 200
"""Peaks that are kept, the newest last."""

MAX_PEAKS_OF_RUN = 20
"""Peaks that one run adds: ten runs shape the estimate, however many files one of them had."""

_VERSION = 1
_MAX_FILE_BYTES = 16384


def load_peaks(folder: Path) -> tuple[int, ...]:
    """Return the peaks in bytes that this user's recent runs saw; none where that cannot be known."""
    try:
        peaks_fd = os.open(_path(folder), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(peaks_fd, "rb") as file:
            status = os.fstat(peaks_fd)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
                return ()
            record: object = json.loads(file.read(_MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return ()
    match record:
        case {"version": 1, "peaks_bytes": [*peaks]} if all(map(_is_peak, peaks)):
            return tuple(peaks[-MAX_PEAKS:])
    return ()


def add_peaks(folder: Path, peaks_bytes: Sequence[int]) -> None:
    """Add what the files of a run took, in bytes: of many, a sample that covers small and large ones."""
    if not peaks_bytes:
        return
    step = max(1.0, len(peaks_bytes) / MAX_PEAKS_OF_RUN)
    ordered = sorted(peaks_bytes)
    sample = [ordered[int(step * number)] for number in range(int(len(ordered) / step))]
    record = {"version": _VERSION, "peaks_bytes": [*load_peaks(folder), *sample][-MAX_PEAKS:]}
    write_cache(_path(folder), json.dumps(record), mode=0o600)


def _path(folder: Path) -> Path:
    return folder / f"peaks-{os.getuid()}.json"


def _is_peak(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_BYTES
