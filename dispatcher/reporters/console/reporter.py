"""Prints a run as the lines of the shell scripts, in the order of its events: the report on a pipe.

`lines` and `summary` format the lines. On a terminal `compact` prints another report, unless the user wants
this one, and `live` keeps a footer below either.
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
from dispatcher.model.rerun_reason import PROVISIONAL_AFTER, TOLD_BEFORE, RerunReason
from dispatcher.reporters.console.line_reporter import ConsoleContext, LineReporter
from dispatcher.reporters.console.lines import (
    PASSED_EXCLUSIVELY,
    RULE,
    file_line,
    found_lines,
    layout_lines,
    limits_lines,
    note_lines,
    overruled_text,
    rerun_text,
    running_line,
    shard_lines,
    verdict_lines,
)
from dispatcher.reporters.console.summary import summary_lines
from dispatcher.terminal.tags import Tag, indented, tagged
from passmuster.model.result import TestResult
from passmuster.model.text import one_line, shown_lines
from passmuster.model.units import format_seconds


class ConsoleReporter(LineReporter):
    """Prints the contract's lines.

    A quiet report has failures and the summary only; a verbose one also has what each file printed.
    """

    def __init__(self, context: ConsoleContext) -> None:
        super().__init__(context)
        self._printed: dict[str, bool] = {}
        """Whether the verdict that is printed of a file is a pass, while a further attempt may change it."""

    def lines(self, event: RunEvent) -> Sequence[str]:
        """Return the lines of an event."""
        match event:
            case RunStarted():
                return [] if self._is_quiet else _started_lines(event)
            case AttemptStarted():
                return self._attempt_lines(event)
            case FileSlow(file=file, seconds=seconds):
                text = f"still running after {format_seconds(seconds)}"
                return [] if self._is_quiet else [file_line(Tag.WARN, file, text)]
            case AttemptFinished():
                return self._finished_lines(event)
            case VerdictSettled(file=file, result=result):
                is_printed = self._printed.pop(file.path, None) is result.status.is_pass
                return [] if is_printed else self._decided_lines(file, result)
            case RunStopping():
                return [tagged(Tag.WARN, f"Stopping: {event.cause}; no further file starts")]
            case RunFinished():
                rerun = self._context.rerun
                return summary_lines(
                    event.results, budget=self._budget, rerun=rerun, is_verbose=self._is_verbose
                )
            case UsageSampled() | Notice():
                return []
            case _:
                assert_never(event)

    def _attempt_lines(self, event: AttemptStarted) -> list[str]:
        # The verdict of a file before such an attempt is printed, or a line said that the file reruns.
        is_announced = event.attempt_reason in (*PROVISIONAL_AFTER, RerunReason.VERIFY_FAILURE)
        if self._is_quiet or (is_announced and not self._is_verbose):
            return []
        worker = event.worker if self._is_verbose else ""
        return [running_line(event.file, attempt=event.attempt, worker=worker)]

    def _finished_lines(self, event: AttemptFinished) -> list[str]:
        file, result, following = event.file, event.result, event.rerun_reason
        before = self._printed.get(file.path)
        if following is None:
            self._printed.pop(file.path, None)
        elif following in TOLD_BEFORE:
            self._printed[file.path] = result.status.is_pass
        lines = _printed_lines(event) if self._is_verbose else []
        if following is RerunReason.SETTLED:
            lines.append(file_line(Tag.WARN, file, overruled_text(result, event.attempt_reason)))
            return [] if self._is_quiet else lines
        is_exclusive = event.attempt_reason is RerunReason.EXCLUSIVE
        if event.attempt_reason in TOLD_BEFORE:
            if following is None and before is result.status.is_pass:
                text = "failed when run alone too" if is_exclusive else "passed when spawned too"
                return [file_line(Tag.INFO, file, text)] if self._is_verbose else []
            if not result.is_evicted and before is not result.status.is_pass:
                text = PASSED_EXCLUSIVELY if is_exclusive else "passed when forked, failed when spawned"
                lines.append(file_line(Tag.WARN, file, text))
        if following is not None and following not in TOLD_BEFORE:
            lines.append(file_line(Tag.WARN, file, rerun_text(result, following)))
            return [] if self._is_quiet else lines
        if before and result.status.is_pass:
            lines.append(file_line(Tag.INFO, file, f"passed in attempt {result.attempt}"))
            return [] if self._is_quiet else lines
        return lines + self._decided_lines(file, result)

    def _decided_lines(self, file: TestFile, result: TestResult) -> list[str]:
        """Return a file's verdict with the rule below it; a quiet report has only failures, without rules."""
        if result.holds_no_tests:
            return note_lines(file, result) if self._is_verbose else []
        if self._is_quiet:
            return verdict_lines(file, result) if result.status.is_failure else []
        return verdict_lines(file, result) + ([] if result.status.is_cancelled else [RULE])


def _started_lines(event: RunStarted) -> list[str]:
    plan = event.plan
    return [
        *layout_lines(plan.layout),
        *found_lines(planned.file for planned in plan.files),
        *limits_lines(event.limits),
        *shard_lines(plan),
    ]


def _printed_lines(event: AttemptFinished) -> list[str]:
    """Return the output of an attempt and its test cases, for verbose output."""
    label, result, lines = one_line(event.file.label), event.result, list[str]()
    if result.output:
        lines.append(tagged(Tag.INFO, f"Output of {label}:"))
        lines += indented(shown_lines(result.output))
    if result.cases:
        lines.append(tagged(Tag.INFO, f"Tests in {label}:"))
        lines += indented(
            f"{case.outcome} {format_seconds(case.seconds)} {one_line(case.case_id)}" for case in result.cases
        )
    return lines
