"""Prints a run as one JSON document at its end: `--output json`.

The types below are the format; `docs/reference/run_document.schema.json` is made from them. Sizes are bytes
(`_bytes`), times seconds (`_s`), instants Unix time (`_at`); an unknown value is null. Text that is not
Unicode is escaped as in the events of `jsonl`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from dispatcher.model.events import RunEvent, RunFinished
from dispatcher.model.results import FileAttempts, Finding, TestResults, exit_code_of
from dispatcher.reporters.console.line_reporter import LineReporter
from dispatcher.reporters.console.totals import summarize
from dispatcher.reporters.failures import failures_of
from passmuster.model.status import Outcome, Status
from passmuster.model.text import bounded_tail, json_line
from passmuster.model.version import VERSION

DOCUMENT_VERSION = 1
"""Counts up when a field changes its meaning or goes away; new fields may appear at any time."""

TAIL_CHARS = 4096
"""Characters of output of a failed file: enough for the last traceback; its log has all of it."""

MAX_FAILURES = 1000
"""Failures of one file; the counts have all of them."""


class FailureEntry(Struct, frozen=True, kw_only=True):
    """One thing that went wrong in a file."""

    test: Annotated[
        str, Meta(description="The failed test, as its framework names it; empty: the file as a whole.")
    ]
    message: Annotated[str, Meta(description="What went wrong, in one line.")]
    detail: Annotated[
        list[str],
        Meta(
            description="The further lines of the exception's text; of a timeout the frames of the project."
        ),
    ]
    place: Annotated[
        str,
        Meta(description="Where it failed, as `path:line`, in the file itself if known. Empty: unknown."),
    ]
    line: Annotated[int | None, Meta(description="Where it failed in the file itself.")]


class FailedFile(Struct, frozen=True, kw_only=True):
    """What is known of a file that did not pass."""

    error: str
    failures: list[FailureEntry]
    output_tail: str
    log: Annotated[str, Meta(description="The path of its whole output; empty: it is not kept.")]
    rerun: Annotated[str, Meta(description="The command that runs it again.")]


class FileEntry(Struct, frozen=True, kw_only=True):
    """One planned file, with its verdict."""

    path: str
    label: Annotated[
        str, Meta(description="Its path as printed, relative to the working directory of the tests.")
    ]
    status: Status
    note: str
    attempts: Annotated[list[Status], Meta(description="How each attempt ended, in their order.")]
    flaky: bool
    cached: Annotated[bool, Meta(description="It did not run: an earlier pass counts.")]
    finding: Finding | None
    duration_s: float
    cpu_s: float | None
    peak_bytes: int | None
    worker: str
    tests: Annotated[
        dict[Outcome, int], Meta(description="The number of tests inside it by outcome, without zeros.")
    ]
    failed: Annotated[FailedFile | None, Meta(description="Null for a file that passed or was cancelled.")]


class FileCounts(Struct, frozen=True, kw_only=True):
    """The number of files; `total` is the sum of the next three."""

    total: int
    passed: int
    failed: int
    not_run: int
    without_tests: int
    flaky: int
    cached: Annotated[int, Meta(description="Files that passed without running: an earlier pass counts.")]


class RunDocument(Struct, frozen=True, kw_only=True):
    """A finished run."""

    version: int
    passmuster: Annotated[str, Meta(description="The version of the program.")]
    run_id: str
    started_at: float
    result: Annotated[
        str,
        Meta(description="`ok`, `failed`, `no_tests`, or `interrupted`; see also the exit status."),
    ]
    duration_s: float
    tests_cpu_s: float
    own_cpu_s: float | None
    peak_bytes: int
    files_by_result: FileCounts
    tests: Annotated[
        dict[Outcome, int],
        Meta(description="The number of tests inside the files by outcome, without zeros."),
    ]
    files: list[FileEntry]


def document_line(document: Struct) -> str:
    """Return a document as one line of JSON, without its end."""
    text = json_line(msgspec.to_builtins(document)).decode("ascii").rstrip("\n")
    # So that no CI that shows the document obeys a text of the project: see `ci/logs.py`.
    return text.replace("##", "#\\u0023")


class DocumentReporter(LineReporter):
    """Prints the document, on one line, once the run has ended."""

    def lines(self, event: RunEvent) -> Sequence[str]:
        """Return the line for the end of the run, nothing for any other event."""
        return [document_line(self._document(event.results))] if isinstance(event, RunFinished) else []

    def _document(self, results: TestResults) -> RunDocument:
        summary = summarize(results)
        return RunDocument(
            version=DOCUMENT_VERSION,
            passmuster=VERSION,
            run_id=self._run_id,
            started_at=self._started_at,
            result=exit_code_of(results).name.lower(),
            duration_s=results.duration_s,
            tests_cpu_s=results.tests_cpu_s,
            own_cpu_s=results.own_cpu_s,
            peak_bytes=results.peak_bytes,
            files_by_result=msgspec.convert(summary, FileCounts, from_attributes=True),
            tests=dict(summary.cases),
            files=list(map(self._file, results.records)),
        )

    def _file(self, record: FileAttempts) -> FileEntry:
        result = record.final
        return FileEntry(
            path=record.file.path,
            label=record.file.label,
            status=result.status,
            note=result.note,
            attempts=[attempt.status for attempt in record.attempts],
            flaky=record.is_flaky,
            cached=result.is_cached,
            finding=record.finding,
            duration_s=result.duration,
            cpu_s=result.cpu_s,
            peak_bytes=result.peak_bytes,
            worker=result.worker,
            tests=dict(Counter(case.outcome for case in result.cases)),
            failed=self._failed(record) if result.status.is_failure else None,
        )

    def _failed(self, record: FileAttempts) -> FailedFile:
        result = record.final
        failures = islice(failures_of(record.file, result), MAX_FAILURES)
        return FailedFile(
            error=result.error,
            failures=msgspec.convert(list(failures), list[FailureEntry], from_attributes=True),
            output_tail=bounded_tail(result.output, TAIL_CHARS),
            log=self._hints.log(record),
            rerun=self._hints.rerun(record),
        )
