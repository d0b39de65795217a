"""The page that GitHub shows of a run: verdict, failures, flaky files, timeline, slowest and biggest. Pure.

It keeps to the bytes there are for it. What does not fit is left out, and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from msgspec import Struct

from dispatcher.plan import PlannedFile
from dispatcher.report.ci.annotations import (
    case_line,
    case_name,
    file_line,
    how_it_ended,
    needs_own,
    shaky_files,
    told_cases,
)
from dispatcher.report.ci.markdown_text import code, linked, plain, row, table
from dispatcher.report.ci.timeline import MOST_FILES, timeline
from dispatcher.report.console_format import BUDGET_LIMIT, status_text
from dispatcher.report.console_summary import NO_TEST_RAN
from dispatcher.report.failure_text import headline
from dispatcher.report.regression_summary import count_text, regression_text
from dispatcher.report.summary import Summary, biggest, slowest, summarize
from dispatcher.run.results import FileRecord, TestResults
from passmuster.executor import Limit
from passmuster.units import format_bytes, format_seconds

MOST_CASES = 10
"""Failing tests named of each file; the rest is counted."""

MOST_FLAKY = 50
MOST_GROWN = 20
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


def _failure_rows(request: PageRequest, record: FileRecord) -> Iterator[str]:
    result = record.final
    if needs_own(result):
        yield row((_place(request, record, file_line(result, record)), "", _why(status_text(result))))
    cases = told_cases(record)
    for case in cases[:MOST_CASES]:
        place = _place(request, record, case_line(case, record))
        what = headline(case.message) or str(case.outcome)
        yield row((place, code(case_name(case.case_id), NAME_CHARS), _why(what)))
    if len(cases) > MOST_CASES:
        yield row((_place(request, record, None), f"and {len(cases) - MOST_CASES} more", ""))


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
        for record in flaky[:MOST_FLAKY]
    ]
    more = f"and {len(flaky) - MOST_FLAKY} more\n" if len(flaky) > MOST_FLAKY else ""
    return "\n### Flaky files\n" + table(("File", "Attempts", "Failures"), rows) + more


def _grown(request: PageRequest) -> str:
    """Return what took much more than it used to."""
    grown = request.results.regressions
    if not grown:
        return ""
    rows = [
        row((code(found.file.label, NAME_CHARS), plain(regression_text(found))))
        for found in grown[:MOST_GROWN]
    ]
    more = f"and {len(grown) - MOST_GROWN} more\n" if len(grown) > MOST_GROWN else ""
    return "\n### Much more than before\n" + table(("File", "What"), rows) + more


def _timeline(request: PageRequest) -> str:
    picture = timeline(request.results)
    if not picture:
        return ""
    return f"\n### Timeline\n\nThe longest files (at most {MOST_FILES}), by slot; red: failed.\n\n{picture}"


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


def _limit(request: PageRequest, record: FileRecord) -> str:
    """Return what a file uses of a limit that holds for it alone; empty: it has none."""
    planned = request.planned.get(record.file.path)
    limit_bytes = planned.task.limits.memory_bytes if planned is not None else None
    if not limit_bytes:
        return ""
    return f"{(record.final.peak_bytes or 0) / limit_bytes:.0%} of {format_bytes(limit_bytes)}"


def _place(request: PageRequest, record: FileRecord, line: int | None) -> str:
    url = ""
    if request.source_url:
        url = request.source_url + quote(record.file.path, errors="backslashreplace")
        url += f"#L{line}" if line else ""
    return linked(code(record.file.label + (f":{line}" if line else ""), NAME_CHARS), url)


def _why(text: str) -> str:
    return code(text, WHY_CHARS)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
