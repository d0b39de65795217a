"""The trends of files over their last runs: time, memory, and how often they failed or reran. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dispatcher.history.file_history import EarlierRun
from dispatcher.model.results import FileAttempts
from dispatcher.reporters.html.entries import Values, run_look
from dispatcher.reporters.html.report_model import ReportModel
from passmuster.model.units import format_bytes, format_seconds

MAX_ROWS = 50
"""Files with trends: those that failed or reran most often, then the slowest."""

MIN_RUNS = 2
"""Runs, this one included, that make a trend."""

WIDTH, HEIGHT = 120, 24
"""Pixels of a curve."""

_MARGIN = 2
"""Pixels above and below a curve, so that its line is not cut."""


def trend_rows(model: ReportModel) -> list[Values]:
    """Return the rows of the table, those that failed or reran most often first."""
    known = [
        (record, runs)
        for record in model.records
        if not record.status.is_cancelled
        and len(runs := (*model.earlier_runs.get(record.file.path, ()), _this_run(record))) >= MIN_RUNS
    ]
    known.sort(key=lambda one: (-_unsteady_share(one[1]), -one[0].final.duration, one[0].file.path))
    return [_row(model, record, runs) for record, runs in known[:MAX_ROWS]]


def _this_run(record: FileAttempts) -> EarlierRun:
    first = record.attempts[0]
    return EarlierRun(
        statuses=tuple(attempt.status for attempt in (*record.others, record.final)),
        duration_s=first.duration,
        peak_bytes=first.peak_bytes,
    )


def _unsteady_share(runs: Sequence[EarlierRun]) -> float:
    return sum(run_look(run.statuses) != "pass" for run in runs) / len(runs)


def _row(model: ReportModel, record: FileAttempts, runs: Sequence[EarlierRun]) -> Values:
    looks = [run_look(run.statuses) for run in runs]
    return {
        "label": record.file.label,
        "runs": len(runs),
        "passed_on_rerun": looks.count("again"),
        "failed": sum(look not in ("pass", "again") for look in looks),
        "looks": looks,
        "time": _curve([run.duration_s for run in runs], format_seconds),
        "memory": _curve([run.peak_bytes for run in runs], lambda size: format_bytes(int(size))),
    }


def _curve(values: Sequence[float | None], text_of: Callable[[float], str]) -> Values:
    """Return the points of a curve, the newest value, and the range of all as texts."""
    known = [value for value in values if value is not None]
    if not known:
        return {"points": "", "now": "", "range": ""}
    low, high = text_of(min(known)), text_of(max(known))
    return {
        "points": " ".join(_points(values, max(known))) if len(known) > 1 else "",
        "now": text_of(known[-1]) if values[-1] is not None else "",
        "range": "" if low == high else f"{low} to {high}",
    }


def _points(values: Sequence[float | None], top: float) -> Iterator[str]:
    step = WIDTH / (len(values) - 1)
    for number, value in enumerate(values):
        if value is not None:
            share = value / top if top > 0 else 0.0
            yield f"{number * step:.1f},{HEIGHT - _MARGIN - share * (HEIGHT - 2 * _MARGIN):.1f}"
