"""A picture of when which file ran where, as a Mermaid diagram, which GitHub draws in summaries. Pure.

Names keep their letters, digits, and `_ . / -` alone, which mean nothing to Mermaid inside a name. A task's
name begins with its duration or is a dot, so that none begins with a word of the language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from dispatcher.run.results import TestResults
from passmuster.units import format_seconds

MOST_FILES = 40
"""Attempts in the picture, the longest: more would not be legible (and Mermaid draws nothing over 50 kB)."""

WIDTH_CHARS = 130
"""Characters of a name that the whole width takes, about: one that is wider than its bar covers the next."""

WORKER_CHARS = 40
MOST_TICKS = 10
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)

_MEANS_SOMETHING = re.compile(r"[^\w./-]")


class _Bar(Struct, frozen=True, kw_only=True):
    place: tuple[str, int]
    name: str
    started_at: float
    seconds: float
    is_bad: bool


def timeline(results: TestResults) -> str:
    """Return the diagram; empty where no attempt's start is known."""
    bars = [
        _Bar(
            place=(attempt.worker, attempt.slot),
            name=record.file.label,
            started_at=attempt.started_at,
            seconds=attempt.duration,
            is_bad=attempt.status.is_failure,
        )
        for record in results.records
        for attempt in record.attempts
        if attempt.started_at > 0 and attempt.duration > 0
    ]
    if not bars:
        return ""
    begin = min(bar.started_at for bar in bars)
    span_s = max(bar.started_at + bar.seconds for bar in bars) - begin
    shown = sorted(bars, key=lambda bar: -bar.seconds)[:MOST_FILES]
    lines = ["---", "displayMode: compact", "---", "gantt", "dateFormat x", *_axis(span_s)]
    workers = {bar.place[0] for bar in shown}
    for place in sorted({bar.place for bar in shown}):
        worker = f"{_name(place[0])[:WORKER_CHARS]} " if len(workers) > 1 else ""
        lines.append(f"section {worker}slot {place[1] + 1}")
        lines += _tasks([bar for bar in shown if bar.place == place], begin, span_s)
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def _axis(span_s: float) -> tuple[str, str]:
    """Return what makes the axis count from the start: minutes would be those of the reader's time zone."""
    step_s = next((step for step in _STEPS_S if span_s / step <= MOST_TICKS), _STEPS_S[-1])
    if step_s < 1:
        return "axisFormat %Q ms", f"tickInterval {round(1000 * step_s)}millisecond"
    return "axisFormat %s s", f"tickInterval {step_s}second"


def _tasks(bars: Sequence[_Bar], begin: float, span_s: float) -> Iterator[str]:
    for bar in sorted(bars, key=lambda bar: bar.started_at):
        start_ms = round(1000 * (bar.started_at - begin))
        end_ms = start_ms + max(1, round(1000 * bar.seconds))
        caption = _caption(bar, int(WIDTH_CHARS * bar.seconds / span_s))
        yield f"{caption} :{'crit, ' * bar.is_bad}{start_ms}, {end_ms}"


def _caption(bar: _Bar, most_chars: int) -> str:
    """Return the duration and as much of the file's name as fits into the bar, or a dot."""
    seconds, parts = format_seconds(bar.seconds), bar.name.split("/")
    stem = parts[-1].removesuffix(".py")
    names = ["/".join(parts[start:]) for start in range(len(parts))] + [stem, stem.removeprefix("test_")]
    captions = [*(f"{seconds} {_name(name)}" for name in names), seconds]
    return next((caption for caption in captions if len(caption) <= most_chars), ".")


def _name(text: str) -> str:
    return _MEANS_SOMETHING.sub("_", text)
