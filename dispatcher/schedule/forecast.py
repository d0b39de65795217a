"""What a run will probably take: its files' histories played through the waiting line.

Pure. The play uses the same `Line` and the same rule of admission as a real run, so that `--dry-run` shows
what would happen if every file took what it took before.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dispatcher.schedule.line import Line
from dispatcher.schedule.order import Ordered
from passmuster.executor import Room
from passmuster.task import TestTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run will probably take.

    Args:
        wall_s: seconds from the first start to the last end; None when no file has ever run.
        peak_bytes: the most memory that will be reserved at any moment.
        unknown: how many files never ran and were taken for ordinary ones.
    """

    wall_s: float | None
    peak_bytes: int
    unknown: int


def predict_makespan(files: Sequence[Ordered], *, slots: int, budget_bytes: int) -> Forecast:
    """Return what running `files` in their order will probably take.

    Args:
        files: the files with their predictions; one without takes the median of the others' seconds and an
            equal share of the budget.
        slots: how many files run at once.
        budget_bytes: what all files together may use.
    """
    known_s = [file.predicted_s for file in files if file.predicted_s is not None]
    usual_s = median(known_s) if known_s else 0.0
    seconds = {file.file.path: usual_s if file.predicted_s is None else file.predicted_s for file in files}
    share_bytes = budget_bytes // slots
    line = Line([_task(file) for file in files])
    running: list[tuple[float, int, int]] = []
    now_s, reserved_bytes, peak_bytes, started = 0.0, 0, 0, 0
    while line or running:
        room = Room(
            slots=slots - len(running),
            free_bytes=max(0, budget_bytes - reserved_bytes),
            unknown_bytes=share_bytes,
            is_idle=not running,
        )
        task = line.next_fit(room)
        if task is None:
            now_s, _, freed_bytes = heapq.heappop(running)
            reserved_bytes -= freed_bytes
            continue
        need_bytes = share_bytes if task.predicted_bytes is None else task.predicted_bytes
        reserved_bytes += need_bytes
        peak_bytes = max(peak_bytes, reserved_bytes)
        started += 1
        heapq.heappush(running, (now_s + seconds[task.file_path], started, need_bytes))
    return Forecast(
        wall_s=now_s if known_s or not files else None,
        peak_bytes=peak_bytes,
        unknown=len(files) - len(known_s),
    )


def _task(file: Ordered) -> TestTask:
    """Return a task that is only ever waited with."""
    return TestTask(run_id="", file_path=file.file.path, predicted_bytes=file.predicted_bytes)
