"""A result counts its cases, and knows whether it was evicted."""

from __future__ import annotations

import copy
import pickle
import signal
from collections.abc import Callable

import pytest
from msgspec import structs

from passmuster.model.result import HOLDS_NO_TESTS, CaseResult, TestResult
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


def test_results_are_compared_by_value() -> None:
    result = TestResult(file_path="test_a.py", status=Status.PASS)

    assert result == TestResult(file_path="test_a.py", status=Status.PASS)
    assert result != TestResult(file_path="test_a.py", status=Status.PASS, attempt=2)
    assert not hasattr(result, "__dict__")


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))]
)
def test_a_copy_and_a_pickle_are_equal(duplicate: Callable[[TestResult], TestResult]) -> None:
    case = CaseResult(case_id="a", outcome=Outcome.FAILED, message="m")
    result = TestResult(file_path="a\udcff.py", status=Status.FAIL, cases=(case,), signal=15)

    assert duplicate(result) == result
    with pytest.raises(AttributeError):
        duplicate(result).status = Status.PASS  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "is_comparable"),
    [
        ({}, True),
        ({"status": Status.FAIL, "attempt": 2}, True),
        ({"worker": "w2"}, False),
        ({"interpreter": "CPython 3.12.1"}, False),
        ({"signal": signal.SIGTERM}, False),
        ({"signal": signal.SIGKILL, "stop_reason": StopReason.OUT_OF_MEMORY}, False),
        ({"signal": signal.SIGTERM, "stop_reason": StopReason.TIMEOUT}, True),
        ({"signal": signal.SIGSEGV}, True),
    ],
)
def test_attempts_are_comparable_on_one_worker_and_interpreter_without_a_signal_from_outside(
    changes: dict[str, object], is_comparable: bool
) -> None:
    first = TestResult(file_path="test_a.py", status=Status.PASS, worker="w1", interpreter="CPython 3.11.7")
    other = structs.replace(first, **changes)

    assert first.is_comparable(other) is is_comparable
    assert other.is_comparable(first) is is_comparable


@pytest.mark.parametrize(
    ("status", "note", "holds_no_tests"),
    [
        (Status.PASS, HOLDS_NO_TESTS, True),
        (Status.PASS, "all 3 test(s) deselected", False),
        (Status.PASS, "", False),
        (Status.FAIL, HOLDS_NO_TESTS, False),
    ],
)
def test_only_a_pass_with_that_note_contains_no_tests(
    status: Status, note: str, holds_no_tests: bool
) -> None:
    result = TestResult(file_path="test_a.py", status=status, note=note)

    assert result.holds_no_tests is holds_no_tests
