"""Builds the JUnit report's element of one file: a `testsuite` with its test cases. Pure.

The report is never greener than the exit status: a file that did not pass has at least one failure or error,
whatever its cases say.

    FAIL, COLLECT_ERROR        the failing cases; if there are none, a failure of the file itself
    CANCELLED                  an error of that type: a dashboard must not show green what did not run
    every other status         the failing cases, and an error of that type for the file itself
    passed, but ran no test    a skipped case for the file itself
    passed and failed          `flakyFailure` or `flakyError` in the case, as Maven's Surefire writes it,
                               in addition to a failure if the file did not pass
    failed more than once      `rerunFailure` or `rerunError`, in the same way
    differs when forked        a failure of the type `isolation`, if the run verifies forking
    regressed                  a failure of the type `regression`, if regressions fail the run
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement

from dispatcher.model.results import FileAttempts, Regression
from dispatcher.reporters.console.summary import regression_text
from dispatcher.reporters.failure_text import headline
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status
from passmuster.model.text import bounded_tail, one_line, sanitize

OUTPUT_CHARS = 64 * 1024
"""Characters of output for each file: servers refuse reports of hundreds of megabytes."""

MAX_ATTRIBUTE_CHARS = 1000
"""Characters of a message in an attribute; the text of the element has the rest."""

_NEVER_OMITTED = ("name", "classname", "message")
_BEFORE_PARAMETERS = re.compile(r"[^\[( ]*")
_TAGS = {
    Outcome.FAILED: "failure",
    Outcome.ERROR: "error",
    Outcome.SKIPPED: "skipped",
    Outcome.XFAILED: "skipped",
}
"""The element in a test case for each outcome; the others count as passed."""

_DEFAULT_MESSAGES = {
    Status.FAIL: "the file failed although no test inside it did",
    Status.CANCELLED: "the run was stopped before the file could finish",
}


def suite_element(
    record: FileAttempts, *, is_verified: bool = False, regressions: Sequence[Regression] = ()
) -> Element:
    """Return the suite of a file.

    Args:
        is_verified: whether a difference between forked and spawned attempts is a failure.
        regressions: the regressions of all files that are failures.
    """
    result, label = record.final, record.file.label
    cases = _cases(record)
    if is_verified and record.difference is not None:
        cases.append(_own_case(record, "forked as spawned", "isolation", record.difference.texts))
    grown = [regression_text(found) for found in regressions if found.file.path == record.file.path]
    if grown:
        cases.append(_own_case(record, "as much as before", "regression", grown))
    counts = Counter(child.tag for case in cases for child in case)
    suite = make_element(
        "testsuite",
        name=label,
        file=record.file.path,
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{result.duration:.3f}",
        timestamp=timestamp(result.started_at),
        hostname=result.worker,
    )
    properties = SubElement(suite, "properties")
    properties.extend(make_element("property", name=name, value=value) for name, value in _properties(record))
    suite.extend(cases)
    if result.output:
        SubElement(suite, "system-out").text = sanitize(bounded_tail(result.output, OUTPUT_CHARS))
    return suite


def make_element(tag: str, /, **attributes: str) -> Element:
    """Return an element with these attributes, each as one line; most empty ones are omitted."""
    shown = {name: value for name, value in attributes.items() if value or name in _NEVER_OMITTED}
    return Element(tag, {name: one_line(value[:MAX_ATTRIBUTE_CHARS]) for name, value in shown.items()})


def timestamp(unix_s: float) -> str:
    """Return an instant in UTC without a time zone, which the format's schema does not have; "" for 0."""
    return datetime.fromtimestamp(unix_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S") if unix_s else ""


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


def _properties(record: FileAttempts) -> list[tuple[str, str]]:
    result = record.final
    properties = [
        ("status", result.status_text),
        ("note", result.note),
        ("attempt", str(result.attempt)),
        ("runner", str(result.runner)),
        ("isolation", str(result.isolation)),
        ("isolation_note", result.isolation_note),
        ("flaky", "true" if record.is_flaky else ""),
        ("finding", str(record.finding or "")),
        *((f"attempt.{one.attempt}", f"{one.status} {one.error}".strip()) for one in record.others),
        ("peak_bytes", "" if result.peak_bytes is None else str(result.peak_bytes)),
        ("cpu_s", "" if result.cpu_s is None else f"{result.cpu_s:.3f}"),
        ("worker", result.worker),
        ("interpreter", result.interpreter),
        *(("leaked", process) for process in result.leaked),
    ]
    return [(name, value) for name, value in properties if value]


def _cases(record: FileAttempts) -> list[Element]:
    result = record.final
    cases = [_test_case(case, record) for case in result.cases]
    unmatched = _unmatched_failures(record)
    if result.status.is_pass:
        needs_own = not cases or bool(unmatched)
    elif result.status in (Status.FAIL, Status.COLLECT_ERROR):
        # The framework reports a file that it could not load as a test case.
        needs_own = not any(map(_is_bad, cases))
    else:
        needs_own = True
    if needs_own:
        own = _file_case(record, has_cases=bool(cases))
        own.extend(unmatched)
        cases.append(own)
    if record.is_flaky and not result.status.is_pass:
        passed = ", ".join(str(attempt.attempt) for attempt in record.passes)
        text = f"failed in attempt {result.attempt}, the file passed in attempt {passed}"
        for case in filter(_is_bad, cases):
            case.append(_earlier("flakyFailure", "flaky", text))
    return cases


def _is_bad(case: Element) -> bool:
    return any(child.tag in ("failure", "error") for child in case)


def _case(record: FileAttempts, name: str, seconds: float, class_name: str = "") -> Element:
    class_name = class_name or record.file.label
    return make_element(
        "testcase", classname=class_name, name=name, file=record.file.path, time=f"{seconds:.3f}"
    )


def _test_case(case: CaseResult, record: FileAttempts) -> Element:
    class_name, name = split_case_id(case.case_id)
    element = _case(record, name or case.case_id or record.file.label, case.seconds, class_name)
    is_bad = case.outcome.is_bad
    if case.outcome in _TAGS:
        text = case.message if is_bad else ""
        element.append(_problem(_TAGS[case.outcome], str(case.outcome), headline(case.message), text))
    for attempt in record.failures:
        for before in attempt.bad_cases:
            if before.case_id == case.case_id:
                tag = ("rerun" if is_bad else "flaky") + _TAGS[before.outcome].capitalize()
                element.append(_earlier(tag, str(before.outcome), before.message))
    return element


def _file_case(record: FileAttempts, *, has_cases: bool) -> Element:
    result = record.final
    # The cases have their own times; the sum on a dashboard must equal the file's time.
    element = _case(record, record.file.label, 0.0 if has_cases else result.duration)
    if not result.status.is_pass:
        tag = "failure" if result.status is Status.FAIL and not has_cases else "error"
        message = result.error or _DEFAULT_MESSAGES.get(result.status, "the file failed")
        element.append(_problem(tag, str(result.status), message, result.stacks))
    elif result.ran_no_test:
        element.append(_problem("skipped", str(Outcome.SKIPPED), result.note))
    return element


def _own_case(record: FileAttempts, name: str, kind: str, texts: Sequence[str]) -> Element:
    """Return a failed case for a problem of the file that its tests do not have."""
    element = _case(record, name, 0.0)
    element.append(_problem("failure", kind, texts[0], "\n".join(texts)))
    return element


def _unmatched_failures(record: FileAttempts) -> list[Element]:
    """Return the failures of other attempts that no case of the final attempt reports."""
    known = {case.case_id for case in record.final.cases}
    prefix = "flaky" if record.status.is_pass else "rerun"
    return [
        _earlier(
            prefix + ("Failure" if attempt.status is Status.FAIL else "Error"),
            str(attempt.status),
            attempt.error or attempt.output,
        )
        for attempt in record.failures
        if not _is_reported_by_cases(attempt, known)
    ]


def _is_reported_by_cases(attempt: TestResult, known: set[str]) -> bool:
    bad = {case.case_id for case in attempt.bad_cases}
    return attempt.status is Status.FAIL and bool(bad) and bad <= known


def _problem(tag: str, kind: str, message: str, text: str = "") -> Element:
    element = make_element(tag, type=kind, message=message)
    element.text = sanitize(bounded_tail(text, OUTPUT_CHARS))
    return element


def _earlier(tag: str, kind: str, text: str) -> Element:
    """Return a failure of an attempt that does not count."""
    tail = bounded_tail(text, OUTPUT_CHARS)
    element = make_element(tag, type=kind, message=headline(tail) or kind)
    SubElement(element, "stackTrace").text = sanitize(tail)
    return element
