"""A result counts its cases and knows whether it was only pushed aside."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

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


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))]
)
def test_a_copy_and_a_pickle_say_the_same(duplicate: Callable[[TestResult], TestResult]) -> None:
    case = CaseResult(case_id="a", outcome=Outcome.FAILED, message="m")
    result = TestResult(file_path="a\udcff.py", status=Status.FAIL, cases=(case,), signal=15)

    assert duplicate(result) == result
    with pytest.raises(AttributeError):
        duplicate(result).status = Status.PASS  # type: ignore[misc]
