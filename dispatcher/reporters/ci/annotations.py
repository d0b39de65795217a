"""Makes a CI's annotations of source lines: failing tests, failed files, flaky ones. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from itertools import chain, islice, zip_longest

from msgspec import Struct

from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts, Finding, Regression, TestResults
from dispatcher.reporters.console.lines import (
    PASSED_AS_A_WHOLE,
    PASSED_EXCLUSIVELY,
    attempts_text,
    status_text,
)
from dispatcher.reporters.console.summary import regression_text
from dispatcher.reporters.console.totals import by_path
from dispatcher.reporters.failures import count_failures, failed_tests, failures_of, first_line
from passmuster.model.status import Status
from passmuster.model.text import last_lines, one_line, sanitize

MAX_OF_A_LEVEL = 10
"""Annotations of one level that GitHub shows for a step: the runner drops those that follow
(`_maxCountPerIssueType` in actions/runner, src/Runner.Worker/ExecutionContext.cs)."""

DETAIL_LINES = 12
TITLE_CHARS = 200
MESSAGE_CHARS = 1500
"""What is quoted of a failure: the log has the rest."""


class AnnotationLevel(StrEnum):
    """The severity, in the words of GitHub and Azure."""

    ERROR = "error"
    WARNING = "warning"


class Annotation(Struct, frozen=True, kw_only=True):
    """A message at a source line, sanitized."""

    level: AnnotationLevel
    title: str
    """One line."""
    message: str
    """One line or more."""
    path: str = ""
    """The file, relative to the project root; empty: the message belongs to the run."""
    line: int | None = None
    """None: the file as a whole."""


def annotations_of(results: TestResults, failed_before: Collection[str] = ()) -> list[Annotation]:
    """Return the annotations, the most important first; the last of each level may give the number of further
    ones.

    The first problem of each file precedes the second one of any, so that a file with fifty failing tests
    hides no other; and files that passed in their last run precede those that did not.

    Args:
        failed_before: the paths of files that did not pass in their last run.
    """

    def importance(record: FileAttempts) -> tuple[bool, bool, str]:
        path = record.file.path
        return path in failed_before, record.status is Status.FAIL, path

    of_the_run = list(_of_the_run(results))
    failed = sorted(results.failed, key=importance)
    # Every failed file has at least one, so no more files than that need to be examined.
    rounds = zip_longest(*(_errors(record) for record in failed[:MAX_OF_A_LEVEL]))
    found = (annotation for annotation in chain.from_iterable(rounds) if annotation is not None)
    errors = [*of_the_run, *islice(found, MAX_OF_A_LEVEL)]
    total = len(of_the_run) + sum(count_failures(one.final) for one in failed)
    flaky = passed_after_failure(results)
    regressed = () if results.fails_on_regression else results.regressions
    warnings = [
        *map(_flaky, flaky[:MAX_OF_A_LEVEL]),
        *(_regressed(one, AnnotationLevel.WARNING) for one in regressed[:MAX_OF_A_LEVEL]),
    ]
    return [
        *_bounded(errors, total, AnnotationLevel.ERROR, "failures"),
        *_bounded(warnings, len(flaky) + len(regressed), AnnotationLevel.WARNING, "warnings"),
    ]


def _bounded(
    shown: Sequence[Annotation], total: int, level: AnnotationLevel, what: str
) -> Sequence[Annotation]:
    """Return at most `MAX_OF_A_LEVEL`, the last of which gives the number of missing ones out of `total`."""
    if total <= MAX_OF_A_LEVEL:
        return shown
    left = total - MAX_OF_A_LEVEL + 1
    message = f"{left} more {what} are not shown here: the log and the summary have them."
    return [
        *shown[: MAX_OF_A_LEVEL - 1],
        Annotation(level=level, title=f"{left} more {what}", message=message),
    ]


def passed_after_failure(results: TestResults) -> list[FileAttempts]:
    """Return the files that passed and failed: without a known cause, in parallel, or in parts."""
    found = (Finding.FAILS_IN_PARALLEL, Finding.FAILS_IN_PARTS)
    return by_path([*results.flaky, *(record for one in found for record in results.found(one))])


def how_it_ended(record: FileAttempts) -> str:
    """Return how the attempts at such a file ended."""
    if record.finding is Finding.FAILS_IN_PARALLEL:
        return PASSED_EXCLUSIVELY
    if record.finding is Finding.FAILS_IN_PARTS:
        return PASSED_AS_A_WHOLE
    return f"passed and failed: {attempts_text(record)}"


def _of_the_run(results: TestResults) -> Iterator[Annotation]:
    if results.cancelled:
        text = f"{len(results.cancelled)} file(s) did not run to their end."
        yield Annotation(level=AnnotationLevel.ERROR, title="The run is not complete", message=text)
    for found in results.failing_regressions:
        yield _regressed(found, AnnotationLevel.ERROR)
    for difference in results.differing:
        message = _cut(*map(sanitize, difference.texts))
        yield _annotation(AnnotationLevel.ERROR, "It differs when forked", message, difference.file)


def _errors(record: FileAttempts) -> Iterator[Annotation]:
    label = one_line(record.file.label)
    for failure in failures_of(record.file, record.final):
        title, detail = failure.name[:TITLE_CHARS] or label, failure.detail[:DETAIL_LINES]
        if failure.outcome is None:
            title = f"{record.status}: {label}"
            detail = detail or last_lines(record.final.output.rstrip("\n"), DETAIL_LINES)
        message = _cut(failure.message, *detail)
        yield _annotation(AnnotationLevel.ERROR, title, message, record.file, failure.line)


def _flaky(record: FileAttempts) -> Annotation:
    last = [one for one in record.attempts if one.status.is_failure and not one.is_evicted][-1]
    failures = list(islice(failed_tests(record.file, last), DETAIL_LINES))
    named = [f"{failure.name[:TITLE_CHARS]}: {failure.message}" for failure in failures]
    message = _cut(f"It {how_it_ended(record)}", *(named or [status_text(last)]))
    line = next((failure.line for failure in failures if failure.line), None)
    line = line or first_line(record.file, (last.stacks, last.output))
    title = f"Flaky: {one_line(record.file.label)}"
    return _annotation(AnnotationLevel.WARNING, title, message, record.file, line)


def _regressed(found: Regression, level: AnnotationLevel) -> Annotation:
    title = f"Regressed: {one_line(found.file.label)}"
    return _annotation(level, title, regression_text(found), found.file)


def _annotation(
    level: AnnotationLevel, title: str, message: str, file: TestFile, line: int | None = None
) -> Annotation:
    path = one_line(file.path)
    return Annotation(level=level, title=title[:TITLE_CHARS], message=message, path=path, line=line)


def _cut(*lines: str) -> str:
    text = "\n".join(lines)
    return text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS] + " [...]"
