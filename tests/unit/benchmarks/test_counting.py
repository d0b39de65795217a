"""What frameworks print is reduced to counts, also where several printed to one output."""

from __future__ import annotations

from benchmarks.bed.counting import (
    covered_lines,
    of_pytest,
    of_unittest,
    pytest_fast_sum,
    pytest_sum,
    regrtest_sum,
    stestr_sum,
    unittest_sum,
)
from benchmarks.bed.model import Counts
from benchmarks.outcome import pytest_counts


def test_unittest_runs_in_one_output_are_added_up() -> None:
    output = (
        "..F\n======\nAssertionError: expected OK (x)\n"
        "Ran 3 tests in 0.001s\n\nFAILED (failures=1, errors=2)\n"
        "....Ran 4 tests in 0.002s\n\nOK (skipped=2, expected failures=1)\n"
        ".\nRan 1 test in 0.000s\n\nOK\n"
    )

    assert unittest_sum(output) == Counts(ran=8, failed=1, errors=2, skipped=2)


def test_pytest_runs_in_one_output_are_added_up() -> None:
    output = (
        "=== 1 failed, 2 passed, 1 skipped, 1 xfailed, 1 error in 0.65s ===\n"
        "..========== 5 passed, 3 warnings in 61.00s (0:01:01) ===========\n"
        "no tests ran in 0.01s\n"
    )

    assert pytest_sum(output) == Counts(ran=10, failed=1, errors=1, skipped=1)


def test_a_summary_without_its_line_is_rstests() -> None:
    assert pytest_sum("\n1 failed, 18 passed, 1 xpassed in 0.58s\n") == Counts(ran=20, failed=1)


def test_the_totals_of_pytest_fast_are_read() -> None:
    line = "  results : 3 failed, 12 passed, 3 skipped, 2 xfailed  (n=20/20)\n"

    assert pytest_fast_sum(f"..F\n{line}  warmup  :   0.29s\n") == Counts(ran=20, failed=3, skipped=3)


def test_subtests_are_counted_apart_and_are_no_tests() -> None:
    line = "==== 2 failed, 15 passed, 1 skipped, 89 subtests passed in 25.47s ===="

    assert pytest_sum(line) == Counts(ran=18, failed=2, skipped=1)
    assert dict(pytest_counts(line)) == {"failed": 2, "passed": 15, "skipped": 1}


def test_unittests_unexpected_success_is_a_failure() -> None:
    assert of_unittest({"run": 2, "unexpected successes": 1, "expected failures": 1}) == Counts(
        ran=2, failed=1
    )


def test_pytests_skipped_tests_are_among_those_that_ran_as_with_unittest() -> None:
    assert of_pytest({"passed": 2, "skipped": 3, "error": 1}) == Counts(ran=5, errors=1, skipped=3)


def test_stestrs_totals_are_read() -> None:
    output = "Ran: 20 tests in 0.1 sec.\n - Passed: 17\n - Skipped: 1\n - Expected Fail: 1\n - Failed: 1\n"

    assert stestr_sum(output) == Counts(ran=20, failed=1, skipped=1)


def test_regrtests_totals_are_read_with_their_thousands() -> None:
    output = "Total duration: 5 sec\nTotal tests: run=9,664 failures=2 skipped=1,103\nResult: FAILURE\n"

    assert regrtest_sum(output) == Counts(ran=9664, failed=2, skipped=1103)


def test_an_output_without_counts_is_no_test() -> None:
    for count in (unittest_sum, pytest_sum, stestr_sum, regrtest_sum):
        assert count("Traceback (most recent call last):\nKeyError: 3\n") == Counts()


def test_covered_lines_are_read_from_the_report() -> None:
    assert covered_lines('<coverage version="7" lines-valid="12" lines-covered="10" x="1">') == 10
    assert covered_lines("<nothing/>") is None
