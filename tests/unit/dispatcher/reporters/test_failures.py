"""What went wrong in a file: each failed test, and the file as a whole."""

from __future__ import annotations

import pytest

from dispatcher.model.plan import TestFile
from dispatcher.reporters.failure_text import ANOTHER
from dispatcher.reporters.failures import Failure, count_failures, failures_of
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status

FILE = TestFile(path="mvp_site/tests/a.py", label="tests/a.py")


def at(line: int, path: str = "mvp_site/tests/a.py") -> str:
    return (
        f'Traceback (most recent call last):\n  File "/r/{path}", line {line}, in x\nValueError: no {line}\n'
    )


def result(status: Status = Status.FAIL, *cases: CaseResult, output: str = "", error: str = "") -> TestResult:
    return TestResult(file_path=FILE.path, status=status, cases=cases, output=output, error=error)


def case(case_id: str, message: str = "", outcome: Outcome = Outcome.FAILED) -> CaseResult:
    return CaseResult(case_id=case_id, outcome=outcome, message=message)


def lines_of(result: TestResult) -> list[str]:
    failures = list(failures_of(FILE, result))
    assert len(failures) == count_failures(result)
    return [failure.line_for(FILE.label) for failure in failures]


def test_each_failed_test_is_a_failure_with_its_place() -> None:
    failed = result(
        Status.FAIL,
        case("tests/a.py::T::one", at(3) + ANOTHER + at(4)),
        case("__main__.T.fine", outcome=Outcome.PASSED),
        case("__main__.T.two", at(5, "lib/helper.py"), Outcome.ERROR),
        case("__main__.T.three"),
    )

    assert lines_of(failed) == [
        "tests/a.py:3: T::one: ValueError: no 3",
        "tests/a.py:4: T::one: ValueError: no 4",
        "/r/lib/helper.py:5: T.two: ValueError: no 5",
        "tests/a.py: T.three: failed without a message",
    ]


def test_a_file_that_failed_as_a_whole_precedes_its_failed_tests() -> None:
    slow = result(Status.TIMEOUT, case("m.T.one", at(3)), error="ran longer than 2 s")
    script = result(Status.FAIL, output=at(7), error="exit status 1")

    assert lines_of(slow) == [
        "tests/a.py:3: TIMEOUT: ran longer than 2 s",
        "tests/a.py:3: m.T.one: ValueError: no 3",
    ]
    assert lines_of(script) == ["tests/a.py:7: FAIL: exit status 1"]


def test_a_file_that_could_not_be_collected_is_one_failure() -> None:
    message = "tests/a.py:3: in <module>\n    import nope\nE   ModuleNotFoundError: No module named 'nope'"
    broken = result(Status.COLLECT_ERROR, case("tests/a.py", message), error="it cannot be imported")

    [failure] = failures_of(FILE, broken)

    assert failure.line_for(FILE.label) == "tests/a.py:3: COLLECT_ERROR: it cannot be imported"
    assert failure.detail == ("ModuleNotFoundError: No module named 'nope'",)
    assert count_failures(broken) == 1


def test_a_file_that_could_not_be_collected_says_why_once() -> None:
    message = 'E     File "a.py", line 1\nE       def x(:\nE   SyntaxError: invalid syntax'
    broken = result(Status.COLLECT_ERROR, case("tests/a.py", message), error="SyntaxError: invalid syntax")

    [failure] = failures_of(FILE, broken)

    assert failure.message == "COLLECT_ERROR: SyntaxError: invalid syntax"
    assert failure.detail == ('  File "a.py", line 1', "    def x(:")


def test_texts_of_tests_are_sanitized() -> None:
    [failure] = failures_of(FILE, result(Status.FAIL, case("a\nb", "\x1b[31mred\x00\nE  \x1b[2Jmore")))
    assert (failure.test, failure.message) == ("a\\nb", "more")


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("tests/a.py::T::m[x::y]", "T::m[x::y]"),
        ("tests.a.T.m (n=1)", "tests.a.T.m (n=1)"),
        ("__main__.T.m", "T.m"),
        ("tests/a.py", "tests/a.py"),
        ("m.f[a::b]", "m.f[a::b]"),
        ("", ""),
    ],
)
def test_a_test_is_named_without_its_file(test: str, name: str) -> None:
    assert Failure(test=test, message="m").name == name
