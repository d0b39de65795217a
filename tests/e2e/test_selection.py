"""Tests inside files: which run, by every way of naming them, and what is reported of them."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

CART = """
import pytest

@pytest.mark.slow
def test_empty():
    pass

@pytest.mark.parametrize("count", [1, 2])
def test_total(count):
    assert count < 2

class TestDiscount:
    def test_none(self):
        pass

    def test_half(self):
        pass
"""
UNITS = """
import unittest

class TestUnits(unittest.TestCase):
    def test_one(self):
        pass

    def test_two(self):
        self.fail("two")

if __name__ == "__main__":
    unittest.main()
"""
CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true")

def pytest_collection_modifyitems(config, items):
    if not config.getoption("--runslow"):
        items[:] = [item for item in items if "slow" not in item.keywords]
"""
A, U = "tests/test_cart.py", "tests/test_units.py"


@pytest.fixture
def shop(project: Project) -> Project:
    """A pytest project with parametrized tests, classes, markers, and a unittest file."""
    project.python_home = PYTEST_ENVIRONMENT
    project.write({A: CART, U: UNITS, "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['slow']\n"})
    return project


def ran(project: Project, *words: str) -> set[str]:
    """Return the tests that ran, without their file."""
    outcome = project.run(*words)
    return {case.case_id.rpartition("::")[2] for file in outcome.finished() for case in file.cases}


@pytest.mark.parametrize(
    ("words", "tests"),
    [
        ((f"{A}::test_empty",), {"test_empty"}),
        ((f"{A}::test_total[1]", f"{A}::TestDiscount::test_half"), {"test_total[1]", "test_half"}),
        ((f"{A}::test_total",), {"test_total[1]", "test_total[2]"}),
        ((f"{A}::TestDiscount", "-k", "not none"), {"test_half"}),
        ((f"{A}:9",), {"test_total[1]", "test_total[2]"}),
        ((f"{A}:12", f"{U}::TestUnits::test_one"), {"test_none", "test_half", "test_one"}),
        (("-m", "slow"), {"test_empty"}),
        (("-k", "half or empty"), {"test_half", "test_empty"}),
        ((A, "--deselect", f"{A}::test_total", "--deselect", f"{A}::TestDiscount"), {"test_empty"}),
        ((f"{A}::test_empty", A, "-k", "empty or none"), {"test_empty", "test_none"}),
        ((f"{A}::TestDiscount", "-k", "half", "--isolation", "spawn"), {"test_half"}),
        (("-m", "slow", "--isolation", "spawn"), {"test_empty"}),
    ],
    ids=str,
)
def test_only_the_selected_tests_run(shop: Project, words: tuple[str, ...], tests: set[str]) -> None:
    assert ran(shop, *words) == tests


@pytest.mark.parametrize(
    ("words", "tests"),
    [
        ((f"{U}::TestUnits::test_one",), {"test_one"}),
        ((U, "-k", "*Units*o*"), {"test_one", "test_two"}),
        ((U, "-k", "two"), {"test_two"}),
        ((U, "--deselect", f"{U}::TestUnits::test_two"), {"test_one"}),
    ],
    ids=str,
)
def test_unittest_files_are_selected_from_as_well(
    shop: Project, words: tuple[str, ...], tests: set[str]
) -> None:
    outcome = shop.run("--runner", "unittest", *words)
    assert {case.case_id.rpartition(".")[2] for case in outcome.final(U).cases} == tests


def test_words_after_two_hyphens_reach_the_pytest_of_every_file(shop: Project) -> None:
    shop.write({"conftest.py": CONFTEST})
    assert "test_empty" not in ran(shop, A)
    assert "test_empty" in ran(shop, A, "--", "--runslow", "-p", "no:cacheprovider")


def test_arguments_of_some_files_stand_in_an_override(shop: Project) -> None:
    shop.write(
        {
            "conftest.py": CONFTEST,
            "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['slow']\n[[tool.passmuster.overrides]]\n"
            f"files = ['{A}']\npytest-args = ['--runslow']\n",
        }
    )
    assert "test_empty" in ran(shop, A)


def test_the_command_that_runs_a_failing_test_again_works_as_printed(shop: Project) -> None:
    outcome = shop.run("-k", "total or two")
    commands = [line.partition("again: ")[2] for line in outcome.lines if "Run it again:" in line]

    assert sorted(command.rpartition("::")[2] for command in commands) == ["test_total[2]'", "test_two"]
    for command in commands:
        again = subprocess.run(
            shlex.split(command), cwd=shop.root, capture_output=True, text=True, check=False, timeout=100
        )
        assert again.returncode == 1, again.stdout + again.stderr
        assert "Test cases: failed 1" in again.stdout


def test_failed_runs_the_tests_that_failed_until_they_pass(shop: Project) -> None:
    shop.run()
    # It says nothing about the tests that it does not run.
    shop.run(f"{A}::test_empty", f"{U}::TestUnits::test_one")
    assert ran(shop, "--failed") == {"test_total[2]", "test_two"}

    shop.write({U: UNITS.replace('self.fail("two")', "pass")})
    assert ran(shop, "--failed") == {"test_total[2]", "test_two"}
    assert ran(shop, "--failed") == {"test_total[2]"}

    shop.write({A: CART.replace("test_total", "test_sum")})
    assert ran(shop, "--failed") >= {"test_sum[2]", "test_none"}  # It has none of the failed tests any more.


def test_a_selection_that_matches_nothing_is_named_and_no_success(shop: Project) -> None:
    outcome = shop.run("-k", "nothing_of_this_name")
    assert outcome.code == 5
    assert "No test ran: none matches -k 'nothing_of_this_name'" in str(outcome)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((f"{A}::test_totl",), "no test called test_totl in the file; the nearest are test_total"),
        ((f"{U}::TestUnits::test_thre", "--runner", "unittest"), "no test called TestUnits::test_thre"),
    ],
    ids=str,
)
def test_a_test_that_does_not_exist_fails_its_file_and_names_the_nearest(
    shop: Project, words: tuple[str, ...], said: str
) -> None:
    outcome = shop.run(*words)
    assert outcome.code == 1
    assert said in str(outcome)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((f"{A}:1",), "holds no test at line 1; the nearest is test_empty, lines 4 to 6"),
        ((f"{A}::",), "names no test: expected FILE::TEST"),
        (("tests::test_total",), "names a test in a directory: name its file"),
        (("-k", "one or"), "wrong value for keyword"),
        (("-m", "a b"), "wrong value for marker"),
        (("-m", "slow", "--runner", "unittest"), "unittest runs"),
        ((f"{U}::TestUnits", "--runner", "script"), "runs as a script, so its tests cannot be selected"),
        (("--", "-x"), "-x (from the arguments after --) concerns the whole run"),
        (("--", A), "is no option of pytest: name files and tests before --"),
        (("--cluster", "1", "--", "-p", "somewhere"), "is not sent to workers"),
    ],
    ids=str,
)
def test_what_cannot_be_selected_is_refused_in_one_line(
    shop: Project, words: tuple[str, ...], said: str
) -> None:
    outcome = shop.run(*words, events=False)
    assert outcome.code == 2
    assert said in str(outcome)


def test_shards_of_different_selections_do_not_merge(shop: Project) -> None:
    shop.run("--shard", "1/2", "--record", "records", "-k", "total", events=False)
    shop.run("--shard", "2/2", "--record", "records", events=False)
    outcome = shop.run("merge", "records", events=False)
    assert outcome.code == 3
    assert "they select different tests" in str(outcome)


def test_workers_of_a_queue_run_the_selected_tests(shop: Project) -> None:
    assert ran(shop, "--cluster", "1", f"{A}::test_empty", f"{U}::TestUnits::test_one") == {
        "test_empty",
        "test_one",
    }


def order(project: Project, *words: str) -> list[str]:
    """Return the tests of one file in the order in which they ran."""
    return [case.case_id.rpartition("::")[2] for case in project.run(A, *words).final(A).cases]


def test_a_shuffled_order_is_repeated_by_its_seed(shop: Project) -> None:
    usual = order(shop)
    orders = [order(shop, f"--shuffle={seed}") for seed in (1, 2)]

    assert order(shop, "--shuffle=1", "--isolation", "spawn") == orders[0]
    assert any(one != usual for one in orders)
    for one in orders:
        assert sorted(one) == sorted(usual)
        assert abs(one.index("test_none") - one.index("test_half")) == 1  # A class stays together.


def test_a_random_seed_is_printed(shop: Project) -> None:
    outcome = shop.run(A, "--shuffle", "-k", "empty or none")
    (line,) = [line for line in outcome.stderr.splitlines() if "--shuffle=" in line]
    assert line.rpartition("=")[2].isdecimal()


def test_a_random_seed_cannot_be_one_of_several_machines(shop: Project) -> None:
    outcome = shop.run("--shuffle", "--shard", "1/2", events=False)
    assert outcome.code == 2
    assert "name a seed" in str(outcome)


@pytest.mark.parametrize(
    ("runner", "words"), [("pytest", ()), ("pytest", ("--", "--runxfail")), ("unittest", ())]
)
def test_quarantined_tests_run_and_never_fail_their_file(
    shop: Project, runner: str, words: tuple[str, ...]
) -> None:
    shop.write({"quarantine.txt": f"# flaky\n{U}::TestUnits::test_two  # see the tracker\n"})
    outcome = shop.run(U, "--runner", runner, "--quarantine-file", "quarantine.txt", *words)

    assert outcome.code == 0, str(outcome)
    assert "1 quarantined test(s) failed, which does not count" in str(outcome)
    assert [case.outcome for case in outcome.final(U).cases] == [
        "passed",
        "xfailed" if runner == "pytest" else "skipped",
    ]


def test_other_failures_beside_a_quarantined_test_count(shop: Project) -> None:
    outcome = shop.run(A, "--quarantine", f"{A}::TestDiscount")
    assert outcome.code == 1
    assert "test_total[2]" in str(outcome)


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_quarantined_tests_that_do_not_exist_are_named(shop: Project, runner: str) -> None:
    words = ("--quarantine", f"{U}::TestUnits::test_gone", "--quarantine", "tests/test_gone.py::test_x")
    outcome = shop.run(U, "-k", "test_one", "--runner", runner, *words)

    assert outcome.code == 0, str(outcome)
    assert f"  - {U}::TestUnits::test_gone" in outcome.lines
    assert "tests/test_gone.py::test_x: the file does not exist any more" in str(outcome)
