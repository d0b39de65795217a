"""What the JUnit report says about a file: a suite of test cases, computed from its record. Pure.

The report is never greener than the exit status: a file that did not pass holds at least one failure or
error, whatever its cases say. `junit` writes these suites as XML.

    FAIL, COLLECT_ERROR        the failing cases; where there are none, one for the file itself
    CANCELLED                  an error of that type: a dashboard must not show green what did not run
    every other status         the failing cases, and an error of that type for the file itself
    passed, but ran no test    a skipped case for the file itself
    passed and failed          `flakyFailure` or `flakyError` in the case, as Maven's Surefire writes it,
                               beside a failure where the file did not pass
    failed more than once      `rerunFailure` or `rerunError` likewise
    differs when forked        a failure of that type, where that was to be verified
    takes much more            a failure of that type, where that makes the run fail
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.model.results import FileAttempts, IsolationDifference, Regression
from dispatcher.reporters.console.summary import regression_text
from dispatcher.reporters.failure_text import headline
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status
from passmuster.model.text import bounded_tail

OUTPUT_CHARS = 64 * 1024
"""Characters of output for each file: servers refuse reports of hundreds of megabytes."""

_BEFORE_PARAMETERS = re.compile(r"[^\[( ]*")


class CaseElement(Enum):
    """What kind of element a case holds; the value is the element's name."""

    PASS = ""
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"

    @property
    def is_bad(self) -> bool:
        """Whether it turns the report red."""
        return self in (CaseElement.FAILURE, CaseElement.ERROR)


class Problem(Struct, frozen=True, kw_only=True):
    """A failure, error or skip: its element's name, type, one-line message and text."""

    element: str
    kind: str
    message: str
    text: str = ""


class Case(Struct, frozen=True, kw_only=True):
    """One `testcase`.

    Args:
        class_name: what groups it.
        name: its own name.
        seconds: wall-clock seconds.
        verdict: how it ended.
        trouble: why, unless it passed.
        earlier: what went wrong in earlier attempts.
    """

    class_name: str
    name: str
    seconds: float
    verdict: CaseElement
    trouble: Problem | None = None
    earlier: tuple[Problem, ...] = ()


class Suite(Struct, frozen=True, kw_only=True):
    """One `testsuite`: a file.

    Args:
        name: the file's path as printed.
        file_path: its path in the project.
        seconds: wall-clock seconds of the last attempt.
        started_at: Unix time in seconds; 0: never started.
        host: the worker that ran it.
        properties: names and values, for people.
        cases: at least one.
        output: the end of what it printed, unsanitized.
    """

    name: str
    file_path: str
    seconds: float
    started_at: float
    host: str
    properties: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]
    output: str

    def count(self, verdict: CaseElement) -> int:
        """Return how many cases ended so."""
        return sum(1 for case in self.cases if case.verdict is verdict)


def suite_of(
    record: FileAttempts, *, is_verified: bool = False, regressions: Sequence[Regression] = ()
) -> Suite:
    """Return the suite of a file.

    Args:
        record: the file.
        is_verified: whether it counts if it differs when forked.
        regressions: what counts of what the run's files took too much of.
    """
    result = record.final
    grown = [regression_text(found) for found in regressions if found.file.path == record.file.path]
    difference = record.difference if is_verified else None
    return Suite(
        name=record.file.label,
        file_path=record.file.path,
        seconds=result.duration,
        started_at=result.started_at,
        host=result.worker,
        properties=tuple(_properties(record)),
        cases=(
            *_cases(record),
            *(() if difference is None else (_difference_case(difference),)),
            *((_own_case(record.file.label, "as much as before", "regression", grown),) if grown else ()),
        ),
        output=bounded_tail(result.output, OUTPUT_CHARS),
    )


def split_case_id(case_id: str) -> tuple[str, str]:
    """Return class name and name of a case: `tests/a.py::T::m[x]` gives `tests.a.T` and `m[x]`.

    A file has no class name.
    """
    match = _BEFORE_PARAMETERS.match(case_id)
    stem = match[0] if match else ""
    parameters = case_id[len(stem) :]
    if "::" in stem:
        path, *names = stem.split("::")
        owner = ".".join([path.removesuffix(".py").replace("/", "."), *names[:-1]])
        return owner, names[-1] + parameters
    if case_id.endswith(".py"):  # A file that could not be loaded, or skipped itself.
        return "", case_id
    owner, _, name = stem.rpartition(".")
    return owner, name + parameters


def _properties(record: FileAttempts) -> Iterator[tuple[str, str]]:
    result = record.final
    yield "status", str(result.status)
    if result.note:
        yield "note", result.note
    yield "attempt", str(result.attempt)
    yield "runner", str(result.runner)
    yield "isolation", str(result.isolation)
    if result.isolation_note:
        yield "isolation_note", result.isolation_note
    if record.is_flaky:
        yield "flaky", "true"
    if record.finding is not None:
        yield "finding", str(record.finding)
    for attempt in record.others:
        yield f"attempt.{attempt.attempt}", f"{attempt.status} {attempt.error}".strip()
    if result.peak_bytes is not None:
        yield "peak_bytes", str(result.peak_bytes)
    if result.cpu_s is not None:
        yield "cpu_s", f"{result.cpu_s:.3f}"
    if result.worker:
        yield "worker", result.worker
    if result.interpreter:
        yield "interpreter", result.interpreter
    for process in result.leaked:
        yield "leaked", process


def _cases(record: FileAttempts) -> tuple[Case, ...]:
    result = record.final
    cases = [_case(case, record) for case in result.cases]
    has_bad_case = any(case.verdict.is_bad for case in cases)
    unmatched = _unmatched_earlier(record)
    if result.status.is_pass:
        needs_own = not cases or bool(unmatched)
    elif result.status in (Status.FAIL, Status.COLLECT_ERROR):
        # The framework reports a file that it could not load as a test case.
        needs_own = not has_bad_case
    else:
        needs_own = True
    if needs_own:
        cases.append(replace(_file_case(record, has_cases=bool(cases)), earlier=unmatched))
    if record.is_flaky and not result.status.is_pass:
        cases = [replace(case, earlier=(*case.earlier, *_flaky_marks(case, record))) for case in cases]
    return tuple(cases)


def _flaky_marks(case: Case, record: FileAttempts) -> tuple[Problem, ...]:
    """Return what marks a bad case of a flaky file that did not pass, for tools that list flaky tests."""
    if not case.verdict.is_bad:
        return ()
    passed = ", ".join(str(attempt.attempt) for attempt in record.passes)
    text = f"failed in attempt {record.final.attempt}, the file passed in attempt {passed}"
    return (_earlier(prefix="flaky", is_failure=True, kind="flaky", text=text),)


def _case(case: CaseResult, record: FileAttempts) -> Case:
    class_name, name = split_case_id(case.case_id)
    verdict = _VERDICTS[case.outcome]
    trouble = None
    if verdict is not CaseElement.PASS:
        trouble = Problem(
            element=verdict.value,
            kind=str(case.outcome),
            message=headline(case.message),
            text=case.message if verdict.is_bad else "",
        )
    prefix = "rerun" if verdict.is_bad else "flaky"
    earlier = tuple(
        _earlier(
            prefix=prefix,
            is_failure=before.outcome is Outcome.FAILED,
            kind=str(before.outcome),
            text=before.message,
        )
        for attempt in record.failures
        for before in attempt.cases
        if before.case_id == case.case_id and before.outcome.is_bad
    )
    return Case(
        class_name=class_name or record.file.label,
        name=name or case.case_id or record.file.label,
        seconds=case.seconds,
        verdict=verdict,
        trouble=trouble,
        earlier=earlier,
    )


def _file_case(record: FileAttempts, *, has_cases: bool) -> Case:
    result = record.final
    verdict, trouble = CaseElement.PASS, None
    if result.ran_no_test:
        verdict = CaseElement.SKIPPED
        trouble = Problem(element=verdict.value, kind=str(Outcome.SKIPPED), message=result.note)
    if not result.status.is_pass:
        is_plain_failure = result.status is Status.FAIL and not has_cases
        verdict = CaseElement.FAILURE if is_plain_failure else CaseElement.ERROR
        trouble = Problem(
            element=verdict.value,
            kind=str(result.status),
            message=result.error or _NO_REASON.get(result.status, "the file failed"),
            text=bounded_tail(result.stacks, OUTPUT_CHARS),
        )
    return Case(
        class_name=record.file.label,
        name=record.file.label,
        # The cases have their own times; the sum on a dashboard must equal the file's time.
        seconds=0.0 if has_cases else result.duration,
        verdict=verdict,
        trouble=trouble,
    )


def _difference_case(difference: IsolationDifference) -> Case:
    return _own_case(difference.file.label, "forked as spawned", "isolation", difference.texts)


def _own_case(label: str, name: str, kind: str, texts: Sequence[str]) -> Case:
    """Return a failed case that is about the file, for what its tests cannot say."""
    trouble = Problem(
        element=CaseElement.FAILURE.value,
        kind=kind,
        message=texts[0],
        text=bounded_tail("\n".join(texts), OUTPUT_CHARS),
    )
    return Case(class_name=label, name=name, seconds=0.0, verdict=CaseElement.FAILURE, trouble=trouble)


def _unmatched_earlier(record: FileAttempts) -> tuple[Problem, ...]:
    known = {case.case_id for case in record.final.cases}
    prefix = "flaky" if record.status.is_pass else "rerun"
    return tuple(
        _earlier(
            prefix=prefix,
            is_failure=attempt.status is Status.FAIL,
            kind=str(attempt.status),
            text=attempt.error or attempt.output,
        )
        for attempt in record.failures
        if not _is_told_by_cases(attempt, known)
    )


def _is_told_by_cases(attempt: TestResult, known: set[str]) -> bool:
    if attempt.status is not Status.FAIL:
        return False
    bad = [case.case_id for case in attempt.cases if case.outcome.is_bad]
    return bool(bad) and all(case_id in known for case_id in bad)


def _earlier(*, prefix: str, is_failure: bool, kind: str, text: str) -> Problem:
    tail = bounded_tail(text, OUTPUT_CHARS)
    message = headline(tail) or kind
    return Problem(
        element=prefix + ("Failure" if is_failure else "Error"), kind=kind, message=message, text=tail
    )


_VERDICTS = {
    Outcome.PASSED: CaseElement.PASS,
    Outcome.FAILED: CaseElement.FAILURE,
    Outcome.ERROR: CaseElement.ERROR,
    Outcome.SKIPPED: CaseElement.SKIPPED,
    Outcome.XFAILED: CaseElement.SKIPPED,
    Outcome.XPASSED: CaseElement.PASS,
}
_NO_REASON = {
    Status.FAIL: "the file failed although no test inside it did",
    Status.CANCELLED: "the run was stopped before the file could finish",
}
