"""Formats the end of the console report: the old scripts' summary, and additions to it. Pure.

The scripts' lines keep their order. Additions stand between `  Failed: N` and `Failed test details:`, or at
the end of a failed file's details, so that the last block is still the list of paths. Forked and spawned
files are mentioned only if forking changed something.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter

from dispatcher.model.results import (
    FileAttempts,
    Finding,
    Measure,
    Regression,
    TestResults,
    names_of_cases,
)
from dispatcher.reporters.console.line_reporter import RerunCommand
from dispatcher.reporters.console.lines import LAST_LINES, attempts_text, status_text
from dispatcher.reporters.console.totals import Summary, biggest, by_path, slowest, summarize
from dispatcher.terminal.tags import Tag, bulleted, indented, tagged
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Outcome, Status
from passmuster.model.test_selection import QUARANTINED
from passmuster.model.text import first_texts, last_lines, one_line
from passmuster.model.units import format_bytes, format_seconds

MAX_DIFFERENCES = 10
"""Differences named for each file; the rest is counted."""

MAX_NAMED = 5
"""Files named for each reason why they were not forked; the rest is counted."""

MAX_TEXT_CHARS = 300
"""Characters of one difference or process: the name of a test may contain its parameters."""

MIN_SLOWDOWN_SHOWN = 1.05
"""The slowdown of a whole run from which it is mentioned."""

MAX_LEAKED = 3
"""Processes named of those that a file left behind; the rest is counted."""

MAX_DEPENDENT_TESTS = 5
"""Tests named of a file that failed only in parts."""

RANKED_FILES = 5
"""Files in the lists of the slowest and the biggest."""


def summary_lines(
    results: TestResults,
    *,
    budget: str,
    rerun: RerunCommand,
    is_verbose: bool,
) -> list[str]:
    """Return all lines of the summary.

    Args:
        budget: the memory budget at the start of the run; empty: unknown.
        is_verbose: adds the slowest and the biggest files.
    """
    summary = summarize(results)
    rate = f"success rate {summary.success_percent:.1f}%"
    totals = f"{summary.passed}/{summary.total} files passed, {rate}, in {used_text(results, budget)}"
    lines = [*_count_lines(summary), tagged(Tag.INFO, totals)]
    if results.tests_cpu_s:
        lines.append(tagged(Tag.INFO, cpu_text(results)))
    if is_verbose:
        lines += ranking_lines(results, summary)
    lines += attention_lines(results)
    if results.failed:
        return lines + _failed_lines(summary, by_path(results.failed), rerun)
    return [*lines, tagged(*run_verdict(results, summary))]


def attention_lines(results: TestResults, most: int | None = None) -> Iterator[str]:
    """Yield what the run found out besides its verdicts: flaky files, regressions, and the like.

    Args:
        most: items of each list that are shown; the rest is counted. None: all.
    """
    for tag, text, items in _remarks(results):
        if items is None or items:
            yield tagged(tag, text)
            shown = items or ()
            yield from map(bulleted, shown if most is None else first_texts(shown, most))


def run_verdict(results: TestResults, summary: Summary) -> tuple[Tag, str]:
    """Return the last line of a run without failed files: that all passed, or why that cannot be said."""
    if summary.not_run:
        # Never "all tests passed" here: a file that did not run did not pass.
        text = f"The run is not complete: {summary.not_run} file(s) did not run to their end"
        return Tag.WARN, text
    if results.differing:
        return Tag.FAIL, f"{len(results.differing)} file(s) differ when forked"
    if results.failing_regressions:
        return Tag.FAIL, f"{count_regressed(results)} regressed (fail-on-regression)"
    if results.ran_no_test:
        return Tag.WARN, f"No test ran: {_no_test_reason(results)}"
    return Tag.PASS, "All tests passed! 🎉"


def _no_test_reason(results: TestResults) -> str:
    selected = dict.fromkeys(record.file.selection.shown for record in results.records)
    if all(selected):
        return f"none matches {next(iter(selected))}"
    return "the files hold none, or all of them are deselected"


def _count_lines(summary: Summary) -> Iterator[str]:
    yield tagged(Tag.INFO, "🧪 Test Summary:")
    yield f"  Total tests: {summary.total}"
    yield f"  Passed: {summary.passed}"
    yield f"  Failed: {summary.failed}"
    if summary.not_run:
        yield f"  Not run: {summary.not_run}"
    if summary.without_tests:
        yield f"  Without tests: {summary.without_tests} file(s)"
    if summary.flaky:
        yield f"  Flaky: {summary.flaky}"
    if summary.cached:
        yield f"  Cached: {summary.cached} file(s) that did not run"
    if kinds := special_failures(summary):
        yield f"  Of the failed: {kinds}"
    if summary.cases:
        # The name stands before the number: a parser that looks for `N passed` must find files only.
        yield "  Test cases: " + ", ".join(f"{outcome} {count}" for outcome, count in summary.cases)


def special_failures(summary: Summary) -> str:
    """Return how many files failed in another way than by `FAIL`: `TIMEOUT 1, CRASH 2`; "" if none did."""
    counts = (
        f"{status} {count}"
        for status, count in summary.statuses
        if status.is_failure and status is not Status.FAIL
    )
    return ", ".join(counts)


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


def used_text(results: TestResults, budget: str) -> str:
    """Return the time of a run and its peak memory: `3.7s, peak memory 316 MiB of 4 GiB`."""
    text = format_seconds(results.duration_s)
    if results.peak_bytes:
        text += f", peak memory {format_bytes(results.peak_bytes)}"
        text += f" of {one_line(budget)}" if budget else ""
    return text


def cpu_text(results: TestResults) -> str:
    """Return the CPU time of the tests and of Passmuster."""
    text = f"CPU time: {format_seconds(results.tests_cpu_s)} in tests"
    if results.own_cpu_s is not None:
        text += f", {format_seconds(results.own_cpu_s)} in Passmuster"
    return text


def ranking_lines(results: TestResults, summary: Summary) -> Iterator[str]:
    """Yield how many files were forked, and which were the slowest and the biggest."""
    if summary.forked:
        spawned = sum(one.started and one.final.isolation is Isolation.SPAWN for one in results.records)
        yield tagged(Tag.INFO, f"Forked: {summary.forked} file(s), spawned: {spawned}")
    slow = [f"{_label(one)} ({format_seconds(one.final.duration)})" for one in slowest(results, RANKED_FILES)]
    big = [
        f"{_label(one)} ({format_bytes(one.final.peak_bytes or 0)})" for one in biggest(results, RANKED_FILES)
    ]
    for heading, items in (("Slowest files:", slow), ("Files with the highest peak memory:", big)):
        if items:
            yield tagged(Tag.INFO, heading)
            yield from map(bulleted, items)


_Remark = tuple[Tag, str, Sequence[str] | None]
"""A line, and the items of the list below it: it is left out if there are none. None: it has no list."""


def _remarks(results: TestResults) -> Iterator[_Remark]:
    records = by_path(results.records)
    flaky = [
        f"{_label(record)} ({record.status}; attempts: {attempts_text(record)})"
        for record in by_path(results.flaky)
    ]
    yield Tag.WARN, f"{len(flaky)} flaky file(s) passed and failed in this run:", flaky
    yield from _finding_remarks(results)
    if results.is_verified:
        yield from _isolation_remarks(results, records)
    yield from _quarantine_remarks(records)
    leaked = [
        f"{_label(record)}: {', '.join(first_texts(processes, MAX_LEAKED))}"
        for record in records
        if (processes := [one_line(one)[:MAX_TEXT_CHARS] for run in record.attempts for one in run.leaked])
    ]
    yield Tag.WARN, f"{len(leaked)} file(s) left processes behind, which Passmuster killed:", leaked
    not_run = [f"{_label(record)} ({cancelled_text(record)})" for record in by_path(results.cancelled)]
    yield Tag.WARN, f"{len(not_run)} file(s) did not run to their end:", not_run
    regressed = [f"{one_line(found.file.label)}: {regression_text(found)}" for found in results.regressions]
    yield Tag.WARN, f"{count_regressed(results)} regressed:", regressed


def _finding_remarks(results: TestResults) -> Iterator[_Remark]:
    for finding, (meaning, detail) in _FINDINGS.items():
        items = [f"{_label(record)} ({detail(record)})" for record in by_path(results.found(finding))]
        yield Tag.WARN, f"{len(items)} file(s) {meaning}:", items
    unverified = len(results.found(Finding.UNVERIFIED))
    if unverified:
        text = (
            "passed in a forked process and have not been run in a fresh interpreter yet; later runs do that"
        )
        yield Tag.INFO, f"{unverified} file(s) {text}", None


def _dependent_tests(record: FileAttempts) -> str:
    """Return the tests that failed in parts of a file; if none did, why the parts did not pass."""
    failed = _last_failure(record)
    tests = [one_line(name) for name in names_of_cases(failed, failed.bad_cases)]
    return ", ".join(first_texts(tests, MAX_DEPENDENT_TESTS)) if tests else status_text(failed)


def _last_failure(record: FileAttempts) -> TestResult:
    return next((one for one in reversed(record.attempts) if one.status.is_failure), record.final)


def _forked_attempt(record: FileAttempts) -> TestResult:
    """Return the forked attempt that was verified."""
    forked = [attempt for attempt in record.others if attempt.isolation is Isolation.FORK]
    return forked[-1] if forked else record.final


_FINDINGS: Mapping[Finding, tuple[str, Callable[[FileAttempts], str]]] = {
    Finding.FAILS_WHEN_FORKED: (
        "failed twice when forked and passed twice when spawned; they are spawned until they change",
        lambda record: status_text(_forked_attempt(record)),
    ),
    Finding.FAILS_IN_PARALLEL: (
        "failed in parallel and passed when run alone; they run exclusively until they change",
        lambda record: f"in parallel: {_last_failure(record).status}",
    ),
    Finding.FAILS_IN_PARTS: (
        (
            "failed twice in parts and passed as a whole, so that these tests seem to depend on others; they "
            "run as a whole until they change"
        ),
        _dependent_tests,
    ),
    Finding.INDIVISIBLE: (
        "could not run in parts; they run as a whole until they change",
        lambda record: one_line(next(filter(None, (one.indivisible_because for one in record.attempts)))),
    ),
}
"""What the files with a finding did, and what is said of each of them."""


def _isolation_remarks(results: TestResults, records: Sequence[FileAttempts]) -> Iterator[_Remark]:
    """Yield what a run that verifies forking found out."""
    differing = [
        f"{one_line(difference.file.label)}: {text}"
        for difference in sorted(results.differing, key=lambda difference: difference.file.path)
        for text in first_texts(
            [one_line(text)[:MAX_TEXT_CHARS] for text in difference.texts], MAX_DIFFERENCES
        )
    ]
    yield Tag.WARN, f"{len(results.differing)} file(s) differ when forked:", differing
    varying = [record for record in records if record.varies]
    if varying:
        text = "have tests that differ between spawned attempts too"
        yield Tag.INFO, f"{len(varying)} file(s) {text}: {_named(varying)}", None
    spawned: dict[str, list[FileAttempts]] = defaultdict(list)
    for record in records:
        if record.started and not record.was_forked:
            spawned[record.final.isolation_note or "no reason given"].append(record)
    count = sum(map(len, spawned.values()))
    reasons = [f"{one_line(why)}: {_named(files)}" for why, files in sorted(spawned.items())]
    yield Tag.INFO, f"{count} file(s) were not forked, so that there was nothing to compare:", reasons
    incomparable = [record for record in records if record.is_incomparable]
    if incomparable:
        text = (
            "could not be compared, because the spawned attempt had another worker or interpreter, or a "
            "signal from outside ended an attempt"
        )
        yield Tag.WARN, f"{len(incomparable)} file(s) {text}: {_named(incomparable)}", None


def _named(records: Sequence[FileAttempts]) -> str:
    return f"{len(records)} ({', '.join(first_texts(list(map(_label, records)), MAX_NAMED))})"


def _quarantine_remarks(records: Sequence[FileAttempts]) -> Iterator[_Remark]:
    """Yield how many quarantined tests failed, and which of them do not exist."""
    cases = [case for record in records for case in record.final.cases]
    failed = sum(case.message.startswith(QUARANTINED) and not case.outcome.is_bad for case in cases)
    if failed:
        yield Tag.INFO, f"{failed} quarantined test(s) failed, which does not count", None
    stale = [
        f"{_label(record)}::{one_line(test)[:MAX_TEXT_CHARS]}"
        for record in records
        for test in record.final.stale_quarantine
    ]
    yield Tag.WARN, f"{len(stale)} quarantined test(s) do not exist; remove the entries:", stale


def _failed_lines(summary: Summary, failed: Sequence[FileAttempts], rerun: RerunCommand) -> list[str]:
    lines = [tagged(Tag.WARN, "Failed test details:")]
    for record in failed:
        lines += _detail_lines(record, rerun)
    lines.append(tagged(Tag.FAIL, f"{summary.failed} test(s) failed"))
    lines += ["", f"SUMMARY: {summary.passed} passed, {summary.failed} failed", "FAILED TESTS:"]
    return lines + [_label(record) for record in failed]


def _detail_lines(record: FileAttempts, rerun: RerunCommand) -> Iterator[str]:
    # Only a run with failures waits for these.
    from dispatcher.reporters.failure_report import FULL_DETAIL, failure_lines, remarks
    from dispatcher.reporters.failures import failed_tests
    from dispatcher.reporters.stack_text import stack_lines

    result = record.final
    yield bulleted(_label(record))
    yield "    Last few lines of output:"
    yield from indented(last_lines(result.output, LAST_LINES) or ("(it printed nothing)",))
    if not result.failed_by_tests:
        yield f"    Status: {status_text(result)}"
    yield from (f"    {remark}" for remark in remarks(record))
    if result.bad_cases:
        yield "    Failing tests:"
        failures = list(failed_tests(record.file, result))
        yield from indented(failure_lines(failures, len(failures), FULL_DETAIL, attrgetter("with_id")))
    if result.stacks:
        yield "    Stacks at the timeout:"
        yield from indented(stack_lines(result.stacks, record.file.path))
    if result.kept_tmp:
        yield f"    TMPDIR kept at: {one_line(result.kept_tmp)}"
    yield f"    Run it again: {one_line(rerun(record))}"


_MEASURE_NAMES = {Measure.CPU: "CPU time", Measure.TIME: "time", Measure.MEMORY: "peak memory"}


def regression_text(found: Regression) -> str:
    """Return a regression as text: `CPU time 6.1s instead of 0.42s (14.5 times)`."""
    now, baseline = (
        format_bytes(int(value)) if found.measure is Measure.MEMORY else format_seconds(value)
        for value in (found.now, found.baseline)
    )
    notes = [f"{found.factor:.1f} times"]
    if found.run_slowdown >= MIN_SLOWDOWN_SHOWN:
        notes.append(f"in a run that took {found.run_slowdown:.1f} times its baseline")
    if found.is_changed:
        notes.append("the file was changed")
    return f"{_MEASURE_NAMES[found.measure]} {now} instead of {baseline} ({', '.join(notes)})"


def count_regressed(results: TestResults) -> str:
    """Return how many files regressed: `2 file(s)`."""
    return f"{len({found.file.path for found in results.regressions})} file(s)"


def cancelled_text(record: FileAttempts) -> str:
    """Return how far a file came that did not run to its end."""
    return f"stopped after {format_seconds(record.final.duration)}" if record.started else "never started"


def _label(record: FileAttempts) -> str:
    return one_line(record.file.label)
