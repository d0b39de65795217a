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
from dispatcher.model.rerun_reason import PROVISIONAL_AFTER
from dispatcher.model.results import TestResults
from dispatcher.reporters.ci.annotations import annotations_of
from dispatcher.reporters.ci.logs import CiLog, Section
from dispatcher.reporters.console.lines import status_text
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.text import one_line, shown_lines

MAX_BYTES = 1024 * 1024 - 4096
"""Bytes of the file. Of one over 1 MiB the runner shows nothing (`AttachmentSizeLimit` in actions/runner,
src/Runner.Worker/FileCommandManager.cs); the difference is for what others add in the same step."""


def append_summary(path: str, make: Callable[[int], str]) -> str | None:
    """Append a page to the file, and return why that failed, in one line; None: it did not.

    Args:
        path: empty: there is none.
        make: returns the page for a number of available bytes; empty: it does not fit.
    """
    if not path:
        return "the step summary is not written: GITHUB_STEP_SUMMARY is not set"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        # Tests know the path too: a pipe that they may have put there must not block this process.
        with open(os.open(path, flags, 0o644), "ab") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return f"the step summary is not written: {path!r} is not a file"
            page = make(MAX_BYTES - status.st_size)
            if not page:
                return f"the step summary is not written: {path!r} has no room left, GitHub shows 1 MiB of it"
            file.write(page.encode(errors="replace"))
    except OSError as error:
        return f"the step summary is not written to {path!r}: {error.strerror or error}"
    return None


TITLE_CHARS = 300

MIN_ROOM_CHARS = 16 * 1024
"""The minimum number of characters worth printing: the last lines of an output are in the summary anyway."""


class FoldReporter:
    """Folds the output of failed files; receives each event after the console.

    Args:
        write: prints Passmuster's own text.
    """

    def __init__(self, log: CiLog, write: Callable[[str], None]) -> None:
        self._log, self._write = log, write
        self._folded: set[str] = set()
        self._room_chars = log.max_section_chars
        self.left_out = 0
        """Failed files of which the output is not in the log, because there is too much of it."""

    def handle(self, event: RunEvent) -> None:
        """Print the output of a failed file after its verdict; once for each file."""
        if not isinstance(event, AttemptFinished) or not event.result.status.is_failure:
            return
        file, result = event.file, event.result
        has_verdict = event.rerun_reason is None or event.rerun_reason in PROVISIONAL_AFTER
        lines = list(shown_lines(result.output))
        if result.stacks:
            lines += ["", "Stacks at the timeout:", *shown_lines(result.stacks)]
        if not has_verdict or file.path in self._folded or not lines:
            return
        self._folded.add(file.path)
        lines = _ending(lines, self._room_chars)
        if not lines:
            self.left_out += 1
            return
        self._room_chars -= sum(len(line) + 1 for line in lines)
        attempt = f", attempt {result.attempt}" if result.attempt > 1 else ""
        section = Section(
            number=len(self._folded),
            title=f"Output of {one_line(file.label)} ({status_text(result)}{attempt})"[:TITLE_CHARS],
            lines=lines,
            started_at=result.started_at,
            ended_at=result.started_at + result.duration,
        )
        self._write(self._log.section(section))

    def close(self) -> None:
        """Do nothing: every section is already closed."""


class ResultReporter:
    """Annotates the source and writes the summary page; receives each event before the console.

    Args:
        write_page: writes the summary page; None: this CI has none.
    """

    def __init__(
        self,
        log: CiLog,
        write: Callable[[str], None],
        fold: FoldReporter,
        write_page: Callable[[RunStarted, TestResults], None] | None,
    ) -> None:
        self._log, self._write, self._fold, self._write_page = log, write, fold, write_page
        self._started: RunStarted | None = None

    def handle(self, event: RunEvent) -> None:
        """Store the plan; at the end print the annotations and write the page."""
        if isinstance(event, RunStarted):
            self._started = event
        elif isinstance(event, RunFinished) and self._started is not None:
            if self._fold.left_out:
                text = f"The log has no room for the output of {self._fold.left_out} more file(s)"
                self._write(f"{tagged(Tag.INFO, text)}\n")
            failed_before = {one.file.path for one in self._started.plan.files if one.failed_before}
            self._write(self._log.annotations(annotations_of(event.results, failed_before)))
            if self._write_page is not None:
                self._write_page(self._started, event.results)

    def close(self) -> None:
        """Do nothing: a run that did not finish has no annotations and no page."""


def _ending(lines: Sequence[str], room_chars: int) -> list[str]:
    """Return the lines, or as many of the last as fit; none if hardly any fit."""
    chars, count = 0, 0
    for line in reversed(lines):
        chars += len(line) + 1
        if chars > room_chars:
            break
        count += 1
    if count == len(lines):
        return list(lines)
    if room_chars < MIN_ROOM_CHARS:
        return []
    return [f"[... {len(lines) - count} lines left out ...]", *lines[len(lines) - count :]]
