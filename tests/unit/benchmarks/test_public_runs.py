"""What a plain run of a public suite wrote is what its framework said, and names agree with those of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.public.place import PYTEST_RECORDER, RECORDERS, UNITTEST_RECORDER
from benchmarks.public.runs import name_inside
from benchmarks.public.table import chosen_suites, read_table

PYTEST_FILE = """
import pytest

@pytest.fixture
def broken():
    yield
    raise RuntimeError

def test_passes(): pass
def test_fails(): assert False
def test_skips(): pytest.skip()
@pytest.mark.xfail
def test_xfails(): assert False
@pytest.mark.xfail
def test_xpasses(): pass
def test_breaks_afterwards(broken): pass
class TestGroup:
    def test_inside(self): pass
"""

UNITTEST_FILE = """
import doctest, unittest

class Some(unittest.TestCase):
    def test_passes(self): pass
    def test_fails(self): self.fail()
    def test_breaks(self): raise RuntimeError
    @unittest.skip("")
    def test_skips(self): pass
    @unittest.expectedFailure
    def test_xfails(self): self.fail()
    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertEqual(number, 1)

def load_tests(loader, tests, pattern):
    import documented
    tests.addTests(doctest.DocTestSuite(documented))
    return tests
"""


def recorded(tmp_path: Path, command: list[str], **variables: str) -> dict[str, str]:
    """Run a command that records and return the outcomes by name; all must be of `test_it.py`."""
    record = tmp_path / "record.jsonl"
    environment = {"PATH": "/usr/bin:/bin", "BENCHMARK_RECORD": str(record), **variables}
    subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert {file for file, _, _ in lines} == {str(tmp_path / "test_it.py")}
    return {name: outcome for _, name, outcome in lines}


def test_a_pytest_run_writes_every_outcome(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(PYTEST_FILE)

    found = recorded(tmp_path, ["-m", "pytest", "-p", PYTEST_RECORDER], PYTHONPATH=str(RECORDERS))

    assert found == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_skips": "skipped",
        "test_xfails": "xfailed",
        "test_xpasses": "xpassed",
        "test_breaks_afterwards": "error",
        "TestGroup::test_inside": "passed",
    }


def test_a_pytest_run_writes_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import nothing_of_this_name\n")

    found = recorded(tmp_path, ["-m", "pytest", "-p", PYTEST_RECORDER], PYTHONPATH=str(RECORDERS))

    assert found == {"": "error"}


def test_a_unittest_run_writes_every_outcome_under_the_file_it_was_loaded_from(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(UNITTEST_FILE)
    (tmp_path / "documented.py").write_text('"""\n>>> 1 + 1\n2\n"""\n')

    found = recorded(tmp_path, ["-m", "unittest"], PYTHONPATH=str(UNITTEST_RECORDER))

    assert found == {
        "Some::test_passes": "passed",
        "Some::test_fails": "failed",
        "Some::test_breaks": "error",
        "Some::test_skips": "skipped",
        "Some::test_xfails": "xfailed",
        "Some::test_subtests": "failed",
        "documented": "passed",
    }


@pytest.mark.parametrize(
    ("case_id", "name"),
    [
        ("tests/test_it.py::Some::test_passes", "Some::test_passes"),
        ("tests/test_it.py::test_values[a::b]", "test_values[a::b]"),
        ("tests.test_it.Some.test_passes", "Some::test_passes"),
        ("__main__.Some.test_passes", "Some::test_passes"),
        ("tests/test_it.py", ""),
        ("documented.part", "documented.part"),
    ],
)
def test_a_case_has_the_same_name_whichever_framework_ran_it(case_id: str, name: str) -> None:
    assert name_inside("tests/test_it.py", case_id) == name


def test_every_suite_of_the_table_is_pinned_and_has_a_name_of_its_own() -> None:
    suites = read_table()

    assert len({suite.name for suite in suites}) == len(suites) >= 25
    assert all(suite.version and suite.requires for suite in suites)


def test_a_suite_that_the_table_does_not_have_is_named_with_those_it_has() -> None:
    with pytest.raises(ValueError, match=r"no suite is named 'bolton'; known are .*boltons"):
        chosen_suites(read_table(), ["bolton"])
