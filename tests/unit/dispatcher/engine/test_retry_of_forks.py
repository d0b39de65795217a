"""Tests whether a file runs again because it was forked, or ran in parallel."""

from __future__ import annotations

import pytest

from dispatcher.engine.retry import AttemptContext, NextAttempt, RetryPolicy, is_inconclusive, next_attempt
from dispatcher.model.rerun_reason import RerunReason
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status, StopReason
from passmuster.model.task import TestTask

NOT_PASSED = [status for status in Status if status.is_failure]
VERIFY = RetryPolicy(verifies_forks=True)


def task(isolation: Isolation = Isolation.AUTO, *, exclusive: bool = False) -> TestTask:
    return TestTask(
        run_id="r", file_path="a.py", isolation=isolation, exclusive=exclusive, predicted_bytes=100
    )


def result(
    status: Status,
    isolation: Isolation = Isolation.FORK,
    *,
    was_alone: bool = True,
    stop_reason: StopReason | None = None,
) -> TestResult:
    return TestResult(
        file_path="a.py", status=status, isolation=isolation, was_alone=was_alone, stop_reason=stop_reason
    )


def after(
    what: TestTask,
    came: TestResult,
    *,
    context: AttemptContext | None = None,
    policy: RetryPolicy | None = None,
) -> NextAttempt | None:
    return next_attempt(what, came, context=context or AttemptContext(), policy=policy or RetryPolicy())


@pytest.mark.parametrize("status", NOT_PASSED)
def test_a_forked_failure_is_verified_at_once_and_costs_no_retry(status: Status) -> None:
    following = after(task(), result(status), context=AttemptContext(spawned_bytes=700))

    assert following is not None
    assert (following.reason, following.is_best_effort) == (RerunReason.VERIFY_FAILURE, False)
    assert (following.task.attempt, following.task.isolation) == (2, Isolation.SPAWN)
    # A file that broke a limit of memory gets the machine to itself.
    assert following.is_urgent is (status is not Status.MEMORY)
    assert following.task.predicted_bytes == (100 if status is Status.MEMORY else 700)


@pytest.mark.parametrize("status", NOT_PASSED)
@pytest.mark.parametrize("isolation", [Isolation.FORK, Isolation.SPAWN])
def test_the_result_of_a_verification_is_final_without_retries(status: Status, isolation: Isolation) -> None:
    checked = task(Isolation.SPAWN)

    assert (
        after(checked, result(status, isolation), context=AttemptContext(reason=RerunReason.VERIFY_FAILURE))
        is None
    )
    assert (
        after(
            checked, result(Status.PASS, isolation), context=AttemptContext(reason=RerunReason.VERIFY_FAILURE)
        )
        is None
    )


@pytest.mark.parametrize("status", NOT_PASSED)
def test_a_verification_that_passes_is_spawned_once_more_if_the_failure_was_the_files(status: Status) -> None:
    checked = task(Isolation.SPAWN)
    context = AttemptContext(reason=RerunReason.VERIFY_FAILURE, forked_status=status)

    following = after(checked, result(Status.PASS, Isolation.SPAWN), context=context)

    if status.is_infrastructure:
        assert following is None
    else:
        assert following is not None
        assert (following.reason, following.task.isolation) == (RerunReason.RECHECK, Isolation.SPAWN)
        assert following.is_provisional


@pytest.mark.parametrize("status", [Status.PASS, *NOT_PASSED])
@pytest.mark.parametrize("retries", [0, 3])
def test_only_a_second_spawned_pass_is_forked_once_more(status: Status, retries: int) -> None:
    context = AttemptContext(reason=RerunReason.RECHECK, forked_status=Status.FAIL, exclusive_allowed=True)
    ended = result(status, Isolation.SPAWN, was_alone=False)

    following = after(task(Isolation.SPAWN), ended, context=context, policy=RetryPolicy(retries=retries))

    if status.is_pass:
        assert following is not None
        assert (following.reason, following.task.isolation) == (RerunReason.REFORK, Isolation.AUTO)
        assert following.is_provisional
    else:
        assert following is None


@pytest.mark.parametrize("status", [Status.PASS, *NOT_PASSED])
@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize(
    "context",
    [
        AttemptContext(reason=RerunReason.REFORK, forked_status=Status.FAIL, exclusive_allowed=True),
        AttemptContext(reason=RerunReason.RECHECK, exclusive_allowed=True),
    ],
    ids=["of a failure", "of a confirmation"],
)
def test_nothing_follows_the_end_of_a_proof(context: AttemptContext, status: Status, retries: int) -> None:
    ended = result(status, was_alone=False)

    assert after(task(Isolation.SPAWN), ended, context=context, policy=RetryPolicy(retries=retries)) is None


def test_a_verification_that_fails_is_retried_spawned() -> None:
    failed = result(Status.FAIL, Isolation.SPAWN)
    following = after(
        task(Isolation.SPAWN),
        failed,
        context=AttemptContext(reason=RerunReason.VERIFY_FAILURE),
        policy=RetryPolicy(retries=1),
    )

    assert following is not None
    assert (following.reason, following.task.isolation) == (RerunReason.RETRY, Isolation.SPAWN)


def test_a_forked_pass_is_verified_in_idle_time_unless_it_was_before() -> None:
    following = after(task(), result(Status.PASS))

    assert following is not None
    assert (following.reason, following.is_best_effort, following.is_urgent) == (
        RerunReason.VERIFY_PASS,
        True,
        False,
    )
    assert (following.task.isolation, following.task.predicted_bytes) == (Isolation.SPAWN, None)
    assert after(task(), result(Status.PASS), context=AttemptContext(is_fork_verified=True)) is None
    assert after(task(Isolation.SPAWN), result(Status.PASS, Isolation.SPAWN)) is None


@pytest.mark.parametrize("status", [Status.PASS, *NOT_PASSED])
def test_forks_that_the_user_demands_are_trusted(status: Status) -> None:
    assert after(task(Isolation.FORK), result(status)) is None


@pytest.mark.parametrize("isolation", [Isolation.AUTO, Isolation.FORK])
@pytest.mark.parametrize("status", [Status.PASS, *NOT_PASSED])
def test_verify_isolation_spawns_every_forked_file_whatever_is_known(
    status: Status, isolation: Isolation
) -> None:
    following = after(
        task(isolation), result(status), context=AttemptContext(is_fork_verified=True), policy=VERIFY
    )

    assert following is not None
    assert following.task.isolation is Isolation.SPAWN
    assert (following.reason, following.is_best_effort) == (
        RerunReason.VERIFY_PASS if status.is_pass else RerunReason.VERIFY_FAILURE,
        False,
    )


@pytest.mark.parametrize("isolation", list(Isolation))
@pytest.mark.parametrize("reason", [StopReason.CANCELLED, StopReason.RUN_TIMEOUT])
def test_a_cancelled_attempt_is_not_verified(isolation: Isolation, reason: StopReason) -> None:
    cancelled = result(Status.CANCELLED, stop_reason=reason)

    assert after(task(isolation), cancelled, policy=VERIFY) is None


def test_an_evicted_forked_file_is_forked_again() -> None:
    evicted = result(Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET)

    following = after(task(), evicted)

    assert following is not None
    assert (following.reason, following.task.isolation) == (RerunReason.EVICTED, Isolation.AUTO)


COMPANY = AttemptContext(exclusive_allowed=True)


@pytest.mark.parametrize("status", list(Status))
def test_only_failures_that_others_may_have_caused_rerun_exclusively(status: Status) -> None:
    following = after(task(), result(status, Isolation.SPAWN, was_alone=False), context=COMPANY)

    if status in (Status.FAIL, Status.TIMEOUT, Status.CRASH):
        assert following is not None
        assert (following.reason, following.is_urgent, following.is_best_effort) == (
            RerunReason.EXCLUSIVE,
            False,
            False,
        )
        assert (following.task.exclusive, following.task.isolation) == (True, Isolation.SPAWN)
    else:
        assert following is None


def test_an_exclusive_rerun_follows_all_retries_once() -> None:
    failed = result(Status.FAIL, Isolation.SPAWN, was_alone=False)
    first = after(task(), failed, context=COMPANY, policy=RetryPolicy(retries=1))
    last = after(
        task(),
        failed,
        context=AttemptContext(failures=1, exclusive_allowed=True),
        policy=RetryPolicy(retries=1),
    )

    assert first is not None
    assert last is not None
    assert (first.reason, last.reason) == (RerunReason.RETRY, RerunReason.EXCLUSIVE)
    alone = AttemptContext(reason=RerunReason.EXCLUSIVE, failures=0, exclusive_allowed=True)
    assert after(last.task, failed, context=alone, policy=RetryPolicy(retries=9)) is None


def test_no_exclusive_rerun_for_a_file_that_ran_alone_or_may_not() -> None:
    assert after(task(), result(Status.FAIL, Isolation.SPAWN), context=COMPANY) is None
    failed = result(Status.FAIL, Isolation.SPAWN, was_alone=False)
    assert after(task(), failed) is None
    assert after(task(exclusive=True), failed, context=COMPANY) is None


def test_a_forced_fork_is_forked_in_its_exclusive_rerun_too() -> None:
    following = after(task(Isolation.FORK), result(Status.FAIL, was_alone=False), context=COMPANY)

    assert following is not None
    assert following.task.isolation is Isolation.FORK


CONFIRMING, ALONE = (
    AttemptContext(reason=RerunReason.VERIFY_PASS),
    AttemptContext(reason=RerunReason.EXCLUSIVE),
)


@pytest.mark.parametrize(
    ("context", "policy", "status", "evicted", "expected"),
    [
        (CONFIRMING, RetryPolicy(), Status.CANCELLED, False, True),
        (CONFIRMING, RetryPolicy(), Status.LOST, False, True),
        (CONFIRMING, RetryPolicy(), Status.MEMORY, True, True),
        (CONFIRMING, RetryPolicy(), Status.FAIL, False, False),
        (CONFIRMING, RetryPolicy(), Status.PASS, False, False),
        (CONFIRMING, VERIFY, Status.MEMORY, True, False),
        (CONFIRMING, VERIFY, Status.LOST, False, False),
        (CONFIRMING, VERIFY, Status.CANCELLED, False, True),
        (ALONE, RetryPolicy(), Status.CANCELLED, False, True),
        (ALONE, RetryPolicy(), Status.START_ERROR, False, True),
        (ALONE, RetryPolicy(), Status.FAIL, False, False),
        (AttemptContext(), RetryPolicy(), Status.CANCELLED, False, False),
        (AttemptContext(reason=RerunReason.VERIFY_FAILURE), RetryPolicy(), Status.LOST, False, False),
    ],
)
def test_an_unfair_further_attempt_is_inconclusive(
    context: AttemptContext, policy: RetryPolicy, status: Status, evicted: bool, expected: bool
) -> None:
    reason = StopReason.MEMORY_BUDGET if evicted else None
    ended = result(status, Isolation.SPAWN, stop_reason=reason)

    assert is_inconclusive(ended, context=context, policy=policy) is expected
