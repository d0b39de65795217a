"""Two runs are the same only if they ran the same and it ended the same."""

from __future__ import annotations

from benchmarks.bed.verdicts import differences, reference_run
from tests.unit.benchmarks.beds import a_run, verdict


def test_equal_totals_are_no_difference() -> None:
    assert differences(a_run("xargs"), a_run("unlimited")) == ()


def test_a_test_more_or_less_is_a_difference() -> None:
    found = differences(a_run("xargs", verdict(2)), a_run("unlimited", verdict(3)))

    assert found == ("2 ran, 0 failed, 0 errors, 0 skipped; unlimited: 3 ran, 0 failed, 0 errors, 0 skipped",)


def test_equal_totals_with_other_files_are_a_difference() -> None:
    mine = a_run("ours-auto", verdict(3, by_file={"a.py": 2, "b.py": 1}))
    wanted = a_run("unlimited", verdict(3, by_file={"a.py": 1, "c.py": 2}))

    assert [line.partition(":")[0] for line in differences(mine, wanted)] == ["a.py", "b.py", "c.py"]


def test_a_file_that_did_not_end_well_is_a_difference_even_with_equal_counts() -> None:
    mine = a_run("ours-auto", verdict(bad_files=("a.py",)))

    assert differences(mine, a_run("unlimited", verdict(bad_files=()))) == ("a.py did not end well",)
    assert differences(mine, a_run("pytest", verdict(bad_files=None))) == ()


def test_other_covered_lines_are_a_difference() -> None:
    found = differences(a_run("ours", verdict(covered_lines=9)), a_run("script", verdict(covered_lines=10)))

    assert found == ("9 lines covered, by script 10",)


def test_a_run_without_an_outcome_differs_by_its_problem_alone() -> None:
    broken = a_run("rstest", verdict(0, problem="it counted no test"))

    assert differences(broken, a_run("pytest")) == ("it counted no test",)


def test_another_number_of_files_kills_and_survivors_are_differences() -> None:
    found = differences(a_run("ours", files=1, survivors=2, oom_kills=1), a_run("pytest"))

    assert found == (
        "1 files, pytest had 2",
        "1 processes were killed for want of memory",
        "2 processes outlived it",
    )


def test_the_reference_is_the_first_run_that_has_an_outcome() -> None:
    broken, empty = a_run("a", verdict(problem="killed")), a_run("b", verdict(0))
    good, later = a_run("c"), a_run("d")

    assert reference_run([broken, empty, good, later]) == good
    assert reference_run([broken, empty]) is None


def test_a_run_that_lost_tests_to_crowding_is_no_reference_if_another_did_not() -> None:
    crowded, lost = a_run("unlimited", verdict(3, failed=1)), a_run("xargs", verdict(bad_files=("a.py",)))
    good = a_run("ours-auto", verdict(bad_files=()))

    assert reference_run([crowded, lost, good]) == good
    assert reference_run([crowded, lost]) == crowded


def test_failures_and_errors_are_one_where_a_runner_gives_totals_alone() -> None:
    failed = a_run("regrtest", verdict(3, failed=1))
    error = a_run("unlimited", verdict(3))
    error_total = error.verdict.total.__class__(ran=3, errors=1)
    with_error = a_run("unlimited", error.verdict.__class__(total=error_total))

    assert differences(failed, with_error) == ()
