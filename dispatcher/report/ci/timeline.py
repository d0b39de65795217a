"""A picture of when which file ran where, as a Mermaid diagram, which GitHub draws in summaries. Pure.

Names keep their letters, digits, and `_ . / -` alone, which mean nothing to Mermaid inside a name. Each name of a
task begins with its duration, so that none begins with a word of the language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dispatcher.run.results import TestResults
from passmuster.records import dataclass
from passmuster.units import format_seconds

MOST_FILES = 40
"""Attempts in the picture, the longest: more would not be legible (and Mermaid draws nothing over 50 kB)."""

NAME_CHARS = 60

_MEANS_SOMETHING = re.compile(r"[^\w./-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
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
    shown = sorted(bars, key=lambda bar: -bar.seconds)[:MOST_FILES]
    # The axis counts seconds from the start; minutes would be those of the reader's time zone.
    lines = ["---", "displayMode: compact", "---", "gantt", "dateFormat x", "axisFormat %s s"]
    workers = {bar.place[0] for bar in shown}
    for place in sorted({bar.place for bar in shown}):
        worker = f"{_name(place[0])} " if len(workers) > 1 else ""
        lines.append(f"section {worker}slot {place[1] + 1}")
        lines += _tasks((bar for bar in shown if bar.place == place), begin)
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def _tasks(bars: Iterable[_Bar], begin: float) -> Iterable[str]:
    for bar in sorted(bars, key=lambda bar: bar.started_at):
        start_ms = round(1000 * (bar.started_at - begin))
        end_ms = start_ms + max(1, round(1000 * bar.seconds))
        yield f"{format_seconds(bar.seconds)} {_name(bar.name)} :{'crit, ' * bar.is_bad}{start_ms}, {end_ms}"


def _name(text: str) -> str:
    return _MEANS_SOMETHING.sub("_", text[-NAME_CHARS:])
