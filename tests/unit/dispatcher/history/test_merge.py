"""What one attempt changes in what is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dispatcher.history.file_history import FileHistory
from dispatcher.history.merge import (
    OUTCOME_RUNS,
    AttemptSample,
    is_unsteady,
    merge_attempt,
    read_earlier_runs,
    read_outcomes,
)
from dispatcher.model.plan import TestFile
from dispatcher.model.results import Finding
from passmuster.model.result import CaseResult, PartRun, TestResult
from passmuster.model.status import Outcome, RunnerKind, Status, StopReason
from passmuster.model.test_selection import FilePart, TestSelection

FILE = TestFile(path="tests/test_a.py", label="test_a.py", size_bytes=10, mtime_ns=20)


def attempt(
    status: Status = Status.PASS,
    *,
    seconds: float = 1.0,
    peak: int | None = 100,
    cpu_s: float | None = 0.5,
    run: str = "r1",
    why: StopReason | None = None,
) -> AttemptSample:
    result = TestResult(
        file_path=FILE.path, status=status, duration=seconds, peak_bytes=peak, cpu_s=cpu_s, stop_reason=why
    )
    return AttemptSample(file=FILE, result=result, run_id=run)


def after(*attempts: AttemptSample) -> FileHistory:
    row: FileHistory | None = None
    for one in attempts:
        row = merge_attempt(row, one)
    assert row is not None
    return row


statuses = st.sampled_from([status for status in Status if not status.is_cancelled])
attempts = st.builds(
    attempt,
    statuses,
    seconds=st.floats(0, 1e4),
    peak=st.none() | st.integers(0, 2**40),
    cpu_s=st.none() | st.floats(0, 1e4),
    run=st.sampled_from(["r1", "r2", "r3"]),
    why=st.none() | st.just(StopReason.MEMORY_BUDGET),
)


def test_the_first_run_is_taken_as_it_is() -> None:
    file = after(attempt(seconds=3, peak=7, cpu_s=2))
    assert (file.spawned.duration_s, file.spawned.peak_bytes, file.spawned.cpu_s, file.spawned.runs) == (
        3,
        7,
        2,
        1,
    )
    assert (file.path, file.size_bytes, file.mtime_ns, file.last_status) == (FILE.path, 10, 20, Status.PASS)


def test_durations_follow_the_newest_by_half() -> None:
    assert after(attempt(seconds=4, cpu_s=2), attempt(seconds=2, cpu_s=1)).spawned.duration_s == 3
    assert after(attempt(seconds=4, cpu_s=2), attempt(seconds=2, cpu_s=1)).spawned.cpu_s == 1.5


def test_a_higher_peak_counts_at_once_and_a_lower_one_in_time() -> None:
    assert after(attempt(peak=100), attempt(peak=900)).spawned.peak_bytes == 900
    assert after(attempt(peak=900), attempt(peak=100)).spawned.peak_bytes == 700
    outlier = after(attempt(peak=1000), *[attempt(peak=100)] * 8).spawned.peak_bytes
    assert outlier is not None
    assert outlier < 200


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.MEMORY])
def test_a_broken_limit_gives_lower_bounds_only(status: Status) -> None:
    broken = attempt(status, seconds=300, peak=5, cpu_s=0.1)
    assert after(attempt(seconds=2, peak=50), broken).spawned.duration_s == 300
    assert after(attempt(seconds=400, peak=50), broken).spawned.duration_s == 400
    assert after(attempt(seconds=2, peak=50), broken).spawned.peak_bytes == 50
    assert after(attempt(seconds=2, peak=50), attempt(status, peak=900)).spawned.peak_bytes == 900


def test_an_evicted_attempt_only_raises_the_peak() -> None:
    evicted = attempt(Status.MEMORY, seconds=99, peak=500, why=StopReason.MEMORY_BUDGET)
    before = after(attempt())
    row = after(attempt(), evicted)
    assert row.spawned.peak_bytes == 500
    assert (row.spawned.duration_s, row.last_status, row.spawned.runs) == (1.0, Status.PASS, 1)
    assert row.outcomes == before.outcomes


def test_an_unknown_file_that_was_evicted_has_a_peak_and_no_verdict() -> None:
    row = after(attempt(Status.MEMORY, peak=500, why=StopReason.MEMORY_BUDGET))
    assert (row.spawned.runs, row.spawned.peak_bytes, row.last_status) == (0, 500, Status.CANCELLED)
    assert merge_attempt(row, attempt(seconds=3, peak=600)) == after(attempt(seconds=3, peak=600))


def test_a_cancelled_file_changes_nothing() -> None:
    cancelled = attempt(Status.CANCELLED, seconds=0.1, peak=None)
    assert merge_attempt(None, cancelled) is None
    assert merge_attempt(None, attempt(Status.CANCELLED, peak=5)) is None
    assert after(attempt(), cancelled) == after(attempt())


@pytest.mark.parametrize("status", [Status.LOST, Status.START_ERROR])
def test_an_attempt_without_a_fair_chance_leaves_its_verdict_only(status: Status) -> None:
    row = after(attempt(), attempt(status, seconds=77, peak=10**9))
    assert (row.spawned.duration_s, row.spawned.peak_bytes, row.spawned.runs) == (1.0, 100, 1)
    assert row.last_status is status


def test_outcomes_are_grouped_by_run() -> None:
    row = after(
        attempt(run="r1"),
        attempt(Status.FAIL, run="r2"),
        attempt(run="r2"),
        attempt(Status.TIMEOUT, run="r3"),
    )
    assert read_outcomes(row.outcomes) == ((Status.PASS,), (Status.FAIL, Status.PASS), (Status.TIMEOUT,))


def test_only_the_last_runs_outcomes_are_kept() -> None:
    row = after(
        attempt(Status.FAIL, run="first"), *[attempt(run=f"r{number}") for number in range(OUTCOME_RUNS)]
    )
    assert read_outcomes(row.outcomes) == ((Status.PASS,),) * OUTCOME_RUNS


def test_unknown_letters_of_outcomes_are_left_out() -> None:
    assert read_outcomes("P|?|F?") == ((Status.PASS,), (Status.FAIL,))
    assert read_outcomes("") == ()


def test_each_run_keeps_the_time_and_memory_of_its_first_attempt() -> None:
    row = after(
        attempt(Status.FAIL, seconds=2, peak=100, run="r1"),
        attempt(seconds=9, peak=900, run="r1"),
        attempt(Status.LOST, seconds=9, run="r2"),
        attempt(seconds=0.5, peak=None, run="r3"),
    )
    runs = read_earlier_runs(row)
    assert [run.statuses for run in runs] == [(Status.FAIL, Status.PASS), (Status.LOST,), (Status.PASS,)]
    assert [(run.duration_s, run.peak_bytes) for run in runs] == [(2, 100), (None, None), (0.5, None)]


def test_runs_recorded_by_an_older_program_have_no_time() -> None:
    old = replace(after(attempt(run="r1"), attempt(run="r2")), measurements="")
    row = merge_attempt(old, attempt(seconds=3, run="r3"))
    assert row is not None
    assert [run.duration_s for run in read_earlier_runs(old)] == [None, None]
    assert [run.duration_s for run in read_earlier_runs(row)] == [None, None, 3]


def test_a_file_is_unsteady_if_an_attempt_did_not_pass() -> None:
    assert not is_unsteady(after(attempt(run="r1"), attempt(run="r1"), attempt(run="r2")))
    assert is_unsteady(after(attempt(Status.FAIL, run="r1"), attempt(run="r1"), attempt(run="r2")))


@given(st.lists(attempts, max_size=60))
def test_whatever_happened_is_bounded_by_what_was_seen(history: list[AttemptSample]) -> None:
    results = [one.result for one in history]
    row: FileHistory | None = None
    for one in history:
        row = merge_attempt(row, one)
    if row is None:
        return
    peaks = [one.peak_bytes for one in results if one.peak_bytes is not None]
    assert 0 <= row.spawned.duration_s <= max(one.duration for one in results)
    assert row.spawned.peak_bytes is None or min(peaks) <= row.spawned.peak_bytes <= max(peaks)
    assert len(row.outcomes) <= OUTCOME_RUNS * 5
    assert [run.statuses for run in read_earlier_runs(row)] == [*read_outcomes(row.outcomes)]
    assert row.measurements.count("|") <= row.outcomes.count("|")
    judged = [one.status for one in results if not one.is_evicted]
    assert row.last_status is (judged[-1] if judged else Status.CANCELLED)
    assert [run[-1] for run in read_outcomes(row.outcomes)][-1:] == judged[-1:]


def some_tests(*failing: str, passing: tuple[str, ...] = (), status: Status = Status.FAIL) -> AttemptSample:
    """An attempt at some tests of the file."""
    cases = (
        *(CaseResult(case_id=f"t.py::{name}", outcome=Outcome.FAILED) for name in failing),
        *(CaseResult(case_id=f"t.py::{name}", outcome=Outcome.PASSED) for name in passing),
    )
    result = TestResult(file_path=FILE.path, status=status, cases=cases, runner=RunnerKind.PYTEST)
    chosen = replace(FILE, selection=TestSelection(tests=(*failing, *passing, "some")))
    return AttemptSample(file=chosen, result=result, run_id="r9")


def test_an_attempt_at_some_tests_changes_only_which_tests_fail() -> None:
    old = FileHistory(path=FILE.path, last_status=Status.FAIL, failing_tests=("a", "b"))

    one_left = merge_attempt(old, some_tests("b", passing=("a",)))
    assert one_left == replace(old, failing_tests=("b",))
    fixed = merge_attempt(one_left, some_tests(passing=("b",), status=Status.PASS))
    assert fixed == replace(old, last_status=Status.PASS, failing_tests=())
    broken = merge_attempt(fixed, some_tests("c"))
    assert broken == replace(old, failing_tests=("c",))
    crashed = merge_attempt(broken, some_tests(status=Status.CRASH))
    assert crashed == replace(old, last_status=Status.CRASH, failing_tests=())
    unknown = merge_attempt(crashed, some_tests(passing=("c",), status=Status.PASS))
    assert unknown == crashed  # Something else than a test failed: the whole file must run.


def in_parts(*numbers: int, status: Status = Status.PASS, finding: Finding | None = None) -> AttemptSample:
    """Return a sample of a file in two parts of one test each, of which some ran."""
    part_runs = tuple(PartRun(part=FilePart(number=number, total=2)) for number in numbers)
    cases = tuple(
        CaseResult(case_id=f"{FILE.path}::test_{number}", outcome=Outcome.PASSED, seconds=2.0)
        for number in numbers
    )
    result = TestResult(
        file_path=FILE.path,
        status=status,
        runner=RunnerKind.PYTEST,
        cases=cases,
        duration=5.0,
        peak_bytes=60,
        parts=part_runs,
    )
    return AttemptSample(file=FILE, result=result, run_id="r2", finding=finding)


def test_the_times_of_tests_are_those_of_the_last_pass_of_the_whole_file() -> None:
    passed = after(attempt(), in_parts(1, 2))

    assert passed.test_times == "skipped 0\n2.0000 test_1\n2.0000 test_2"
    assert after(in_parts(1, 2), attempt(Status.FAIL)).test_times == passed.test_times
    assert after(in_parts(1, 2), attempt()).test_times == ""


def test_parts_say_what_the_file_takes_and_not_that_it_needs_less_memory() -> None:
    file = after(attempt(seconds=5, peak=100), in_parts(1, 2))

    assert (file.spawned.duration_s, file.spawned.peak_bytes, file.spawned.runs) == (5.0, 100, 2)


def test_some_parts_of_a_file_say_only_which_tests_fail() -> None:
    whole = after(attempt())

    assert after(attempt(), in_parts(2)) == whole
    assert merge_attempt(None, in_parts(2)) is None
    assert after(attempt(), in_parts(2, status=Status.CRASH)) == replace(whole, last_status=Status.CRASH)


@pytest.mark.parametrize("finding", [Finding.FAILS_IN_PARTS, Finding.INDIVISIBLE])
def test_a_file_is_indivisible_until_its_size_changes(finding: Finding) -> None:
    found = after(in_parts(1, 2, status=Status.FAIL, finding=finding))
    passed = TestResult(file_path=FILE.path, status=Status.PASS)
    touched = AttemptSample(file=replace(FILE, mtime_ns=99), result=passed, run_id="r3")
    changed = AttemptSample(file=replace(FILE, size_bytes=99), result=passed, run_id="r3")

    assert found.is_indivisible
    assert (merge_attempt(found, touched) or found).is_indivisible
    assert not (merge_attempt(found, changed) or found).is_indivisible
