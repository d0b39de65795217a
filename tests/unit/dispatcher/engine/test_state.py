"""Tests that every planned file gets exactly one result, in whatever order results arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.engine.retry import NextAttempt
from dispatcher.engine.state import TAIL_CHARACTERS, RunState, verdict_position
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import TestResults
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status, StopReason
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


def test_a_repeated_result_is_counted_once() -> None:
    state = RunState(planned("a.py"))

    assert state.end_attempt("a.py", result("a.py", Status.FAIL), rerun("a.py"))
    assert not state.end_attempt("a.py", result("a.py", Status.FAIL))
    assert (state.open_files, state["a.py"].failures) == (1, 1)
    assert state.end_attempt("a.py", result("a.py", attempt=2))

    [record] = finish(state).records
    assert record.is_flaky
    assert [attempt.attempt for attempt in record.attempts] == [1, 2]


@pytest.mark.parametrize("reason", [RerunReason.EXCLUSIVE, RerunReason.VERIFY_PASS])
def test_a_provisional_verdict_survives_the_eviction_of_the_further_attempt(reason: RerunReason) -> None:
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


def test_a_decided_file_does_not_start_again() -> None:
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


def test_a_slow_file_is_returned_once_for_each_attempt() -> None:
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
def test_only_the_end_of_a_failed_attempts_output_is_kept(status: Status) -> None:
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
def test_each_file_counts_once_in_whatever_order_results_come(
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


F, S = Isolation.FORK, Isolation.SPAWN
CHECK, AGAIN, REFORK = RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.REFORK
VERIFY, RETRY, ALONE = RerunReason.VERIFY_PASS, RerunReason.RETRY, RerunReason.EXCLUSIVE


@pytest.mark.parametrize(
    ("story", "retries", "position"),
    [
        ([(None, "P", S)], 0, 0),
        ([(None, "F", S), (RETRY, "P", S)], 1, 1),
        ([(None, "F", S), (RETRY, "F", S), (RETRY, "P", S)], 1, 1),
        # A verification that passes leaves the verdict to the attempt before it; one that fails decides.
        ([(None, "P", F), (VERIFY, "P", S)], 0, 0),
        ([(None, "P", F), (VERIFY, "F", S)], 0, 1),
        # Fails forked, passes spawned twice, fails forked again: forking is the cause, the file passes.
        ([(None, "F", F), (CHECK, "P", S), (AGAIN, "P", S), (REFORK, "F", F)], 0, 2),
        # Without that proof the first attempt decides; the last one that agrees with it counts.
        ([(None, "F", F), (CHECK, "P", S), (AGAIN, "F", S)], 0, 2),
        ([(None, "F", S), (ALONE, "P", S)], 0, 0),
        ([(None, "P", S), (RETRY, "C", S)], 0, 1),
    ],
)
def test_the_attempt_that_counts_follows_from_all_attempts(
    story: list[tuple[RerunReason | None, str, Isolation]], retries: int, position: int
) -> None:
    statuses = {"P": Status.PASS, "F": Status.FAIL, "C": Status.CANCELLED}
    attempts = [
        TestResult(file_path="a.py", status=statuses[letter], attempt=number, isolation=isolation)
        for number, (_, letter, isolation) in enumerate(story, 1)
    ]

    assert verdict_position(attempts, [reason for reason, _, _ in story], retries=retries) == position
