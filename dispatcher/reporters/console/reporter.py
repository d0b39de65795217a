"""Prints a run as lines of text, in the order of its events; on a pipe this is the whole report.

`lines` and `summary` format the lines, `stream` writes them. On a terminal `live` keeps a footer below what
this reporter prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from dispatcher.config.choices import Verbosity
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
from dispatcher.model.results import FileAttempts
from dispatcher.reporters.console.lines import (
    RULE,
    again_line,
    found_lines,
    layout_lines,
    limits_line,
    note_lines,
    other_verdict_line,
    overruled_line,
    passed_again_line,
    running_line,
    same_again_line,
    shard_line,
    slow_line,
    verdict_lines,
)
from dispatcher.reporters.console.summary import SummaryRequest, summary_lines
from dispatcher.terminal.stream import SafeStream, TextStream
from dispatcher.terminal.tags import Tag, indented, tagged
from passmuster.model.executor import Limit
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.text import one_line, shown_lines
from passmuster.model.units import format_seconds


class ConsoleReporter:
    """Prints the contract's lines to `stream`, and notices to `warn_stream`.

    Args:
        stream: receives the report.
        color: whether tags in `stream` are coloured.
        verbosity: quiet prints failures and the summary only; verbose adds what each file printed.
        rerun: gives the command that reruns one file.
        warn_stream: receives notices, usually standard error.
        warn_color: whether tags in `warn_stream` are coloured; None: as in `stream`.
    """

    def __init__(
        self,
        stream: TextStream,
        *,
        color: bool,
        verbosity: Verbosity,
        rerun: Callable[[FileAttempts], str],
        warn_stream: TextStream,
        warn_color: bool | None = None,
    ) -> None:
        self._out = SafeStream(stream)
        self._warnings = SafeStream(warn_stream)
        self._color = color
        self._warn_color = color if warn_color is None else warn_color
        self._verbosity = verbosity
        self._rerun = rerun
        self._limits: Sequence[Limit] = ()
        self._printed: dict[str, bool] = {}
        """Whether the verdict that is printed of a file is a pass, while a further attempt may change it."""

    def handle(self, event: RunEvent) -> None:
        """Print the lines of an event at once."""
        if isinstance(event, Notice):
            line = tagged(Tag.WARN, one_line(event.text), color=self._warn_color)
            self._warnings.write(f"{line}\n")
            return
        lines = self._lines(event)
        if lines:
            self._out.write("\n".join(lines) + "\n")

    def close(self) -> None:
        """Do nothing: every line is already printed."""

    def _lines(self, event: RunEvent) -> list[str]:
        match event:
            case RunStarted():
                return self._started_lines(event)
            case AttemptStarted():
                return self._attempt_lines(event)
            case FileSlow():
                return self._unless_quiet(slow_line(event.file, event.seconds, color=self._color))
            case AttemptFinished():
                return self._finished_lines(event)
            case RunStopping():
                text = f"Stopping: {event.cause}; no further file starts"
                return [tagged(Tag.WARN, text, color=self._color)]
            case RunFinished():
                return summary_lines(
                    SummaryRequest(
                        results=event.results,
                        limits=self._limits,
                        rerun=self._rerun,
                        verbosity=self._verbosity,
                        color=self._color,
                    )
                )
            case VerdictSettled():
                return self._settled_lines(event)
            case UsageSampled() | Notice():
                return []
            case _:
                assert_never(event)

    def _unless_quiet(self, line: str) -> list[str]:
        return [] if self._verbosity is Verbosity.QUIET else [line]

    def _started_lines(self, event: RunStarted) -> list[str]:
        self._limits = event.limits
        if self._verbosity is Verbosity.QUIET:
            return []
        lines = layout_lines(event.plan.layout, color=self._color)
        lines += found_lines((planned.file for planned in event.plan.files), color=self._color)
        further = limits_line(event.limits, color=self._color), shard_line(event.plan, color=self._color)
        return lines + [line for line in further if line]

    def _attempt_lines(self, event: AttemptStarted) -> list[str]:
        is_told = event.attempt_reason in (*PROVISIONAL_AFTER, RerunReason.VERIFY_FAILURE)
        if is_told and self._verbosity is not Verbosity.VERBOSE:
            return []  # Its verdict is printed, or the line after the attempt before said that it runs again.
        worker = event.worker if self._verbosity is Verbosity.VERBOSE else ""
        line = running_line(event.file, attempt=event.attempt, color=self._color, worker=worker)
        return self._unless_quiet(line)

    def _finished_lines(self, event: AttemptFinished) -> list[str]:
        file, result, again = event.file, event.result, event.rerun_reason
        before = self._printed.pop(file.path, None)
        is_second = event.attempt_reason in TOLD_BEFORE
        if again is RerunReason.SETTLED:
            if before is not None:
                self._printed[file.path] = before
            lines = self._verbose_lines(event) if self._verbosity is Verbosity.VERBOSE else []
            return [*lines, overruled_line(file, result, event.attempt_reason, color=self._color)]
        if is_second and again is None and before is result.status.is_pass:
            is_told = self._verbosity is Verbosity.VERBOSE
            return [same_again_line(file, event.attempt_reason, color=self._color)] if is_told else []
        lines = self._verbose_lines(event) if self._verbosity is Verbosity.VERBOSE else []
        if is_second and not result.is_evicted:
            lines.append(other_verdict_line(file, event.attempt_reason, color=self._color))
        if again is not None and again not in TOLD_BEFORE:
            if before is not None:
                self._printed[file.path] = before
            lines.append(again_line(file, result, again, color=self._color))
            return [] if self._verbosity is Verbosity.QUIET else lines
        if again is not None:
            self._printed[file.path] = result.status.is_pass
        if before and result.status.is_pass:
            lines.append(passed_again_line(file, result, color=self._color))
            return [] if self._verbosity is Verbosity.QUIET else lines
        return lines + self._decided_lines(file, result)

    def _settled_lines(self, event: VerdictSettled) -> list[str]:
        """Return the verdict that an earlier attempt decided, unless it is already printed."""
        is_printed = self._printed.pop(event.file.path, None) is event.result.status.is_pass
        return [] if is_printed else self._decided_lines(event.file, event.result)

    def _decided_lines(self, file: TestFile, result: TestResult) -> list[str]:
        """Return a file's verdict and the rule below it; a quiet report contains only failures, without
        rules.
        """
        if result.holds_no_tests:
            is_told = self._verbosity is Verbosity.VERBOSE
            return note_lines(file, result, color=self._color) if is_told else []
        if self._verbosity is Verbosity.QUIET:
            return verdict_lines(file, result, color=self._color) if result.status.is_failure else []
        lines = verdict_lines(file, result, color=self._color)
        return lines if result.status.is_cancelled else [*lines, RULE]

    def _verbose_lines(self, event: AttemptFinished) -> list[str]:
        label, result, lines = one_line(event.file.label), event.result, list[str]()
        if result.output:
            lines.append(tagged(Tag.INFO, f"Output of {label}:", color=self._color))
            lines += indented(shown_lines(result.output))
        if result.cases:
            lines.append(tagged(Tag.INFO, f"Tests in {label}:", color=self._color))
            lines += indented(map(_case_text, result.cases))
        return lines


def _case_text(case: CaseResult) -> str:
    return f"{case.outcome} {format_seconds(case.seconds)} {one_line(case.case_id)}"
