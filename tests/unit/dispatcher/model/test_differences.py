"""Differences between a forked and a spawned attempt."""

from __future__ import annotations

from dispatcher.model.results import differences
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status


def result(status: Status = Status.PASS, **cases: Outcome) -> TestResult:
    found = tuple(CaseResult(case_id=name, outcome=outcome) for name, outcome in cases.items())
    return TestResult(file_path="a.py", status=status, cases=found)


def test_times_and_messages_are_not_a_difference() -> None:
    one = TestResult(
        file_path="a.py",
        status=Status.FAIL,
        duration=1.0,
        output="x",
        cases=(CaseResult(case_id="t", outcome=Outcome.FAILED, seconds=1, message="at 0x1"),),
    )
    other = TestResult(
        file_path="a.py",
        status=Status.FAIL,
        duration=2.0,
        output="y",
        attempt=2,
        cases=(CaseResult(case_id="t", outcome=Outcome.FAILED, seconds=2, message="at 0x2"),),
    )
    assert differences(one, other) == ()


def test_every_difference_is_named() -> None:
    forked = result(Status.FAIL, both=Outcome.PASSED, changed=Outcome.FAILED, gone=Outcome.PASSED)
    spawned = result(Status.PASS, both=Outcome.PASSED, changed=Outcome.PASSED, new=Outcome.SKIPPED)

    assert differences(forked, spawned) == (
        "FAIL when forked, PASS when spawned",
        "changed: failed when forked, passed when spawned",
        "gone: ran only when forked",
        "new: ran only when spawned",
    )


def test_a_name_of_several_tests_is_counted() -> None:
    case = CaseResult(case_id="t", outcome=Outcome.PASSED)
    twice = TestResult(file_path="a.py", status=Status.PASS, cases=(case, case))

    assert differences(twice, result(t=Outcome.PASSED)) == ("t: 2 passed when forked, passed when spawned",)
