"""Tests whether a file runs again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dispatcher.engine.retry import MAX_EVICTIONS, AttemptContext, NextAttempt, RetryPolicy, next_attempt
from dispatcher.model.rerun_reason import RerunReason
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask

RETRIED = {Status.FAIL, Status.TIMEOUT, Status.MEMORY, Status.CRASH, Status.START_ERROR, Status.LOST}


def _task(*, predicted_bytes: int | None = 100, attempt: int = 1, exclusive: bool = False) -> TestTask:
    return TestTask(
        run_id="r",
        file_path="test_a.py",
        attempt=attempt,
        predicted_bytes=predicted_bytes,
        exclusive=exclusive,
    )


def _after(
    status: Status,
    *,
    task: TestTask | None = None,
    stop_reason: StopReason | None = None,
    peak_bytes: int | None = 1000,
    failures: int = 0,
    retries: int = 0,
    evictions: int = 0,
    budget_bytes: int | None = None,
    was_alone: bool = True,
) -> NextAttempt | None:
    result = TestResult(file_path="test_a.py", status=status, stop_reason=stop_reason, peak_bytes=peak_bytes)
    return next_attempt(
        task or _task(),
        replace(result, was_alone=was_alone),
        context=AttemptContext(failures=failures, evictions=evictions),
        policy=RetryPolicy(retries=retries),
        budget_bytes=budget_bytes,
    )


@pytest.mark.parametrize("status", list(Status))
def test_without_retries_every_result_is_final(status: Status) -> None:
    assert _after(status) is None


@pytest.mark.parametrize("status", list(Status))
def test_failures_that_may_be_chance_are_retried(status: Status) -> None:
    following = _after(status, retries=1)
    assert (following is not None) == (status in RETRIED)
    if following is not None:
        assert following.reason is RerunReason.RETRY
        assert following.task.attempt == 2
        assert following.task.exclusive == (status is Status.MEMORY)


def test_retries_end() -> None:
    assert _after(Status.FAIL, retries=2, failures=1) is not None
    assert _after(Status.FAIL, retries=2, failures=2) is None


def test_a_file_over_its_memory_limit_is_retried_exclusively_with_a_corrected_prediction() -> None:
    following = _after(Status.MEMORY, retries=1, stop_reason=StopReason.MEMORY_LIMIT, budget_bytes=1100)
    assert following == NextAttempt(
        task=TestTask(run_id="r", file_path="test_a.py", attempt=2, predicted_bytes=1100, exclusive=True),
        reason=RerunReason.RETRY,
    )


def test_an_evicted_file_reruns_without_retries() -> None:
    following = _after(Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET, failures=3)
    assert following == NextAttempt(task=_task(predicted_bytes=1250, attempt=2), reason=RerunReason.EVICTED)


def test_after_the_second_eviction_it_runs_exclusively() -> None:
    task = _task(predicted_bytes=1250, attempt=2)
    following = _after(Status.MEMORY, task=task, stop_reason=StopReason.MEMORY_BUDGET, evictions=1)
    assert following == NextAttempt(
        task=_task(predicted_bytes=1250, attempt=3, exclusive=True), reason=RerunReason.EVICTED
    )


@pytest.mark.parametrize(
    ("predicted_bytes", "peak_bytes", "budget_bytes", "expected"),
    [
        (5000, 1000, None, 5000),
        (100, 1000, 1100, 1100),
        (None, 1000, None, 1250),
        (None, None, 1100, None),
        (700, None, 1100, 700),
    ],
)
def test_the_prediction_is_corrected_upwards_within_the_budget(
    predicted_bytes: int | None, peak_bytes: int | None, budget_bytes: int | None, expected: int | None
) -> None:
    following = _after(
        Status.MEMORY,
        task=_task(predicted_bytes=predicted_bytes),
        stop_reason=StopReason.MEMORY_BUDGET,
        peak_bytes=peak_bytes,
        budget_bytes=budget_bytes,
    )
    assert following is not None
    assert following.task.predicted_bytes == expected


@pytest.mark.parametrize(
    ("was_alone", "evictions", "runs_again"),
    [(False, MAX_EVICTIONS - 1, True), (False, MAX_EVICTIONS, False), (True, MAX_EVICTIONS, True)],
    ids=["rarely", "for files of its own run", "for other runs"],
)
def test_the_number_of_evictions_for_its_own_run_is_bounded(
    was_alone: bool, evictions: int, runs_again: bool
) -> None:
    reason = StopReason.MEMORY_BUDGET
    following = _after(Status.MEMORY, stop_reason=reason, evictions=evictions, retries=9, was_alone=was_alone)
    assert (following is not None) == runs_again


def test_a_file_may_have_its_own_number_of_retries() -> None:
    assert _after(Status.FAIL, task=replace(_task(), retries=1)) is not None
    assert _after(Status.FAIL, task=replace(_task(), retries=0), retries=5) is None
