"""Prints a run for a person at a terminal: a row for each file that did not pass, then what failed and why.

Every further attempt at a file has a row too, except one that only verifies a pass. `rows` lays out the rows,
`failure_report` formats the failed files. `live` adds the footer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStopping,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.plan import TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import TestResults
from dispatcher.reporters.console.line_reporter import LineReporter
from dispatcher.reporters.console.lines import (
    PASSED_EXCLUSIVELY,
    RERUN_TAGS,
    SLOTS_LIMIT,
    layout_lines,
    limits_lines,
    overruled_text,
    rerun_text,
    shard_lines,
    status_text,
)
from dispatcher.reporters.console.rows import MIN_COLUMNS, clipped, row, shortened_path
from dispatcher.reporters.console.summary import (
    attention_lines,
    cpu_text,
    files_text,
    ranking_lines,
    run_verdict,
    tests_text,
    used_text,
)
from dispatcher.reporters.console.totals import by_path, summarize
from dispatcher.terminal.tags import Tag, bulleted, tagged
from passmuster.model.result import TestResult
from passmuster.model.text import first_texts, one_line
from passmuster.model.units import format_seconds

MAX_FAILURE_LINES = 400
"""Lines about failed files, which a person still scrolls through; more failures have less detail each."""

MAX_LISTED = 5
"""Items of each list in the summary; the rest is counted."""

_NEEDED_ROWS = 8
"""Rows of the screen for everything but the list of failed files."""


class CompactReporter(LineReporter):
    """Prints the rows and the summary.

    A quiet report has the end only; a verbose one also has a row for each file that passed.
    """

    def lines(self, event: RunEvent) -> Sequence[str]:
        """Return the lines of an event."""
        if self._is_quiet and not isinstance(event, RunStopping | RunFinished):
            return []
        match event:
            case RunStarted():
                return self._started_lines(event)
            case FileSlow(file=file, seconds=seconds):
                text = f": still running after {format_seconds(seconds)}"
                room = self._columns - len(tagged(Tag.WARN, text))
                return [tagged(Tag.WARN, shortened_path(one_line(file.label), max(MIN_COLUMNS, room)) + text)]
            case AttemptFinished():
                return self._finished_rows(event)
            case VerdictSettled(file=file, result=result):
                # The verdict before a verification of a pass is printed already.
                is_new = event.attempt_reason is not RerunReason.VERIFY_PASS
                return self._verdict_rows(file, result) if is_new else []
            case RunStopping():
                return [tagged(Tag.WARN, f"Stopping: {event.cause}; no further file starts")]
            case RunFinished():
                return self._summary_lines(event.results)
            case AttemptStarted() | UsageSampled() | Notice():
                return []
            case _:
                assert_never(event)

    @property
    def _columns(self) -> int:
        # One column stays free, because terminals differ in how the cursor moves after the last one.
        return self._context.size().columns - 1

    def _started_lines(self, event: RunStarted) -> list[str]:
        parts = [f"{len(event.plan.files):,} file(s)"]
        parts += [f"{limit.value} at once" for limit in event.limits if limit.name == SLOTS_LIMIT]
        parts += [f"memory budget {self._budget}"] if self._budget else []
        if not self._is_verbose:
            return [tagged(Tag.INFO, one_line(", ".join(parts))), *shard_lines(event.plan)]
        return [
            *layout_lines(event.plan.layout),
            tagged(Tag.INFO, parts[0]),
            *limits_lines(event.limits),
            *shard_lines(event.plan),
        ]

    def _finished_rows(self, event: AttemptFinished) -> list[str]:
        file, result, following = event.file, event.result, event.rerun_reason
        match following:
            case RerunReason.SETTLED:
                return [self._row(Tag.WARN, file, result, overruled_text(result, event.attempt_reason))]
            case RerunReason.VERIFY_PASS:
                return self._verdict_rows(file, result)
            case None if event.attempt_reason is RerunReason.VERIFY_PASS and result.status.is_pass:
                text = "passed when spawned too"
                return [self._row(Tag.CHECK, file, result, text)] if self._is_verbose else []
            case None if event.attempt_reason is RerunReason.EXCLUSIVE and result.status.is_pass:
                return [self._row(Tag.PASS, file, result, PASSED_EXCLUSIVELY)]
            case None:
                return self._verdict_rows(file, result)
            case _:
                return [self._row(RERUN_TAGS[following], file, result, rerun_remark(result, following))]

    def _verdict_rows(self, file: TestFile, result: TestResult) -> list[str]:
        """Return the row of a verdict; none for a pass that needs no attention."""
        if result.status.is_pass:
            is_shown = self._is_verbose or result.attempt > 1
            text = f"passed in attempt {result.attempt}" if result.attempt > 1 else one_line(result.note)
            text = "cached" if result.is_cached else text
            return [self._row(Tag.PASS, file, result, text)] if is_shown else []
        tag = Tag.WARN if result.status.is_cancelled else Tag.FAIL
        return [self._row(tag, file, result, verdict_remark(result))]

    def _row(self, tag: Tag, file: TestFile, result: TestResult, remark: str) -> str:
        return row(
            tag,
            one_line(file.label),
            remark,
            seconds=result.duration,
            peak_bytes=result.peak_bytes,
            columns=self._columns,
        )

    def _summary_lines(self, results: TestResults) -> list[str]:
        """Return all lines after the last file: what failed and why, then a summary that fits a screen."""
        size, summary, failed = self._context.size(), summarize(results), by_path(results.failed)
        lines: list[str] = []
        if failed:
            # Only a run with failures waits for this.
            from dispatcher.reporters.failure_report import failed_files_lines

            lines += ["", *failed_files_lines(failed, self._hints, max_lines=MAX_FAILURE_LINES), ""]
        is_scrolled = len(lines) > size.lines - _NEEDED_ROWS
        if self._is_verbose:
            lines += ranking_lines(results, summary)
        lines += attention_lines(results, MAX_LISTED)
        if is_scrolled:
            # The rows of the failed files are no longer on the screen.
            labels = [clipped(one_line(record.file.label), size.columns - 5) for record in failed]
            shown = max(1, size.lines - _NEEDED_ROWS)
            lines.append(tagged(Tag.FAIL, "Failed files:"))
            lines += map(bulleted, first_texts(labels, shown))
        lines.append(tagged(Tag.INFO, f"In {used_text(results, self._budget)}"))
        if results.tests_cpu_s:
            lines.append(tagged(Tag.INFO, cpu_text(results)))
        lines.append(tagged(Tag.INFO, tests_text(summary)))
        tag, text = run_verdict(results, summary)
        files_tag = Tag.FAIL if results.failed else Tag.PASS if tag is Tag.PASS else Tag.INFO
        lines.append(tagged(files_tag, files_text(summary)))
        # If no file failed but not all passed, the reason is last.
        return [*lines, tagged(tag, text)] if files_tag is Tag.INFO else lines


_CONDITIONS = {
    RerunReason.VERIFY_FAILURE: "when forked",
    RerunReason.RECHECK: "when spawned",
    RerunReason.EXCLUSIVE: "in parallel",
    RerunReason.WHOLE: "in parts",
}
"""How a file ran in the attempt after which it runs again, where that may be the cause of its failure."""


def rerun_remark(result: TestResult, reason: RerunReason) -> str:
    """Return what an attempt gave after which the file runs again; the tag of the row says what for."""
    if result.status.is_pass or result.is_evicted:
        return rerun_text(result, reason)
    return ": ".join(filter(None, (_CONDITIONS.get(reason), verdict_remark(result))))


def verdict_remark(result: TestResult) -> str:
    """Return why a file did not pass: the number of its failed tests, or its status and the reason."""
    if result.failed_by_tests:
        return f"{len(result.bad_cases)} of {len(result.cases)} tests failed"
    return status_text(result)
