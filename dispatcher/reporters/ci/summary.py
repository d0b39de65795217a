"""The summary page that GitHub shows of a run: verdict, failures, flaky files, timeline, ranks.

It keeps to GitHub's limit of bytes; what does not fit is left out, and the page says so.

`summary.md.j2` prints it. Text of tests stays text: every ASCII character that is no letter, digit or space
becomes a character reference, which never stands for structure, neither for Markdown's (CommonMark, "Entity
and numeric character references") nor for HTML's. Around it is `<code>`, in which GitHub looks for no
mentions, issue numbers or emoji. In the Mermaid diagram, names keep their letters, digits and `_ . / -`
alone, and a task's name begins with its duration or is a dot, so that none begins with a word of the
language.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from dispatcher.model.plan import PlannedFile
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.ci.annotations import (
    TITLE_CHARS,
    how_it_ended,
    passed_after_failure,
)
from dispatcher.reporters.console.lines import status_text
from dispatcher.reporters.console.summary import count_regressed, regression_text
from dispatcher.reporters.console.totals import biggest, by_path, slowest, summarize
from dispatcher.reporters.failures import count_failures, failures_of
from dispatcher.reporters.templates import make_environment
from passmuster.model.result import TestResult
from passmuster.model.text import one_line
from passmuster.model.units import format_bytes, format_seconds

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def plain(text: str) -> str:
    """Return one line as Markdown text; only letters, digits and spaces stand for themselves."""
    return _PUNCTUATION.sub(_reference, one_line(text))


def _reference(match: re.Match[str]) -> str:
    # GitHub makes mail addresses links after it has resolved the references: a word joiner prevents that.
    return f"&#{ord(match[0])};" + ("&#8288;" if match[0] == "@" else "")


def _cut(text: str, max_chars: int) -> str:
    text = one_line(text)
    return text if len(text) <= max_chars else f"{text[:max_chars]}..."


MAX_FILES = 40
"""Attempts in the picture, the longest: more would not be legible (and Mermaid draws nothing over 50 kB)."""

WIDTH_CHARS = 130
"""Characters of a name that the whole width takes, about: one that is wider than its bar covers the next."""

WORKER_CHARS = 40
MAX_TICKS = 10
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)

_MEANS_SOMETHING = re.compile(r"[^\w./-]")


def timeline(results: TestResults) -> str:
    """Return the diagram, or "" if no attempt's start is known."""
    ran = [
        (record.file.label, attempt)
        for record in results.records
        for attempt in record.attempts
        if attempt.started_at > 0 and attempt.duration > 0
    ]
    if not ran:
        return ""
    start = min(attempt.started_at for _, attempt in ran)
    span_s = max(attempt.started_at + attempt.duration for _, attempt in ran) - start
    longest = sorted(ran, key=lambda item: -item[1].duration)[:MAX_FILES]
    slots: dict[tuple[str, int], list[str]] = defaultdict(list)
    for label, attempt in sorted(longest, key=lambda item: item[1].started_at):
        slots[attempt.worker, attempt.slot].append(_task(label, attempt, start, span_s))
    lines = ["---", "displayMode: compact", "---", "gantt", "dateFormat x", *_axis(span_s)]
    has_workers = len({worker for worker, _ in slots}) > 1
    for (worker, slot), tasks in sorted(slots.items()):
        prefix = f"{_name(worker)[:WORKER_CHARS]} " if has_workers else ""
        lines += [f"section {prefix}slot {slot + 1}", *tasks]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def _axis(span_s: float) -> tuple[str, str]:
    """Return what makes the axis count from the start: minutes would be those of the reader's time zone."""
    step_s = next((step for step in _STEPS_S if span_s / step <= MAX_TICKS), _STEPS_S[-1])
    if step_s < 1:
        return "axisFormat %Q ms", f"tickInterval {round(1000 * step_s)}millisecond"
    return "axisFormat %s s", f"tickInterval {step_s}second"


def _task(label: str, attempt: TestResult, start: float, span_s: float) -> str:
    start_ms = round(1000 * (attempt.started_at - start))
    end_ms = start_ms + max(1, round(1000 * attempt.duration))
    caption = _caption(label, attempt.duration, int(WIDTH_CHARS * attempt.duration / span_s))
    return f"{caption} :{'crit, ' * attempt.status.is_failure}{start_ms}, {end_ms}"


def _caption(label: str, seconds: float, max_chars: int) -> str:
    """Return the duration and as much of the file's name as fits into the bar, or a dot."""
    shown, parts = format_seconds(seconds), label.split("/")
    stem = parts[-1].removesuffix(".py")
    names = ["/".join(parts[at:]) for at in range(len(parts))] + [stem, stem.removeprefix("test_")]
    captions = [*(f"{shown} {_name(name)}" for name in names), shown]
    return next((caption for caption in captions if len(caption) <= max_chars), ".")


def _name(text: str) -> str:
    return _MEANS_SOMETHING.sub("_", text)


MAX_CASES = 10
"""Failures named of each file; the rest is counted."""

MAX_FLAKY = 50
MAX_REGRESSIONS = 20
RANKED_FILES = 10


class PageRequest(Struct, frozen=True, kw_only=True):
    """The input of the page."""

    results: TestResults
    budget: str
    """The memory budget at the start of the run; empty: unknown."""
    planned: Mapping[str, PlannedFile]
    """The plan, by path: the files' own memory limits."""
    source_url: str = ""
    """The URL prefix of the project's files, with a slash at its end; empty: none."""


def summary_page(request: PageRequest, room_bytes: int) -> str:
    """Return the page, in at most `room_bytes` bytes of UTF-8; empty: nothing fits."""
    templates = make_environment(
        Path(__file__).parent,
        escape=plain,
        filters={"bytes": format_bytes, "cut": _cut, "seconds": format_seconds},
    )
    write: Any = templates.get_template("summary.md.j2").module
    summary = summarize(request.results)
    regressed = count_regressed(request.results) if request.results.failing_regressions else ""
    head = write.head(request.results, summary, request.budget, regressed)
    room_bytes -= _size(head) + _size(write.cut_note())
    if room_bytes < 0:
        return ""
    is_cut, kept = False, []
    for block in _blocks(request, write):
        # The failures, first on the page, get at least half of the space.
        if _size(block) <= room_bytes // 2:
            kept.append(block)
            room_bytes -= _size(block)
        else:
            is_cut = True
    failures, is_short = _failures(request, write, room_bytes)
    return "".join([head, failures, *kept, write.cut_note() if is_cut or is_short else ""])


def _blocks(request: PageRequest, write: Any) -> Iterator[str]:
    """Yield the parts of the page below the failures; "" for one without content."""
    flaky = passed_after_failure(request.results)
    rows = [
        (
            _place(request, record),
            how_it_ended(record),
            "; ".join(status_text(one) for one in record.attempts if one.status.is_failure),
        )
        for record in flaky[:MAX_FLAKY]
    ]
    yield write.flaky(rows, len(flaky) - len(rows)) if rows else ""
    regressed = request.results.regressions
    texts = [(found.file.label, regression_text(found)) for found in regressed[:MAX_REGRESSIONS]]
    yield write.regressions(texts, len(regressed) - len(texts)) if texts else ""
    picture = timeline(request.results)
    yield write.timeline(picture, MAX_FILES) if picture else ""
    slow = [(_place(request, one), one.final.duration) for one in slowest(request.results, RANKED_FILES)]
    yield write.slowest(slow) if slow else ""
    big = [
        (_place(request, one), one.final.peak_bytes or 0, _limit(request, one))
        for one in biggest(request.results, RANKED_FILES)
    ]
    yield write.biggest(big, any(limit for _, _, limit in big)) if big else ""


def _failures(request: PageRequest, write: Any, room_bytes: int) -> tuple[str, bool]:
    """Return the table of failures, and whether it is incomplete."""
    failed = by_path(request.results.failed)
    room_bytes -= _size(write.failures([]))
    rows: list[str] = []
    for row in (row for record in failed for row in _failure_rows(request, record)):
        line = write.failure_row(row)
        room_bytes -= _size(line)
        if room_bytes < 0:
            break  # A shorter one may still fit, but then the missing ones would be arbitrary.
        rows.append(line)
    return write.failures(rows) if rows else "", bool(failed) and room_bytes < 0


def _failure_rows(request: PageRequest, record: FileAttempts) -> Iterator[dict[str, object]]:
    failures = failures_of(record.file, record.final)
    for failure in islice(failures, MAX_CASES):
        yield {
            "place": _place(request, record, failure.line),
            "test": failure.name[:TITLE_CHARS],
            "why": failure.message,
            "more": 0,
        }
    more = count_failures(record.final) - MAX_CASES
    if more > 0:
        yield {"place": _place(request, record), "more": more}


def _limit(request: PageRequest, record: FileAttempts) -> str:
    """Return a file's usage of its own limit; empty: it has none."""
    planned = request.planned.get(record.file.path)
    limit_bytes = planned.task.limits.memory_bytes if planned is not None else None
    if not limit_bytes:
        return ""
    return f"{(record.final.peak_bytes or 0) / limit_bytes:.0%} of {format_bytes(limit_bytes)}"


def _place(request: PageRequest, record: FileAttempts, line: int | None = None) -> dict[str, str]:
    """Return a file as it is shown, and where its source is; the URL is percent-encoded."""
    url = ""
    if request.source_url:
        url = request.source_url + quote(record.file.path, errors="backslashreplace")
        url += f"#L{line}" if line else ""
    return {"text": record.file.label + (f":{line}" if line else ""), "url": url}


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
