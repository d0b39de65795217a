"""Every status, stop reason and outcome has its properties."""

from __future__ import annotations

import pytest

from passmuster.model.status import Outcome, RunnerKind, Status, StopReason

STATUSES = {
    # status: is_pass, is_infrastructure, is_cancelled, is_failure
    Status.PASS: (True, False, False, False),
    Status.FAIL: (False, False, False, True),
    Status.TIMEOUT: (False, False, False, True),
    Status.MEMORY: (False, False, False, True),
    Status.CRASH: (False, False, False, True),
    Status.NO_TESTS: (False, False, False, True),
    Status.COLLECT_ERROR: (False, False, False, True),
    Status.START_ERROR: (False, True, False, True),
    Status.LOST: (False, True, False, True),
    Status.CANCELLED: (False, False, True, False),
}
MEMORY_REASONS = {
    StopReason.TIMEOUT: False,
    StopReason.RUN_TIMEOUT: False,
    StopReason.MEMORY_LIMIT: True,
    StopReason.MEMORY_BUDGET: True,
    StopReason.OUT_OF_MEMORY: True,
    StopReason.CANCELLED: False,
}
BAD_OUTCOMES = {
    Outcome.PASSED: False,
    Outcome.FAILED: True,
    Outcome.ERROR: True,
    Outcome.SKIPPED: False,
    Outcome.XFAILED: False,
    Outcome.XPASSED: False,
}


@pytest.mark.parametrize("status", list(Status))
def test_every_status_answers_every_question(status: Status) -> None:
    answers = (status.is_pass, status.is_infrastructure, status.is_cancelled, status.is_failure)
    assert answers == STATUSES[status]


@pytest.mark.parametrize("status", list(Status))
def test_a_file_is_counted_as_exactly_one_of_passed_failed_and_cancelled(status: Status) -> None:
    assert [status.is_pass, status.is_failure, status.is_cancelled].count(True) == 1


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_reason_to_stop_knows_whether_it_is_memory(reason: StopReason) -> None:
    assert reason.is_memory is MEMORY_REASONS[reason]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_knows_whether_it_fails_its_file(outcome: Outcome) -> None:
    assert outcome.is_bad is BAD_OUTCOMES[outcome]


def test_the_values_are_those_that_users_parse() -> None:
    assert [str(status) for status in Status] == [status.name for status in Status]
    assert [str(kind) for kind in RunnerKind] == ["auto", "script", "pytest", "unittest", "command"]
