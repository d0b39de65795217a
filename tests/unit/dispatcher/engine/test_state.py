"""Every planned file ends in exactly one counted result, in whatever order answers come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.engine.retry import NextAttempt
from dispatcher.engine.state import TAIL_CHARACTERS, RunState
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import TestResults
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask

PATHS = ("a.py", "b.py", "c.py")


def planned(*paths: str) -> list[PlannedFile]:
    return [
        PlannedFile(file=TestFile(path=path, label=path), task=TestTask(run_id="r", file_path=path))
        for path in paths
    ]


def result(
    path: str, status: Status = Status.PASS, *, attempt: int = 1, output: str = "", evicted: bool = False
) -> TestResult:
    reason = StopReason.MEMORY_BUDGET if evicted else None
    return TestResult(file_path=path, status=status, attempt=attempt, output=output, stop_reason=reason)


def rerun(path: str, reason: RerunReason = RerunReason.RETRY) -> NextAttempt:
    task = TestTask(run_id="r", file_path=path)
    return NextAttempt(task=task, reason=reason, is_best_effort=reason is not RerunReason.RETRY)


def finish(state: RunState) -> TestResults:
    return TestResults(records=state.records(), duration_s=1.0)


def test_the_results_are_refused_while_a_file_is_open() -> None:
    state = RunState(planned("a.py"))

    with pytest.raises(RuntimeError, match="1 planned files have no result"):
        finish(state)


def test_the_first_answer_counts_and_later_ones_are_dropped() -> None:
    state = RunState(planned("a.py"))

    assert state.end_attempt("a.py", result("a.py", Status.FAIL))
    assert not state.end_attempt("a.py", result("a.py", Status.PASS))
    assert not state.end_attempt("a.py", result("a.py", Status.PASS, attempt=2))
    state.cancel("a.py", "not run")

    assert [record.status for record in finish(state).records] == [Status.FAIL]
    assert (state.open_files, state.failed_files) == (0, 1)


def test_an_attempt_that_is_answered_twice_is_counted_once() -> None:
    state = RunState(planned("a.py"))

    assert state.end_attempt("a.py", result("a.py", Status.FAIL), rerun("a.py"))
    assert not state.end_attempt("a.py", result("a.py", Status.FAIL))
    assert (state.open_files, state["a.py"].failures) == (1, 1)
    assert state.end_attempt("a.py", result("a.py", attempt=2))

    [record] = finish(state).records
    assert record.is_flaky
    assert [attempt.attempt for attempt in record.attempts] == [1, 2]


@pytest.mark.parametrize("reason", [RerunReason.EXCLUSIVE, RerunReason.VERIFY_PASS])
def test_a_verdict_that_stands_is_kept_when_the_further_attempt_is_evicted(reason: RerunReason) -> None:
    status = Status.PASS if reason is RerunReason.VERIFY_PASS else Status.FAIL
    state = RunState(planned("a.py"))
    state.end_attempt("a.py", result("a.py", status), rerun("a.py", reason))
    evicted = result("a.py", Status.MEMORY, attempt=2, evicted=True)
    state.end_attempt("a.py", evicted, rerun("a.py", RerunReason.EVICTED))

    assert state["a.py"].reason is reason
    assert state.best_effort_files == 1
    assert state.failed_files == (1 if reason is RerunReason.EXCLUSIVE else 0)
    settled = state.settle("a.py")
    assert settled is not None
    assert settled.status is status
    assert state.open_files == 0


def test_a_file_that_is_decided_does_not_start_again() -> None:
    state = RunState(planned("a.py"))
    state.cancel("a.py", "not run")

    state.start("a.py", 1.0)

    assert state.newly_slow(100.0, 1.0) == []
    assert not finish(state).records[0].started


def test_evictions_are_neither_failures_nor_make_a_file_flaky() -> None:
    state = RunState(planned("a.py"))

    evicted = result("a.py", Status.MEMORY, evicted=True)
    state.end_attempt("a.py", evicted, rerun("a.py", RerunReason.EVICTED))
    state.end_attempt("a.py", result("a.py", attempt=2))

    [record] = finish(state).records
    assert (state["a.py"].evictions, state["a.py"].failures, state.failed_files) == (1, 0, 0)
    assert not record.is_flaky
    assert record.final.attempt == 2


def test_a_cancelled_file_says_why_and_whether_it_had_started() -> None:
    state = RunState(planned("a.py", "b.py"))
    state.start("a.py", 1.0)
    state.end_attempt("a.py", result("a.py", Status.FAIL), rerun("a.py"))

    state.cancel("a.py", "not run: interrupted")
    state.cancel("b.py", "not run: interrupted")

    first, second = finish(state).records
    assert (first.started, second.started) == (True, False)
    assert (first.final.attempt, second.final.attempt) == (2, 1)
    assert first.final.error == second.final.error == "not run: interrupted"
    assert finish(state).cancelled == (first, second)


def test_a_slow_file_is_told_once_for_each_attempt() -> None:
    state = RunState(planned("a.py", "b.py"))
    state.start("a.py", 10.0)
    state.start("b.py", 15.0)

    assert state.newly_slow(19.9, 10.0) == []
    assert [(file.path, seconds) for file, seconds in state.newly_slow(20.5, 10.0)] == [("a.py", 10.5)]
    assert state.newly_slow(21.0, 10.0) == []
    state.end_attempt("a.py", result("a.py", Status.FAIL), rerun("a.py"))
    state.start("a.py", 22.0)
    assert {file.path for file, _ in state.newly_slow(32.0, 10.0)} == {"a.py", "b.py"}
    assert state.newly_slow(40.0, 10.0) == []


@pytest.mark.parametrize("status", list(Status))
def test_a_large_run_keeps_only_the_end_of_what_did_not_pass(status: Status) -> None:
    state = RunState(planned("a.py"))
    state.end_attempt("a.py", result("a.py", status, output="x" * TAIL_CHARACTERS + "end"))

    kept = finish(state).records[0].final.output

    assert len(kept) == (0 if status.is_pass else TAIL_CHARACTERS)
    assert kept.endswith("" if status.is_pass else "end")


ACTION = st.tuples(
    st.sampled_from(PATHS),
    st.sampled_from(["start", "end", "final", "cancel"]),
    st.sampled_from(list(Status)),
    st.integers(1, 3),
    st.booleans(),
)


@given(st.lists(ACTION, max_size=40))
def test_whatever_comes_in_whatever_order_each_file_counts_once(
    actions: list[tuple[str, str, Status, int, bool]],
) -> None:
    state = RunState(planned(*PATHS), retries=len(actions))
    decided: dict[str, Status] = {}
    attempts = dict.fromkeys(PATHS, 0)
    for path, action, status, attempt, evicted in actions:
        if action == "start":
            state.start(path, 0.0)
        elif action == "cancel":
            state.cancel(path, "stopped")
            decided.setdefault(path, Status.CANCELLED)
        else:
            if action == "end" and status.is_pass:
                status = Status.FAIL  # Nothing follows a pass for the reason that attempts follow here.
            answer = result(path, status, attempt=attempt, evicted=evicted)
            reason = RerunReason.EVICTED if evicted else RerunReason.RETRY
            counted = state.end_attempt(path, answer, None if action == "final" else rerun(path, reason))
            assert counted is (path not in decided and attempt > attempts[path])
            if counted:
                attempts[path] = attempt
            if counted and action == "final":
                decided[path] = status
        assert state.open_files == len(PATHS) - len(decided)
        assert state.failed_files == sum(one.is_failure for one in decided.values())
    for path in PATHS:
        state.cancel(path, "end")
        decided.setdefault(path, Status.CANCELLED)
    found = finish(state)
    assert {record.file.path: record.status for record in found.records} == decided
    assert [record.file.path for record in found.records] == list(PATHS)
    assert len(found.passed) + len(found.failed) + len(found.cancelled) == len(PATHS)
    assert state.newly_slow(1.0, 0.0) == []
