"""Makes a CI's annotations of source lines: failing tests, failed files, flaky ones. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import chain, islice, zip_longest

from msgspec import Struct

from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts, Finding, Regression, TestResults
from dispatcher.reporters.console.lines import PASSED_EXCLUSIVELY, status_text
from dispatcher.reporters.console.summary import attempts_text, regression_text
from dispatcher.reporters.console.totals import by_path
from dispatcher.reporters.failure_text import failure_line, headline, marked_lines
from passmuster.model.result import CaseResult, TestResult
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


def annotations_of(
    results: TestResults, failed_before: Collection[str] = (), max_shown: int = MAX_OF_A_LEVEL
) -> list[Annotation]:
    """Return the annotations, the most important first; the last of each level may give the number of further
    ones.

    The first problem of each file precedes the second one of any, so that a file with fifty failing tests
    hides no other; and files that passed in their last run precede those that did not.

    Args:
        failed_before: the paths of files that did not pass in their last run.
        max_shown: the maximum number of annotations of one level.
    """

    def importance(record: FileAttempts) -> tuple[bool, bool, str]:
        path = record.file.path
        return path in failed_before, record.status is Status.FAIL, path

    of_the_run = list(_of_the_run(results))
    failed = sorted(results.failed, key=importance)
    # Every failed file has at least one, so no more files than that need to be examined.
    rounds = zip_longest(*(_errors(record) for record in failed[:max_shown]))
    found = (annotation for annotation in chain.from_iterable(rounds) if annotation is not None)
    errors = [*of_the_run, *islice(found, max_shown)]
    total = len(of_the_run) + sum(needs_own(one.final) + len(annotated_cases(one)) for one in failed)
    flaky = passed_after_failure(results)
    regressed = () if results.fails_on_regression else results.regressions
    warnings = [
        *map(_flaky, flaky[:max_shown]),
        *(_regressed(one, AnnotationLevel.WARNING) for one in regressed[:max_shown]),
    ]
    return [
        *_bounded(errors, total, max_shown, AnnotationLevel.ERROR, "failures"),
        *_bounded(warnings, len(flaky) + len(regressed), max_shown, AnnotationLevel.WARNING, "warnings"),
    ]


def _bounded(
    shown: Sequence[Annotation], total: int, max_shown: int, level: AnnotationLevel, what: str
) -> Sequence[Annotation]:
    """Return at most `max_shown`, the last of which gives the number of missing ones out of `total`."""
    if total <= max_shown:
        return shown
    left = total - max_shown + 1
    message = f"{left} more {what} are not shown here: the log and the summary have them."
    return [*shown[: max_shown - 1], Annotation(level=level, title=f"{left} more {what}", message=message)]


def passed_after_failure(results: TestResults) -> list[FileAttempts]:
    """Return the files that passed and failed in this run: without a known cause, or only in parallel."""
    return by_path([*results.flaky, *results.found(Finding.FAILS_IN_PARALLEL)])


def how_it_ended(record: FileAttempts) -> str:
    """Return how the attempts at such a file ended."""
    if record.finding is Finding.FAILS_IN_PARALLEL:
        return PASSED_EXCLUSIVELY
    return f"passed and failed: {attempts_text(record)}"


def case_name(case_id: str) -> str:
    """Return a test's name without its file: `tests/a.py::T::m[x]` gives `T::m[x]`."""
    name = case_id.partition("::")[2] if case_id.partition("[")[0].count("::") else case_id
    return one_line(name.removeprefix("__main__."))[:TITLE_CHARS]


def case_line(case: CaseResult, record: FileAttempts) -> int | None:
    """Return the line at which a test failed; None: unknown."""
    return failure_line(case.message, record.file.path, record.file.label)


def file_line(result: TestResult, record: FileAttempts) -> int | None:
    """Return the line at which a file failed as a whole, or where it was at its timeout; None: unknown."""
    path, label = record.file.path, record.file.label
    return failure_line(result.stacks, path, label) or failure_line(result.output, path, label)


def needs_own(result: TestResult) -> bool:
    """Whether a failed file has a problem beyond its tests', such as a timeout, or no failing test."""
    return result.status is not Status.FAIL or not result.bad_cases


def annotated_cases(record: FileAttempts) -> Sequence[CaseResult]:
    """Return the failing tests of a file that get their own annotations.

    pytest reports a file that it could not collect as a test case with the file's name: it appears once.
    """
    return () if record.final.status is Status.COLLECT_ERROR else record.final.bad_cases


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
    result, label = record.final, one_line(record.file.label)
    cases = result.bad_cases
    if needs_own(result):
        if result.status is Status.COLLECT_ERROR and cases:
            detail = _case_detail(cases[0].message)
        else:
            detail = last_lines(result.stacks or result.output, DETAIL_LINES)
        # Where the file as a whole names no line, a failing test may.
        lines = chain([file_line(result, record)], (case_line(case, record) for case in cases))
        message = _cut(status_text(result), *detail)
        title = f"{result.status}: {label}"
        yield _annotation(AnnotationLevel.ERROR, title, message, record.file, _first_line(lines))
    for case in annotated_cases(record):
        what = one_line(headline(case.message)) or f"the test {case.outcome}"
        detail = [line for line in _case_detail(case.message) if line.strip() != what.strip()]
        title, line = case_name(case.case_id) or label, case_line(case, record)
        yield _annotation(AnnotationLevel.ERROR, title, _cut(what, *detail), record.file, line)


def _flaky(record: FileAttempts) -> Annotation:
    last = [one for one in record.attempts if one.status.is_failure and not one.is_evicted][-1]
    named = [
        f"{case_name(case.case_id)}: {one_line(headline(case.message))}"
        for case in last.bad_cases[:DETAIL_LINES]
    ]
    message = _cut(f"It {how_it_ended(record)}", *(named or [status_text(last)]))
    lines = chain((case_line(case, record) for case in last.bad_cases), [file_line(last, record)])
    title = f"Flaky: {one_line(record.file.label)}"
    return _annotation(AnnotationLevel.WARNING, title, message, record.file, _first_line(lines))


def _regressed(found: Regression, level: AnnotationLevel) -> Annotation:
    title = f"Regressed: {one_line(found.file.label)}"
    return _annotation(level, title, regression_text(found), found.file)


def _annotation(
    level: AnnotationLevel, title: str, message: str, file: TestFile, line: int | None = None
) -> Annotation:
    path = one_line(file.path)
    return Annotation(level=level, title=title[:TITLE_CHARS], message=message, path=path, line=line)


def _first_line(lines: Iterable[int | None]) -> int | None:
    return next((line for line in lines if line), None)


def _case_detail(message: str) -> Sequence[str]:
    """Return the lines that pytest marks with an E, or a traceback's end."""
    marked = [sanitize(line) for line in marked_lines(message)]
    return marked[:DETAIL_LINES] or last_lines(message.rstrip(), DETAIL_LINES)


def _cut(*lines: str) -> str:
    text = "\n".join(lines)
    return text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS] + " [...]"
