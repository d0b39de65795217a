"""Prints at the end only what failed, for programs and coding agents: `--output brief`. Pure.

Every line that a test wrote stands behind a bar, and none can be a command to a CI that shows the text.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from dispatcher.model.events import RunEvent, RunFinished
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import TestResults, exit_code_of
from dispatcher.reporters.console.line_reporter import Hints, LineReporter
from dispatcher.reporters.console.summary import attention_lines, files_text, run_verdict, tests_text
from dispatcher.reporters.console.totals import by_path, summarize
from dispatcher.reporters.failure_report import LEVELS, failed_files_lines
from dispatcher.terminal.tags import tagged
from passmuster.model.units import format_seconds

MAX_LINES = 100

MAX_LINE_CHARS = 500
"""Characters of one line; the start and the end of a longer one are shown."""

MAX_LISTED = 3
"""Items of each list about why a run failed in which no file did."""


BRIEF_LEVELS = tuple(replace(level, has_tails_of_tests=False) for level in LEVELS)
"""The message of a test is enough, and the log is named."""


class BriefReporter(LineReporter):
    """Prints the counts and the failed files once the run has ended."""

    def lines(self, event: RunEvent) -> Sequence[str]:
        """Return the report for the end of the run, nothing for any other event."""
        return brief_lines(event.results, self._hints) if isinstance(event, RunFinished) else []


def brief_lines(results: TestResults, hints: Hints) -> list[str]:
    """Return at most 100 lines: the result, the counts, and each failed file with its failures."""
    summary = summarize(results)
    counts = f"{files_text(summary)}; {tests_text(summary)}"
    lines = [f"{exit_code_of(results).name}: {counts}; in {format_seconds(results.duration_s)}"]
    if results.failed:
        failed = by_path(results.failed)
        lines += failed_files_lines(failed, hints, max_lines=MAX_LINES - 1, levels=BRIEF_LEVELS)
    elif exit_code_of(results) is not ExitCode.OK:
        lines += [*attention_lines(results, MAX_LISTED), tagged(*run_verdict(results, summary))]
    return [_inert(line) for line in lines]


def _inert(line: str) -> str:
    """Return a line in which GitHub and Azure see no command: theirs may stand anywhere in a line."""
    if len(line) > MAX_LINE_CHARS:
        half = MAX_LINE_CHARS // 2
        line = f"{line[:half]} [...] {line[-half:]}"
    return line.replace("##[", "##\\[").replace("##vso[", "##vso\\[")
