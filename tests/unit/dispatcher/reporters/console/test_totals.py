"""The totals of a run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.console.totals import Summary, biggest, slowest, summarize
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status


def record(
    path: str, *statuses: Status, seconds: float = 0.0, peak_bytes: int | None = None, cases: int = 0
) -> FileAttempts:
    passed = CaseResult(case_id="t", outcome=Outcome.PASSED)
    attempts = tuple(
        TestResult(
            file_path=path,
            status=status,
            attempt=number,
            duration=seconds,
            peak_bytes=peak_bytes,
            cases=(passed,) * cases,
        )
        for number, status in enumerate(statuses, start=1)
    )
    return FileAttempts(file=TestFile(path=path, label=path), attempts=attempts)


def test_every_outcome_is_counted() -> None:
    results = TestResults(
        records=(
            record("a", Status.PASS, cases=2),
            record("b", Status.FAIL, Status.PASS, cases=1),
            record("c", Status.FAIL),
            record("d", Status.TIMEOUT),
            record("e", Status.CANCELLED),
        ),
        duration_s=12.5,
        peak_bytes=7,
    )
    assert summarize(results) == Summary(
        total=5,
        passed=2,
        failed=2,
        not_run=1,
        without_tests=0,
        flaky=1,
        cached=0,
        forked=0,
        cases=((Outcome.PASSED, 3),),
        statuses=((Status.PASS, 2), (Status.FAIL, 1), (Status.TIMEOUT, 1), (Status.CANCELLED, 1)),
    )
    assert summarize(results).success_percent == 40.0


@given(st.lists(st.sampled_from(Status)))
def test_the_parts_add_up_and_only_a_full_success_is_a_hundred_percent(statuses: list[Status]) -> None:
    results = TestResults(
        records=tuple(record(f"f{n}", status) for n, status in enumerate(statuses)), duration_s=1
    )
    summary = summarize(results)
    assert summary.passed + summary.failed + summary.not_run == summary.total == len(statuses)
    assert (summary.success_percent == 100.0) == (summary.passed == summary.total)


def test_one_failure_among_very_many_files_is_not_rounded_away() -> None:
    many = tuple(record(f"f{n}", Status.PASS) for n in range(9999))
    results = TestResults(records=(*many, record("x", Status.FAIL)), duration_s=1)
    assert summarize(results).success_percent == 99.9


def test_the_slowest_and_the_biggest_come_first() -> None:
    records = (
        record("a", Status.PASS, seconds=1, peak_bytes=30),
        record("b", Status.FAIL, seconds=3),
        record("c", Status.PASS, seconds=2, peak_bytes=10),
        record("d", Status.CANCELLED),
    )
    results = TestResults(records=records, duration_s=1)
    assert [found.file.path for found in slowest(results, 2)] == ["b", "c"]
    assert [found.file.path for found in biggest(results, 5)] == ["a", "c"]
