"""Makes a CI's annotations of source lines: failing tests, failed files, flaky ones. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from itertools import chain, islice, zip_longest

from msgspec import Struct

from dispatcher.model.results import FileAttempts, Finding, Regression, TestResults
from dispatcher.reporters.console.lines import status_text
from dispatcher.reporters.console.summary import attempts_text, regression_text
from dispatcher.reporters.failure_text import fault_line, headline, marked_lines
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
    """A message at a source line.

    Args:
        title: one line.
        message: one line or more, sanitized.
        path: the file, relative to the project root; empty: it belongs to the run.
        line: None: the file as a whole.
    """

    level: AnnotationLevel
    title: str
    message: str
    path: str = ""
    line: int | None = None


def annotations_of(
    results: TestResults, failed_before: Collection[str] = (), most: int = MAX_OF_A_LEVEL
) -> list[Annotation]:
    """Return the annotations, the most important first; the last of each level may give the number of further
    ones.

    The first problem of each file precedes the second one of any, so that a file with fifty failing tests
    hides no other; and files that passed in their last run precede those that did not.

    Args:
        results: the whole run.
        failed_before: the paths of files that did not pass in their last run.
        most: the maximum number of annotations of one level.
    """

    def importance(record: FileAttempts) -> tuple[bool, bool, str]:
        path = record.file.path
        return path in failed_before, record.status is Status.FAIL, path

    of_the_run = list(_of_the_run(results))
    failed = sorted(results.failed, key=importance)
    # Every failed file has at least one, so no more files than that need to be examined.
    rounds = zip_longest(*(_errors(record) for record in failed[:most]))
    found = (annotation for annotation in chain.from_iterable(rounds) if annotation is not None)
    errors = [*of_the_run, *islice(found, most)]
    total = len(of_the_run) + sum(needs_own(record.final) + len(told_cases(record)) for record in failed)
    flaky = shaky_files(results)
    grown = () if results.fails_on_regression else results.regressions
    warnings = [
        *map(_flaky, flaky[:most]),
        *(_grown(found, AnnotationLevel.WARNING) for found in grown[:most]),
    ]
    return [
        *_bounded(errors, total, most, AnnotationLevel.ERROR, "failures"),
        *_bounded(warnings, len(flaky) + len(grown), most, AnnotationLevel.WARNING, "warnings"),
    ]


def _bounded(
    shown: Sequence[Annotation], total: int, most: int, level: AnnotationLevel, what: str
) -> Sequence[Annotation]:
    """Return at most `most`, the last of which gives the number of missing ones out of `total`."""
    if total <= most:
        return shown
    left = total - most + 1
    message = f"{left} more {what} are not shown here: the log and the summary have them."
    return [*shown[: most - 1], Annotation(level=level, title=f"{left} more {what}", message=message)]


def shaky_files(results: TestResults) -> list[FileAttempts]:
    """Return the files that passed and failed in this run: without a known cause, or only in parallel."""
    found = [*results.flaky, *results.found(Finding.FAILS_IN_PARALLEL)]
    return sorted(found, key=lambda record: record.file.path)


def how_it_ended(record: FileAttempts) -> str:
    """Return how the attempts at such a file ended."""
    if record.finding is Finding.FAILS_IN_PARALLEL:
        return "failed in parallel, passed when run alone"
    return f"passed and failed: {attempts_text(record)}"


def case_name(case_id: str) -> str:
    """Return a test's name without its file: `tests/a.py::T::m[x]` gives `T::m[x]`."""
    name = case_id.partition("::")[2] if case_id.partition("[")[0].count("::") else case_id
    return one_line(name.removeprefix("__main__."))[:TITLE_CHARS]


def case_line(case: CaseResult, record: FileAttempts) -> int | None:
    """Return the line at which a test failed; None: unknown."""
    return fault_line(case.message, record.file.path, record.file.label)


def file_line(result: TestResult, record: FileAttempts) -> int | None:
    """Return the line at which a file failed as a whole, or where it was at its timeout; None: unknown."""
    path, label = record.file.path, record.file.label
    return fault_line(result.stacks, path, label) or fault_line(result.output, path, label)


def bad_cases(result: TestResult) -> list[CaseResult]:
    """Return the tests that make a file fail."""
    return [case for case in result.cases if case.outcome.is_bad]


def needs_own(result: TestResult) -> bool:
    """Whether a failed file has a problem beyond its tests', such as a timeout, or no failing test.

    A file that could not be collected is reported by pytest as a test case with the file's name: it appears
    once.
    """
    return result.status is not Status.FAIL or not bad_cases(result)


def told_cases(record: FileAttempts) -> list[CaseResult]:
    """Return the failing tests of a file that get their own annotations."""
    is_the_file = record.final.status is Status.COLLECT_ERROR
    return [] if is_the_file else bad_cases(record.final)


def _of_the_run(results: TestResults) -> Iterator[Annotation]:
    if results.cancelled:
        text = f"{len(results.cancelled)} file(s) did not run to their end."
        yield Annotation(level=AnnotationLevel.ERROR, title="The run is not complete", message=text)
    for found in results.failing_regressions:
        yield _grown(found, AnnotationLevel.ERROR)
    for difference in results.differing:
        yield Annotation(
            level=AnnotationLevel.ERROR,
            title="It differs when forked",
            message=_cut("\n".join(sanitize(text) for text in difference.texts)),
            path=one_line(difference.file.path),
        )


def _errors(record: FileAttempts) -> Iterator[Annotation]:
    result, label = record.final, one_line(record.file.label)
    if needs_own(result):
        yield Annotation(
            level=AnnotationLevel.ERROR,
            title=f"{result.status}: {label}"[:TITLE_CHARS],
            message=_cut("\n".join([status_text(result), *_file_detail(result)])),
            path=one_line(record.file.path),
            line=file_line(result, record) or _only_line(record),
        )
    for case in told_cases(record):
        yield _of_case(case, record)


def _of_case(case: CaseResult, record: FileAttempts) -> Annotation:
    what = one_line(headline(case.message)) or f"the test {case.outcome}"
    detail = [line for line in _case_detail(case.message) if line.strip() != what.strip()]
    return Annotation(
        level=AnnotationLevel.ERROR,
        title=case_name(case.case_id) or one_line(record.file.label),
        message=_cut("\n".join([what, *detail])),
        path=one_line(record.file.path),
        line=case_line(case, record),
    )


def _flaky(record: FileAttempts) -> Annotation:
    failures = [
        attempt for attempt in record.attempts if attempt.status.is_failure and not attempt.is_evicted
    ]
    last = failures[-1]
    cases = bad_cases(last)
    lines = [*(case_line(case, record) for case in cases), file_line(last, record)]
    what = f"It {how_it_ended(record)}"
    named = [
        f"{case_name(case.case_id)}: {one_line(headline(case.message))}" for case in cases[:DETAIL_LINES]
    ]
    return Annotation(
        level=AnnotationLevel.WARNING,
        title=f"Flaky: {one_line(record.file.label)}"[:TITLE_CHARS],
        message=_cut("\n".join([what, *(named or [status_text(last)])])),
        path=one_line(record.file.path),
        line=next((line for line in lines if line), None),
    )


def _grown(found: Regression, level: AnnotationLevel) -> Annotation:
    return Annotation(
        level=level,
        title=f"Regressed: {one_line(found.file.label)}"[:TITLE_CHARS],
        message=regression_text(found),
        path=one_line(found.file.path),
    )


def _only_line(record: FileAttempts) -> int | None:
    """Return the line that the file's failing tests name, where the file as a whole names none."""
    lines = (case_line(case, record) for case in bad_cases(record.final))
    return next((line for line in lines if line), None)


def _file_detail(result: TestResult) -> Sequence[str]:
    if result.status is Status.COLLECT_ERROR and bad_cases(result):
        return _case_detail(bad_cases(result)[0].message)
    return last_lines(result.stacks or result.output, DETAIL_LINES)


def _case_detail(message: str) -> Sequence[str]:
    """Return the lines that pytest marks with an E, or a traceback's end."""
    marked = [sanitize(line) for line in marked_lines(message)]
    return marked[:DETAIL_LINES] or last_lines(message.rstrip(), DETAIL_LINES)


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS] + " [...]"
