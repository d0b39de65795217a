"""Formats the end of the compact report: what failed and why, then a summary that fits a screen. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dispatcher.model.results import TestResults
from dispatcher.reporters.console.line_reporter import Hints
from dispatcher.reporters.console.rows import clipped
from dispatcher.reporters.console.summary import (
    attention_lines,
    cpu_text,
    ranking_lines,
    run_verdict,
    special_failures,
    used_text,
)
from dispatcher.reporters.console.totals import Summary, by_path, summarize
from dispatcher.terminal.tags import Tag, bulleted, tagged
from passmuster.model.status import Outcome
from passmuster.model.text import first_texts, one_line

MAX_FAILURE_LINES = 400
"""Lines about failed files, which a person still scrolls through; more failures have less detail each."""

MAX_LISTED = 5
"""Items of each list in the summary; the rest is counted."""

_NEEDED_ROWS = 8
"""Rows of the screen for everything but the list of failed files."""


def compact_summary_lines(
    results: TestResults,
    *,
    budget: str,
    hints: Hints,
    is_verbose: bool,
    size: os.terminal_size,
) -> list[str]:
    """Return all lines after the last file.

    Args:
        budget: the memory budget at the start of the run; empty: unknown.
        is_verbose: adds the slowest and the biggest files.
    """
    summary, failed = summarize(results), by_path(results.failed)
    lines: list[str] = []
    if failed:
        # Only a run with failures waits for this.
        from dispatcher.reporters.failure_report import failed_files_lines

        lines += ["", *failed_files_lines(failed, hints, max_lines=MAX_FAILURE_LINES), ""]
    is_scrolled = len(lines) > size.lines - _NEEDED_ROWS
    if is_verbose:
        lines += ranking_lines(results, summary)
    lines += attention_lines(results, MAX_LISTED)
    if is_scrolled:
        # The rows of the failed files are no longer on the screen.
        labels = [clipped(one_line(record.file.label), size.columns - 5) for record in failed]
        shown = max(1, size.lines - _NEEDED_ROWS)
        lines.append(tagged(Tag.FAIL, "Failed files:"))
        lines += map(bulleted, first_texts(labels, shown))
    lines.append(tagged(Tag.INFO, f"In {used_text(results, budget)}"))
    if results.tests_cpu_s:
        lines.append(tagged(Tag.INFO, cpu_text(results)))
    return [*lines, *_verdict_lines(results, summary)]


def _verdict_lines(results: TestResults, summary: Summary) -> Iterator[str]:
    """Yield the counts of tests and of files; if no file failed but not all passed, the reason is last."""
    yield tagged(Tag.INFO, tests_text(summary))
    tag, text = run_verdict(results, summary)
    files_tag = Tag.FAIL if results.failed else Tag.PASS if tag is Tag.PASS else Tag.INFO
    yield tagged(files_tag, files_text(summary))
    if files_tag is Tag.INFO:
        yield tagged(tag, text)


def files_text(summary: Summary) -> str:
    """Return how the files ended: `300 file(s): 297 passed, 3 failed (TIMEOUT 1)`."""
    kinds = f" ({special})" if (special := special_failures(summary)) else ""
    cached = f" ({summary.cached:,} cached)" if summary.cached else ""
    parts = [f"{summary.passed:,} passed{cached}"]
    parts += [f"{summary.failed:,} failed{kinds}"] if summary.failed else []
    parts += [f"{summary.not_run:,} not run"] if summary.not_run else []
    parts += [f"{summary.without_tests:,} without tests"] if summary.without_tests else []
    parts += [f"{summary.flaky:,} flaky"] if summary.flaky else []
    total = summary.total + summary.without_tests
    return f"{total:,} file(s): {', '.join(parts)}"


def tests_text(summary: Summary) -> str:
    """Return how the tests inside the files ended: `1,204 test(s): 1,201 passed, 3 failed`."""
    total = sum(count for _, count in summary.cases)
    parts = [f"{count:,} {outcome}" for outcome, count in summary.cases if outcome is not Outcome.PASSED]
    passed = dict(summary.cases).get(Outcome.PASSED, 0)
    return f"{total:,} test(s): {', '.join([f'{passed:,} passed', *parts])}"
