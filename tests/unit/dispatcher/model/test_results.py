"""Findings from several attempts at a file."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.plan import TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, Measure, Regression, TestResults, exit_code_of
from passmuster.model.result import HOLDS_NO_TESTS, TestResult
from passmuster.model.status import Isolation, Status, StopReason


def attempt(status: Status, *, is_evicted: bool = False) -> TestResult:
    reason = StopReason.MEMORY_BUDGET if is_evicted else None
    return TestResult(file_path="a.py", status=status, stop_reason=reason)


@pytest.mark.parametrize(("is_evicted", "is_flaky"), [(True, False), (False, True)])
def test_an_evicted_attempt_does_not_make_a_file_flaky(is_evicted: bool, is_flaky: bool) -> None:
    attempts = (attempt(Status.PASS, is_evicted=is_evicted), attempt(Status.FAIL))
    record = FileAttempts(file=TestFile(path="a.py", label="a.py"), attempts=attempts, reasons=(None, None))

    assert record.is_flaky is is_flaky


def results(*statuses: Status, note: str = "", **changes: Any) -> TestResults:
    """Return the results of a run with one attempt at each file."""
    records = tuple(
        FileAttempts(
            file=TestFile(path=f"{number}.py", label=""),
            attempts=(TestResult(file_path=f"{number}.py", status=status, note=note),),
            reasons=(None,),
        )
        for number, status in enumerate(statuses)
    )
    return structs.replace(TestResults(records=records, duration_s=1.0), **changes)


GREW = Regression(
    file=TestFile(path="a.py", label=""), measure=Measure.CPU, baseline=1.0, now=6.0, run_slowdown=1.5
)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (results(Status.PASS, Status.PASS), ExitCode.OK),
        (results(), ExitCode.OK),
        (results(Status.PASS, Status.FAIL), ExitCode.FAILED),
        (results(Status.PASS, Status.CANCELLED), ExitCode.FAILED),
        (results(Status.PASS, Status.FAIL, interrupted=True), ExitCode.INTERRUPTED),
        (results(Status.PASS, interrupted=True), ExitCode.INTERRUPTED),
        (results(Status.PASS, regressions=(GREW,)), ExitCode.OK),
        (results(Status.PASS, regressions=(GREW,), fails_on_regression=True), ExitCode.FAILED),
        (results(Status.PASS, note=HOLDS_NO_TESTS), ExitCode.NO_TESTS),
        (results(Status.PASS, note=HOLDS_NO_TESTS, allows_no_tests=True), ExitCode.OK),
        (results(Status.FAIL, note=HOLDS_NO_TESTS), ExitCode.FAILED),
    ],
)
def test_the_exit_status_follows_from_the_results(run: TestResults, expected: ExitCode) -> None:
    assert exit_code_of(run) is expected


def test_every_file_of_a_run_is_in_one_group() -> None:
    run = results(Status.PASS, Status.FAIL, Status.CANCELLED, Status.LOST)
    empty = results(Status.PASS, note=HOLDS_NO_TESTS)

    assert [[one.file.path for one in group] for group in (run.passed, run.failed, run.cancelled)] == [
        ["0.py"],
        ["1.py", "3.py"],
        ["2.py"],
    ]
    assert (len(empty.passed), len(empty.without_tests), len(run.without_tests)) == (0, 1, 0)


def test_the_growth_of_a_file_does_not_count_the_slowdown_of_the_run() -> None:
    assert GREW.factor == 4.0


FORKED_FAIL = TestResult(file_path="a.py", status=Status.FAIL, isolation=Isolation.FORK)
SPAWNED_PASS = TestResult(file_path="a.py", status=Status.PASS)


@pytest.mark.parametrize(
    ("second", "texts"),
    [
        (SPAWNED_PASS, ("FAIL when forked, PASS when spawned",)),
        (structs.replace(SPAWNED_PASS, status=Status.FAIL), None),
        (structs.replace(SPAWNED_PASS, worker="other"), None),
    ],
)
def test_a_forked_and_a_spawned_attempt_differ_if_they_are_comparable(
    second: TestResult, texts: tuple[str, ...] | None
) -> None:
    record = FileAttempts(
        file=TestFile(path="a.py", label=""),
        attempts=(FORKED_FAIL, second),
        reasons=(None, RerunReason.VERIFY_FAILURE),
    )

    assert (record.difference.texts if record.difference else None) == texts
    assert record.is_incomparable is (second.worker == "other")
