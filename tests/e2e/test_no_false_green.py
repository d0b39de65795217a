"""A run never passes for tests that did not run, and never fails for what pytest calls fine."""

from __future__ import annotations

import pytest

from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_PYTHON

PYTHON = ("--python", str(PYTEST_PYTHON))
PYTEST = (*PYTHON, "--runner", "pytest")
PYTEST_INI = "[pytest]\naddopts = -m 'not nightly'\nmarkers =\n    nightly: only at night\n"
NIGHT = "import pytest\npytestmark = pytest.mark.nightly\ndef test_moon(): pass\ndef test_stars(): assert 0\n"
DAY = "def test_sun(): pass\n"
HELPERS = "def order(number=1): return {'number': number}\nclass Sample:\n    size = 3\n"
BOTH_WAYS = pytest.mark.parametrize("isolation", ["fork", "spawn"])


@BOTH_WAYS
def test_a_file_whose_tests_are_all_deselected_passes_and_says_so(project: Project, isolation: str) -> None:
    project.write(
        {"pytest.ini": PYTEST_INI, "tests/test_day.py": DAY, "tests/test_night.py": NIGHT},
    )

    ran = project.run(*PYTEST, "--isolation", isolation)

    assert ran.code == 0, str(ran)
    assert "[INFO] tests/test_night.py: all 2 test(s) deselected" in ran.lines
    notes = {event["path"]: event["note"] for event in ran.of_kind("file-finished")}
    assert notes == {"tests/test_day.py": "", "tests/test_night.py": "all 2 test(s) deselected"}


def test_a_run_of_which_every_test_is_deselected_has_pytests_exit_status(project: Project) -> None:
    project.write({"pytest.ini": PYTEST_INI, "tests/test_night.py": NIGHT})

    refused = project.run(*PYTEST)
    allowed = project.run(*PYTEST, "--allow-no-tests")

    assert (refused.code, allowed.code) == (5, 0), str(refused)
    assert refused.lines[-1] == "[WARN] No test ran: the files hold none, or all of them are deselected"


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_a_module_of_helpers_has_no_verdict_unless_it_is_named(project: Project, runner: str) -> None:
    test = "import unittest\nclass TestIt(unittest.TestCase):\n    def test_a(self): pass\n"
    project.write({"tests/test_it.py": test, "tests/test_helpers.py": HELPERS})

    whole = project.run(*PYTHON, "--runner", runner)
    verbose = project.run(*PYTHON, "--runner", runner, "-v")
    named = project.run(*PYTHON, "--runner", runner, "tests/test_helpers.py")

    assert whole.code == 0, str(whole)
    assert {"  Total tests: 1", "  Passed: 1", "  Without tests: 1 file(s)"} <= set(whole.lines)
    assert not any("test_helpers.py completed" in line for line in whole.lines)
    assert "[INFO] tests/test_helpers.py: holds no tests" in verbose.lines
    assert named.code == 1
    assert [ended.status for ended in named.attempts("tests/test_helpers.py")][-1] == "NO_TESTS"


@BOTH_WAYS
@pytest.mark.parametrize(
    ("leaves", "reason"),
    [
        ("pytest.exit('enough', returncode=0)", "exited with status 0, but 2 of 3 tests did not run: "),
        ("os._exit(0)", "exited with status 0 in the middle of its tests"),
    ],
)
def test_a_file_that_leaves_half_way_with_success_has_crashed(
    project: Project, isolation: str, leaves: str, reason: str
) -> None:
    project.write(
        {
            "tests/test_exit.py": "import os, pytest\ndef test_before(): pass\n"
            f"def test_leaves(): {leaves}\ndef test_after(): assert False\n"
        }
    )

    ran = project.run(*PYTEST, "--isolation", isolation)

    assert ran.code == 1, str(ran)
    (ended,) = ran.of_kind("file-finished")
    assert ended["status"] == "CRASH"
    assert str(ended["error"]).startswith(reason)


def test_a_script_is_not_green_for_tests_that_it_defines_and_does_not_run(project: Project) -> None:
    stock = "import unittest\nclass Stock(unittest.TestCase):\n    def test_empty(self): pass\n"
    functions = "def test_full(): pass\ndef test_negative(): assert -1 > 0\n"
    project.write(
        {
            "tests/test_stock.py": stock + functions + "if __name__ == '__main__': unittest.main()\n",
            "tests/test_price.py": functions + "if __name__ == '__main__': print('prices')\n",
            "tests/test_calls.py": "def test_a(): pass\nif __name__ == '__main__': test_a()\n",
            "tests/test_plain.py": "print('nothing to see')\n",
        }
    )

    ran = project.run("--runner", "script")

    ended = {event["path"]: event for event in ran.of_kind("file-finished")}
    assert {path: event["status"] for path, event in ended.items()} == {
        "tests/test_stock.py": "FAIL",
        "tests/test_price.py": "NO_TESTS",
        "tests/test_calls.py": "PASS",
        "tests/test_plain.py": "PASS",
    }
    assert ended["tests/test_stock.py"]["error"] == (
        "ran 1 of the 3 tests that it defines; --runner pytest runs them"
    )
    assert ended["tests/test_price.py"]["error"] == (
        "none of the 2 test(s) that it defines was run; --runner pytest runs them"
    )


def test_a_file_that_fails_without_a_failing_test_shows_what_it_printed_last(project: Project) -> None:
    project.write(
        {
            "tests/test_script.py": "import sys\nprint('disk is full\\n\\n')\nsys.exit(3)\n",
            "tests/test_red.py": "def test_a(): pass\n",
            "tests/conftest.py": "def pytest_sessionfinish(session): session.exitstatus = 1\n",
        }
    )

    script = project.run("--runner", "script", "tests/test_script.py")
    red = project.run(*PYTEST, "tests/test_red.py")

    (failed,) = [event for event in script.of_kind("file-finished") if event["rerun_reason"] is None]
    assert failed["error"] == ("exit status 3; no test reported a failure; last line of output: disk is full")
    assert red.code == 1
    (failed,) = [event for event in red.of_kind("file-finished") if event["rerun_reason"] is None]
    assert "last line of output: " in str(failed["error"])
    assert "1 passed" in str(failed["error"])
