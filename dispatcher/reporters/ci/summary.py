"""The summary page that GitHub shows of a run: verdict, failures, flaky files, timeline, ranks. Pure.

It keeps to GitHub's limit of bytes; what does not fit is left out, and the page says so.

Text of tests stays text: every ASCII character that is no letter, digit or space becomes a character
reference, which never stands for structure, neither for Markdown's (CommonMark, "Entity and numeric character
references") nor for HTML's. Around it is `<code>`, in which GitHub looks for no mentions, issue numbers or
emoji. In the Mermaid diagram, names keep their letters, digits and `_ . / -` alone, and a task's name begins
with its duration or is a dot, so that none begins with a word of the language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from msgspec import Struct

from dispatcher.model.plan import PlannedFile
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.ci.annotations import (
    case_line,
    case_name,
    file_line,
    how_it_ended,
    needs_own,
    shaky_files,
    told_cases,
)
from dispatcher.reporters.console.lines import BUDGET_LIMIT, status_text
from dispatcher.reporters.console.summary import NO_TEST_RAN, count_text, regression_text
from dispatcher.reporters.console.totals import Summary, biggest, slowest, summarize
from dispatcher.reporters.failure_text import headline
from passmuster.model.executor import Limit
from passmuster.model.text import one_line
from passmuster.model.units import format_bytes, format_seconds

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def plain(text: str) -> str:
    """Return one line as text; only letters, digits and spaces stand for themselves."""
    return _PUNCTUATION.sub(_reference, one_line(text))


def code(text: str, most_chars: int) -> str:
    """Return one line as code, cut to its first `most_chars` characters."""
    text = one_line(text)
    if len(text) > most_chars:
        text = f"{text[:most_chars]}..."
    return f"<code>{plain(text)}</code>" if text.strip() else ""


def linked(shown: str, url: str) -> str:
    """Return a piece of the page as a link.

    Args:
        shown: what is shown, escaped.
        url: percent-encoded; empty: no link.
    """
    return f'<a href="{url}">{shown}</a>' if url and shown else shown


def row(cells: Iterable[str]) -> str:
    """Return a row of a table; the cells are escaped."""
    return f"| {' | '.join(cells)} |\n"


def table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table with an empty line around it."""
    return f"\n{row(heads)}{row('---' for _ in heads)}{''.join(rows)}\n"


def _reference(match: re.Match[str]) -> str:
    # GitHub makes mail addresses links after it has resolved the references: a word joiner prevents that.
    return f"&#{ord(match[0])};" + ("&#8288;" if match[0] == "@" else "")


MAX_FILES = 40
"""Attempts in the picture, the longest: more would not be legible (and Mermaid draws nothing over 50 kB)."""

WIDTH_CHARS = 130
"""Characters of a name that the whole width takes, about: one that is wider than its bar covers the next."""

WORKER_CHARS = 40
MAX_TICKS = 10
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
    shown = sorted(bars, key=lambda bar: -bar.seconds)[:MAX_FILES]
    lines = ["---", "displayMode: compact", "---", "gantt", "dateFormat x", *_axis(span_s)]
    workers = {bar.place[0] for bar in shown}
    for place in sorted({bar.place for bar in shown}):
        worker = f"{_name(place[0])[:WORKER_CHARS]} " if len(workers) > 1 else ""
        lines.append(f"section {worker}slot {place[1] + 1}")
        lines += _tasks([bar for bar in shown if bar.place == place], begin, span_s)
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def _axis(span_s: float) -> tuple[str, str]:
    """Return what makes the axis count from the start: minutes would be those of the reader's time zone."""
    step_s = next((step for step in _STEPS_S if span_s / step <= MAX_TICKS), _STEPS_S[-1])
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


MAX_CASES = 10
"""Failing tests named of each file; the rest is counted."""

MAX_FLAKY = 50
MAX_GROWN = 20
RANKED_FILES = 10
NAME_CHARS = 200
WHY_CHARS = 300

_FAILURE_HEADS = ("File", "Test", "Why")
_CUT = "\n_Not everything is shown: the page has no more room. The log has it all._\n"


class PageRequest(Struct, frozen=True, kw_only=True):
    """What the page is made of.

    Args:
        results: the whole run.
        limits: the limits it started with; the memory budget is quoted from them.
        planned: what was planned, by path: the files' own memory limits.
        source_url: where the project's files are shown, with a slash at its end; empty: nowhere.
    """

    results: TestResults
    limits: Sequence[Limit]
    planned: Mapping[str, PlannedFile]
    source_url: str = ""


def summary_page(request: PageRequest, room_bytes: int) -> str:
    """Return the page, in at most `room_bytes` bytes of UTF-8; empty: there is no room for anything."""
    summary = summarize(request.results)
    head = f"\n{_verdict(request.results, summary)}{_numbers(request, summary)}"
    room_bytes -= _size(head) + _size(_CUT)
    if room_bytes < 0:
        return ""
    is_cut, kept = False, []
    for block in (_flaky(request), _grown(request), _timeline(request), _slowest(request), _biggest(request)):
        # What comes first on the page, the failures, gets at least half of the room.
        if _size(block) <= room_bytes // 2:
            kept.append(block)
            room_bytes -= _size(block)
        else:
            is_cut = True
    failures, is_short = _failures(request, room_bytes)
    return "".join([head, failures, *kept, _CUT * (is_cut or is_short)])


def _verdict(results: TestResults, summary: Summary) -> str:
    if summary.failed:
        return f"## ❌ {summary.failed} of {summary.total} test files failed\n\n"
    if summary.not_run:
        return f"## ⚠️ {summary.not_run} of {summary.total} test files did not run to their end\n\n"
    if results.differing:
        return f"## ❌ {len(results.differing)} of {summary.total} test files differ when forked\n\n"
    if results.failing_regressions:
        return f"## ❌ {count_text(results)} too much more than before\n\n"
    if results.ran_no_test:
        return f"## ⚠️ {NO_TEST_RAN}\n\n"
    return f"## ✅ All {summary.total} test files passed\n\n"


def _numbers(request: PageRequest, summary: Summary) -> str:
    parts = [f"**{summary.passed}** passed", f"**{summary.failed}** failed"]
    parts += [f"**{summary.not_run}** not run"] if summary.not_run else []
    parts += [f"**{summary.without_tests}** without tests"] if summary.without_tests else []
    parts += [f"**{summary.flaky}** flaky"] if summary.flaky else []
    lines = [f"{', '.join(parts)}, in {format_seconds(summary.duration_s)}."]
    if summary.cases:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in summary.cases)
        lines.append(f"Tests inside the files: {counts}.")
    if summary.peak_bytes:
        budgets = [limit for limit in request.limits if limit.name == BUDGET_LIMIT]
        of = f" of a budget of {plain(budgets[0].value)}" if budgets else ""
        lines.append(f"Peak memory of all together: {format_bytes(summary.peak_bytes)}{of}.")
    return "\n".join(lines) + "\n"


def _failures(request: PageRequest, room_bytes: int) -> tuple[str, bool]:
    """Return the table of failures, and whether it is not complete."""
    failed = sorted(request.results.failed, key=lambda record: record.file.path)
    if not failed:
        return "", False
    room_bytes -= _size("\n### Failures\n" + table(_FAILURE_HEADS, ()))
    rows = []
    for line in (line for record in failed for line in _failure_rows(request, record)):
        room_bytes -= _size(line)
        if room_bytes < 0:
            break  # A shorter one may still fit, but then nobody could tell what is missing.
        rows.append(line)
    return "\n### Failures\n" + table(_FAILURE_HEADS, rows) if rows else "", room_bytes < 0


def _failure_rows(request: PageRequest, record: FileAttempts) -> Iterator[str]:
    result = record.final
    if needs_own(result):
        yield row((_place(request, record, file_line(result, record)), "", _why(status_text(result))))
    cases = told_cases(record)
    for case in cases[:MAX_CASES]:
        place = _place(request, record, case_line(case, record))
        what = headline(case.message) or str(case.outcome)
        yield row((place, code(case_name(case.case_id), NAME_CHARS), _why(what)))
    if len(cases) > MAX_CASES:
        yield row((_place(request, record, None), f"and {len(cases) - MAX_CASES} more", ""))


def _flaky(request: PageRequest) -> str:
    flaky = shaky_files(request.results)
    if not flaky:
        return ""
    rows = [
        row(
            (
                _place(request, record, None),
                how_it_ended(record),
                _why("; ".join(status_text(one) for one in record.attempts if one.status.is_failure)),
            )
        )
        for record in flaky[:MAX_FLAKY]
    ]
    more = f"and {len(flaky) - MAX_FLAKY} more\n" if len(flaky) > MAX_FLAKY else ""
    return "\n### Flaky files\n" + table(("File", "Attempts", "Failures"), rows) + more


def _grown(request: PageRequest) -> str:
    """Return what took much more than it used to."""
    grown = request.results.regressions
    if not grown:
        return ""
    rows = [
        row((code(found.file.label, NAME_CHARS), plain(regression_text(found))))
        for found in grown[:MAX_GROWN]
    ]
    more = f"and {len(grown) - MAX_GROWN} more\n" if len(grown) > MAX_GROWN else ""
    return "\n### Much more than before\n" + table(("File", "What"), rows) + more


def _timeline(request: PageRequest) -> str:
    picture = timeline(request.results)
    if not picture:
        return ""
    return f"\n### Timeline\n\nThe longest files (at most {MAX_FILES}), by slot; red: failed.\n\n{picture}"


def _slowest(request: PageRequest) -> str:
    rows = [
        row((_place(request, record, None), format_seconds(record.final.duration)))
        for record in slowest(request.results, RANKED_FILES)
    ]
    return "\n### Slowest files\n" + table(("File", "Time"), rows) if rows else ""


def _biggest(request: PageRequest) -> str:
    records = biggest(request.results, RANKED_FILES)
    if not records:
        return ""
    limits = [_limit(request, record) for record in records]
    heads = ("File", "Peak", "Of its own limit") if any(limits) else ("File", "Peak")
    rows = []
    for record, limit in zip(records, limits, strict=True):
        cells = (_place(request, record, None), format_bytes(record.final.peak_bytes or 0), limit)
        rows.append(row(cells[: len(heads)]))
    return "\n### Files with the highest peak memory\n" + table(heads, rows)


def _limit(request: PageRequest, record: FileAttempts) -> str:
    """Return what a file uses of a limit that holds for it alone; empty: it has none."""
    planned = request.planned.get(record.file.path)
    limit_bytes = planned.task.limits.memory_bytes if planned is not None else None
    if not limit_bytes:
        return ""
    return f"{(record.final.peak_bytes or 0) / limit_bytes:.0%} of {format_bytes(limit_bytes)}"


def _place(request: PageRequest, record: FileAttempts, line: int | None) -> str:
    url = ""
    if request.source_url:
        url = request.source_url + quote(record.file.path, errors="backslashreplace")
        url += f"#L{line}" if line else ""
    return linked(code(record.file.label + (f":{line}" if line else ""), NAME_CHARS), url)


def _why(text: str) -> str:
    return code(text, WHY_CHARS)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
