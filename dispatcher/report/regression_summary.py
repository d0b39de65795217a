"""What the end of the report says of files that took much more than they used to. Pure."""

from __future__ import annotations

from dispatcher.insight.regression import Measure, Regression
from dispatcher.report.plain_text import one_line
from dispatcher.report.tags import listed
from dispatcher.run.results import TestResults
from passmuster.units import format_bytes, format_seconds

_NAMES = {Measure.CPU: "CPU time", Measure.TIME: "time", Measure.MEMORY: "peak memory"}

LEAST_PACE_TOLD = 1.05
"""A run whose files take less than this many times their usual is as quick as ever."""


def regression_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return what grew, the largest factors first; nothing where nothing did."""
    heading = f"{count_text(results)} much more than before:"
    items = [f"{one_line(found.file.label)}: {regression_text(found)}" for found in results.regressions]
    return listed(heading, items, color=color)


def count_text(results: TestResults) -> str:
    """Return how many files it is."""
    return f"{len({found.file.path for found in results.regressions})} file(s) took"


def regression_text(found: Regression) -> str:
    """Return what grew from what to what: `CPU time 6.1s instead of 0.42s (14.5 times)`."""
    show = _bytes if found.what is Measure.MEMORY else format_seconds
    notes = [f"{found.factor:.1f} times"]
    if found.pace >= LEAST_PACE_TOLD:
        notes.append(f"where the run's files as a rule took {found.pace:.1f} times")
    if found.is_changed:
        notes.append("the file was changed")
    text = f"{_NAMES[found.what]} {show(found.now)} instead of {show(found.baseline)}"
    return f"{text} ({', '.join(notes)})"


def _bytes(size: float) -> str:
    return format_bytes(int(size))
