"""Formats the end of the console report: the old scripts' summary, and additions to it. Pure.

The scripts' lines keep their order. Additions stand between `  Failed: N` and `Failed test details:`, or at
the end of a failed file's details, so that the last block is still the list of paths. Forked and spawned
files are mentioned only if forking changed something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from dispatcher.config.choices import Verbosity
from dispatcher.model.results import FileAttempts, Finding, Measure, Regression, TestResults
from dispatcher.reporters.console.lines import BUDGET_LIMIT, LAST_LINES, status_text
from dispatcher.reporters.console.totals import Summary, biggest, slowest, summarize
from dispatcher.terminal.tags import Tag, bulleted, indented, listed, tagged
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.text import last_lines, one_line
from passmuster.model.units import format_bytes, format_seconds

MAX_DIFFERENCES = 10
"""Differences named of each file; the rest is counted."""

MAX_NAMED = 5
"""Files named for each reason why they were not forked; the rest is counted."""

MAX_TEXT = 300
"""Characters of one difference: the name of a test may hold its parameters."""


def isolation_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return the findings about files that differ when forked, or that fail in parallel."""
    return [
        *_failed_forked_lines(results, color=color),
        *_crowded_lines(results, color=color),
        *_unconfirmed_lines(results, color=color),
        *_difference_lines(results, color=color),
        *_not_forked_lines(results, color=color),
        *_not_compared_lines(results, color=color),
    ]


def ways_lines(results: TestResults, summary: Summary, *, color: bool) -> list[str]:
    """Return the number of forked files, if there were any, for verbose output."""
    if not summary.forked:
        return []
    spawned = sum(record.started and record.final.isolation is Isolation.SPAWN for record in results.records)
    text = f"Forked: {summary.forked} file(s), spawned: {spawned}"
    return [tagged(Tag.INFO, text, color=color)]


def _unconfirmed_lines(results: TestResults, *, color: bool) -> list[str]:
    left = len(results.found(Finding.UNVERIFIED))
    if not left:
        return []
    text = (
        f"{left} file(s) passed in a forked process and have not been run in a fresh interpreter yet; "
        "later runs do that"
    )
    return [tagged(Tag.INFO, text, color=color)]


def _failed_forked_lines(results: TestResults, *, color: bool) -> list[str]:
    found = _by_path(results.found(Finding.FAILS_WHEN_FORKED))
    items = [f"{_label(record)} ({status_text(_forked(record))})" for record in found]
    heading = (
        f"{len(items)} file(s) failed twice when forked and passed twice when spawned; they are "
        "spawned until they change:"
    )
    return listed(heading, items, color=color)


def _forked(record: FileAttempts) -> TestResult:
    """Return the forked attempt that was verified."""
    forked = [attempt for attempt in record.others if attempt.isolation is Isolation.FORK]
    return forked[-1] if forked else record.final


def _crowded_lines(results: TestResults, *, color: bool) -> list[str]:
    found = _by_path(results.found(Finding.FAILS_IN_PARALLEL))
    items = [f"{_label(record)} (in parallel: {_parallel_failure(record).status})" for record in found]
    heading = (
        f"{len(items)} file(s) failed in parallel and passed when run alone; they run exclusively "
        "until they change:"
    )
    return listed(heading, items, color=color)


def _parallel_failure(record: FileAttempts) -> TestResult:
    return next((one for one in reversed(record.attempts) if one.status.is_failure), record.final)


def _difference_lines(results: TestResults, *, color: bool) -> list[str]:
    items: list[str] = []
    for difference in sorted(results.differing, key=lambda difference: difference.file.path):
        shown = [one_line(text)[:MAX_TEXT] for text in difference.texts[:MAX_DIFFERENCES]]
        hidden = len(difference.texts) - len(shown)
        more = [f"and {hidden} more"] if hidden else []
        items += [f"{one_line(difference.file.label)}: {text}" for text in (*shown, *more)]
    heading = f"{len(results.differing)} file(s) differ when forked:"
    return listed(heading, items, color=color)


def _not_forked_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return the files that could not be verified, for each reason."""
    if not results.is_verified:
        return []
    by_reason: dict[str, list[FileAttempts]] = {}
    for record in _by_path(results.records):
        if record.started and not record.was_forked:
            by_reason.setdefault(record.final.isolation_note or "no reason given", []).append(record)
    if not by_reason:
        return []
    count = sum(map(len, by_reason.values()))
    text = f"{count} file(s) were not forked, so that there was nothing to compare:"
    return [
        tagged(Tag.INFO, text, color=color),
        *(bulleted(f"{one_line(why)}: {_named(files)}") for why, files in sorted(by_reason.items())),
    ]


def _not_compared_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return the files whose attempts differ in more than their start method and were not compared."""
    found = [record for record in _by_path(results.records) if record.is_incomparable]
    if not results.is_verified or not found:
        return []
    text = (
        f"{len(found)} file(s) could not be compared, because the spawned attempt had another worker or "
        f"interpreter, or a signal from outside ended an attempt: {_named(found)}"
    )
    return [tagged(Tag.WARN, text, color=color)]


def _named(records: Sequence[FileAttempts]) -> str:
    names = ", ".join(map(_label, records[:MAX_NAMED]))
    more = f", and {len(records) - MAX_NAMED} more" if len(records) > MAX_NAMED else ""
    return f"{len(records)} ({names}{more})"


_NAMES = {Measure.CPU: "CPU time", Measure.TIME: "time", Measure.MEMORY: "peak memory"}

MIN_PACE_TOLD = 1.05
"""The slowdown of a whole run from which it is mentioned."""


def regression_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return the regressions, the largest factors first; nothing if there are none."""
    heading = f"{count_text(results)} regressed:"
    items = [f"{one_line(found.file.label)}: {regression_text(found)}" for found in results.regressions]
    return listed(heading, items, color=color)


def count_text(results: TestResults) -> str:
    """Return the number of files as a phrase."""
    return f"{len({found.file.path for found in results.regressions})} file(s)"


def regression_text(found: Regression) -> str:
    """Return a regression as text: `CPU time 6.1s instead of 0.42s (14.5 times)`."""
    show = _bytes if found.measure is Measure.MEMORY else format_seconds
    notes = [f"{found.factor:.1f} times"]
    if found.run_slowdown >= MIN_PACE_TOLD:
        notes.append(f"where the run's files as a rule took {found.run_slowdown:.1f} times")
    if found.is_changed:
        notes.append("the file was changed")
    text = f"{_NAMES[found.measure]} {show(found.now)} instead of {show(found.baseline)}"
    return f"{text} ({', '.join(notes)})"


def _bytes(size: float) -> str:
    return format_bytes(int(size))


NO_TEST_RAN = "No test ran: the files hold none, or all of them are deselected"
"""The line that replaces success if no test ran."""

STACK_LINES = 30
"""Lines shown of the stacks of a file that timed out: about two Python stacks."""

MAX_LEAKED = 3
"""Processes named of those that a file left behind; the rest is counted."""

RANKED_FILES = 5
"""Files in the lists of the slowest and the biggest."""


class SummaryRequest(Struct, frozen=True, kw_only=True):
    """The input of the summary.

    Args:
        limits: the limits at the start of the run; the memory budget is quoted from them.
        rerun: gives the command that reruns one file.
        verbosity: verbose adds the slowest and the biggest files.
    """

    results: TestResults
    limits: Sequence[Limit]
    rerun: Callable[[FileAttempts], str]
    verbosity: Verbosity
    color: bool


def summary_lines(request: SummaryRequest) -> list[str]:
    """Return all lines of the summary."""
    summary = summarize(request.results)
    failed = sorted(request.results.failed, key=lambda record: record.file.path)
    lines = _count_lines(request, summary)
    if request.verbosity is Verbosity.VERBOSE:
        lines += ways_lines(request.results, summary, color=request.color) + _ranking_lines(request)
    lines += _flaky_lines(request) + isolation_lines(request.results, color=request.color)
    lines += _leaked_lines(request) + _not_run_lines(request)
    lines += regression_lines(request.results, color=request.color)
    if failed:
        lines += _failed_lines(request, summary, failed)
    elif summary.not_run:
        # Never "all tests passed" here: a file that did not run did not pass.
        text = f"The run is not complete: {summary.not_run} file(s) did not run to their end"
        lines.append(tagged(Tag.WARN, text, color=request.color))
    elif request.results.differing:
        text = f"{len(request.results.differing)} file(s) differ when forked"
        lines.append(tagged(Tag.FAIL, text, color=request.color))
    elif request.results.failing_regressions:
        text = f"{count_text(request.results)} regressed (fail-on-regression)"
        lines.append(tagged(Tag.FAIL, text, color=request.color))
    elif request.results.ran_no_test:
        lines.append(tagged(Tag.WARN, _no_test_ran(request.results), color=request.color))
    else:
        lines.append(tagged(Tag.PASS, "All tests passed! 🎉", color=request.color))
    return lines


def _no_test_ran(results: TestResults) -> str:
    selected = dict.fromkeys(record.file.selection.shown for record in results.records)
    return f"No test ran: none matches {next(iter(selected))}" if all(selected) else NO_TEST_RAN


def _count_lines(request: SummaryRequest, summary: Summary) -> list[str]:
    lines = [
        tagged(Tag.INFO, "🧪 Test Summary:", color=request.color),
        f"  Total tests: {summary.total}",
        f"  Passed: {summary.passed}",
        f"  Failed: {summary.failed}",
    ]
    if summary.not_run:
        lines.append(f"  Not run: {summary.not_run}")
    if summary.without_tests:
        lines.append(f"  Without tests: {summary.without_tests} file(s)")
    if summary.flaky:
        lines.append(f"  Flaky: {summary.flaky}")
    special = [pair for pair in summary.statuses if pair[0].is_failure and pair[0] is not Status.FAIL]
    if special:
        lines.append("  Of the failed: " + ", ".join(f"{status} {count}" for status, count in special))
    if summary.cases:
        # The name stands before the number: a parser that looks for `N passed` must find files only.
        counts = ", ".join(f"{outcome} {count}" for outcome, count in summary.cases)
        lines.append(f"  Test cases: {counts}")
    lines.append(tagged(Tag.INFO, _closing_text(request, summary), color=request.color))
    return lines


def _closing_text(request: SummaryRequest, summary: Summary) -> str:
    text = (
        f"{summary.passed}/{summary.total} files passed, success rate {summary.success_percent:.1f}%, "
        f"in {format_seconds(summary.duration_s)}"
    )
    if summary.peak_bytes:
        text += f", peak memory {format_bytes(summary.peak_bytes)}"
        budgets = [limit.value for limit in request.limits if limit.name == BUDGET_LIMIT]
        text += f" of {one_line(budgets[0])}" if budgets else ""
    return text


def _ranking_lines(request: SummaryRequest) -> list[str]:
    lines: list[str] = []
    by_time = slowest(request.results, RANKED_FILES)
    if by_time:
        lines.append(tagged(Tag.INFO, "Slowest files:", color=request.color))
        lines += [
            bulleted(f"{_label(record)} ({format_seconds(record.final.duration)})") for record in by_time
        ]
    by_memory = biggest(request.results, RANKED_FILES)
    if by_memory:
        lines.append(tagged(Tag.INFO, "Files with the highest peak memory:", color=request.color))
        lines += [
            bulleted(f"{_label(record)} ({format_bytes(record.final.peak_bytes or 0)})")
            for record in by_memory
        ]
    return lines


def _flaky_lines(request: SummaryRequest) -> list[str]:
    items = [
        f"{_label(record)} ({record.status}; attempts: {attempts_text(record)})"
        for record in _by_path(request.results.flaky)
    ]
    heading = f"{len(items)} flaky file(s) passed and failed in this run:"
    return listed(heading, items, color=request.color)


def _leaked_lines(request: SummaryRequest) -> list[str]:
    items: list[str] = []
    for record in _by_path(request.results.records):
        leaked = [one_line(process) for attempt in record.attempts for process in attempt.leaked]
        if leaked:
            named = ", ".join(process[:300] for process in leaked[:MAX_LEAKED])
            more = f", and {len(leaked) - MAX_LEAKED} more" if len(leaked) > MAX_LEAKED else ""
            items.append(f"{_label(record)}: {named}{more}")
    heading = f"{len(items)} file(s) left processes behind, which were ended:"
    return listed(heading, items, color=request.color)


def _not_run_lines(request: SummaryRequest) -> list[str]:
    items: list[str] = []
    for record in _by_path(request.results.cancelled):
        how = f"stopped after {format_seconds(record.final.duration)}" if record.started else "never started"
        items.append(f"{_label(record)} ({how})")
    return listed(f"{len(items)} file(s) did not run to their end:", items, color=request.color)


def _failed_lines(request: SummaryRequest, summary: Summary, failed: Sequence[FileAttempts]) -> list[str]:
    lines = [tagged(Tag.WARN, "Failed test details:", color=request.color)]
    for record in failed:
        lines += _detail_lines(record, request.rerun)
    lines.append(tagged(Tag.FAIL, f"{summary.failed} test(s) failed", color=request.color))
    lines += ["", f"SUMMARY: {summary.passed} passed, {summary.failed} failed", "FAILED TESTS:"]
    return lines + [_label(record) for record in failed]


def _detail_lines(record: FileAttempts, rerun: Callable[[FileAttempts], str]) -> list[str]:
    from dispatcher.reporters.failure_text import (
        failing_test_lines,  # Only a run with failures waits for this.
    )

    result = record.final
    printed = last_lines(result.output, LAST_LINES)
    lines = [bulleted(_label(record)), "    Last few lines of output:"]
    lines += indented(printed or ("(it printed nothing)",))
    if result.status is not Status.FAIL or not any(case.outcome.is_bad for case in result.cases):
        lines.append(f"    Status: {status_text(result)}")
    if record.finding is Finding.PASSES_ONLY_FORKED:
        lines.append("    It passed when forked, and failed when spawned.")
    if record.finding is Finding.FAILS_IN_PARALLEL:
        lines.append("    It failed in parallel and passed when run alone.")
    if record.is_flaky:
        lines.append(f"    It is flaky, its attempts ended: {attempts_text(record)}")
    lines += failing_test_lines(record, printed)
    if result.stacks:
        lines.append("    Stacks at the timeout:")
        lines += indented(last_lines(result.stacks, STACK_LINES))
    if result.kept_tmp:
        lines.append(f"    TMPDIR kept at: {one_line(result.kept_tmp)}")
    lines.append(f"    Run it again: {one_line(rerun(record))}")
    return lines


def attempts_text(record: FileAttempts) -> str:
    """Return how the attempts at a file ended, in their order, without evicted ones."""
    return ", ".join(attempt.status for attempt in record.attempts if not attempt.is_evicted)


def _label(record: FileAttempts) -> str:
    return one_line(record.file.label)


def _by_path(records: Sequence[FileAttempts]) -> list[FileAttempts]:
    return sorted(records, key=lambda record: record.file.path)
