"""A result counts its cases and knows whether it was only pushed aside."""

from __future__ import annotations

import pytest

from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status, StopReason


@pytest.mark.parametrize("reason", [None, *StopReason])
def test_only_the_budget_evicts(reason: StopReason | None) -> None:
    result = TestResult(file_path="test_a.py", status=Status.MEMORY, stop_reason=reason)

    assert result.is_evicted is (reason is StopReason.MEMORY_BUDGET)


def test_cases_are_counted_by_their_outcome() -> None:
    outcomes = [*Outcome, Outcome.PASSED, Outcome.PASSED]
    cases = tuple(CaseResult(case_id=str(number), outcome=one) for number, one in enumerate(outcomes))
    result = TestResult(file_path="test_a.py", status=Status.FAIL, cases=cases)

    assert result.count(Outcome.PASSED) == 3
    assert all(result.count(outcome) == 1 for outcome in Outcome if outcome is not Outcome.PASSED)


def test_results_are_compared_by_what_they_say() -> None:
    result = TestResult(file_path="test_a.py", status=Status.PASS)

    assert result == TestResult(file_path="test_a.py", status=Status.PASS)
    assert result != TestResult(file_path="test_a.py", status=Status.PASS, attempt=2)
    assert not hasattr(result, "__dict__")
