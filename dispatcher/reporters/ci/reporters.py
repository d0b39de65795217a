"""The reporters for a CI: fold the output of failed files, annotate the source, and write the summary page.

The contract's lines keep their form and order. A folded output follows its file's verdict, and the
annotations precede the summary, so that the log ends with the list of failed files. A summary file that
cannot be written does not fail the run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from dispatcher.model.events import AttemptFinished, RunEvent, RunFinished, RunStarted
from dispatcher.model.plan import PlannedFile
from dispatcher.model.rerun_reason import PROVISIONAL_AFTER
from dispatcher.reporters.ci.annotations import annotations_of
from dispatcher.reporters.ci.logs import Dialect, Section
from dispatcher.reporters.ci.summary import PageRequest, summary_page
from dispatcher.reporters.console.lines import status_text
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult
from passmuster.model.text import one_line, shown_lines

MAX_BYTES = 1024 * 1024 - 4096
"""Bytes of the file. Of one over 1 MiB the runner shows nothing (`AttachmentSizeLimit` in actions/runner,
src/Runner.Worker/FileCommandManager.cs); the difference is for what others add in the same step."""


def append_summary(path: str, make: Callable[[int], str]) -> str:
    """Append a page to the file.

    Args:
        path: empty: there is none.
        make: returns the page for a number of available bytes; empty: it does not fit.

    Returns:
        Why it was not written, one line; empty: it was.
    """
    if not path:
        return "the step summary is not written: GITHUB_STEP_SUMMARY is not set"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        # Tests know the path too: a pipe that they may have put there must not block this process.
        with open(os.open(path, flags, 0o644), "ab") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return f"the step summary is not written: {path!r} is no file"
            page = make(MAX_BYTES - status.st_size)
            if not page:
                return f"the step summary is not written: {path!r} has no room left, GitHub shows 1 MiB of it"
            file.write(page.encode(errors="replace"))
    except OSError as error:
        return f"the step summary is not written to {path!r}: {error.strerror or error}"
    return ""


TITLE_CHARS = 300

MIN_ROOM_CHARS = 16 * 1024
"""The minimum number of characters worth printing: the last lines of an output are in the summary anyway."""


class FoldReporter:
    """Folds the output of failed files; receives each event after the console.

    Args:
        log: the log format of the CI.
        write: prints Passmuster's own text.
    """

    def __init__(self, log: Dialect, write: Callable[[str], None]) -> None:
        self._log = log
        self._write = write
        self._folded: set[str] = set()
        self._room_chars = log.most_section_chars
        self.left_out = 0
        """Failed files of which the output is not in the log, because there is too much of it."""

    def handle(self, event: RunEvent) -> None:
        """Print the output of a failed file after its verdict; once for each file."""
        if not isinstance(event, AttemptFinished) or not event.result.status.is_failure:
            return
        is_told = event.rerun_reason is None or event.rerun_reason in PROVISIONAL_AFTER
        if not is_told or event.file.path in self._folded:
            return
        lines: Sequence[str] = _lines(event.result)
        if not lines:
            return
        self._folded.add(event.file.path)
        lines = _ending(lines, self._room_chars)
        if not lines:
            self.left_out += 1
            return
        self._room_chars -= sum(len(line) + 1 for line in lines)
        attempt = f", attempt {event.result.attempt}" if event.result.attempt > 1 else ""
        title = f"Output of {one_line(event.file.label)} ({status_text(event.result)}{attempt})"
        section = Section(
            number=len(self._folded),
            title=title[:TITLE_CHARS],
            lines=lines,
            started_at=event.result.started_at,
            ended_at=event.result.started_at + event.result.duration,
        )
        self._write(self._log.section(section))

    def close(self) -> None:
        """Do nothing: every section is already closed."""


class VerdictReporter:
    """Annotates the source and writes the summary page; receives each event before the console.

    Args:
        log: the log format of the CI.
        write: prints Passmuster's own text.
        left_out: returns how many outputs are not in the log.
    """

    def __init__(self, log: Dialect, write: Callable[[str], None], left_out: Callable[[], int]) -> None:
        self._log = log
        self._write = write
        self._left_out = left_out
        self._failed_before: set[str] = set()

    def handle(self, event: RunEvent) -> None:
        """Store the plan; at the end print the annotations."""
        if isinstance(event, RunStarted):
            self._failed_before = {one.file.path for one in event.plan.files if one.failed_before}
        elif isinstance(event, RunFinished):
            if self._left_out():
                self._write(f"[INFO] The log has no room for the output of {self._left_out()} more file(s)\n")
            shown = annotations_of(event.results, self._failed_before)
            self._write(self._log.annotations(shown))

    def close(self) -> None:
        """Do nothing: a run that did not finish has no annotations."""


class SummaryReporter:
    """Writes GitHub's step summary when the run is finished.

    Args:
        path: the file to append to.
        source_url: as for the page.
        warn: reports why it cannot be written.
    """

    def __init__(self, path: str, source_url: str, warn: Callable[[str], None]) -> None:
        self._path = path
        self._source_url = source_url
        self._warn = warn
        self._limits: Sequence[Limit] = ()
        self._planned: dict[str, PlannedFile] = {}

    def handle(self, event: RunEvent) -> None:
        """Store the plan; at the end write the page."""
        if isinstance(event, RunStarted):
            self._limits = event.limits
            self._planned = {one.file.path: one for one in event.plan.files}
        elif isinstance(event, RunFinished):
            request = PageRequest(
                results=event.results,
                limits=self._limits,
                planned=self._planned,
                source_url=self._source_url,
            )
            trouble = append_summary(self._path, lambda room_bytes: summary_page(request, room_bytes))
            if trouble:
                self._warn(trouble)

    def close(self) -> None:
        """Do nothing: a run that did not finish has no summary."""


def _ending(lines: Sequence[str], room_chars: int) -> Sequence[str]:
    """Return the lines, or as many of the last as fit; none if hardly any fit."""
    chars, count = 0, 0
    for line in reversed(lines):
        chars += len(line) + 1
        if chars > room_chars:
            break
        count += 1
    if count == len(lines):
        return lines
    if room_chars < MIN_ROOM_CHARS:
        return ()
    return [f"[... {len(lines) - count} lines left out ...]", *lines[len(lines) - count :]]


def _lines(result: TestResult) -> list[str]:
    lines = list(shown_lines(result.output))
    if result.stacks:
        lines += ["", "Stacks at the timeout:", *shown_lines(result.stacks)]
    return lines
