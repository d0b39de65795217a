"""Parts of a file: each process runs its stretch of what the whole file would run, and says which it is."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.child.child_bench import ChildBench, Ran

CONFTEST = """
def pytest_collection_modifyitems(config, items):
    items[:] = [item for item in reversed(items) if "left_out" not in item.name]
"""
PYTEST = """
import time
import pytest

@pytest.fixture(scope="session")
def base():
    time.sleep(0.05)

@pytest.fixture(scope="module", params=["x", "y"])
def each(request, base):
    time.sleep(0.05)

def test_left_out(): pass
def test_a(): pass
def test_b(each): pass
def test_c(each): pass
class TestD:
    def test_e(self): pass
    @pytest.mark.parametrize("value", ["::", "["])
    def test_f(self, value): pass
"""
UNITTEST = """
import unittest

class A(unittest.TestCase):
    def test_1(self): pass
    def test_2(self): pass

class B(unittest.TestCase):
    def test_1(self): pass
    def test_2(self): pass
    def test_3(self): pass
"""


@pytest.fixture
def bench(tmp_path: Path) -> ChildBench:
    (tmp_path / "project").mkdir()
    bench = ChildBench(tmp_path / "project", str(PYTEST_PYTHON))
    bench.write("pytest.ini", "[pytest]\n")
    bench.write("conftest.py", CONFTEST)
    bench.write("test_it.py", PYTEST)
    bench.write("test_units.py", UNITTEST)
    return bench


def ids(ran: Ran) -> list[str]:
    return [case.case_id for case in ran.report.cases]


def assert_parts_are_the_file(bench: ChildBench, tmp_path: Path, name: str, kind: str) -> None:
    """Run a file as a whole, and in parts that end after its first, third and fourth test."""
    whole = bench.run(name, kind, TMPDIR=str(tmp_path))
    names = [case_id.partition("::")[2] or "::".join(case_id.split(".")[-2:]) for case_id in ids(whole)]
    cuts = ["", names[1], names[3], names[4], ""]
    parts = [
        bench.run(name, kind, selection=[f"first={first}", f"until={until}"], TMPDIR=str(tmp_path))
        for first, until in pairwise(cuts)
    ]

    assert (whole.status, whole.report.part_digest) == (0, "")
    assert [part.status for part in parts] == [0] * len(parts), parts[0].output
    assert [case_id for part in parts for case_id in ids(part)] == ids(whole)
    reports = [part.report for part in parts]
    assert len({report.part_digest for report in reports}) == 1
    assert {report.part_of for report in reports} == {len(ids(whole))}
    ends = [0, *(report.part_stop for report in reports)]
    assert [report.part_start for report in reports] == ends[:-1]
    assert ends[-1] == len(ids(whole))


def test_parts_of_a_pytest_file_are_stretches_of_what_its_plugins_select_and_order(
    bench: ChildBench, tmp_path: Path
) -> None:
    assert_parts_are_the_file(bench, tmp_path, "test_it.py", "pytest")


def test_parts_of_a_unittest_file_are_stretches_of_its_tests(bench: ChildBench, tmp_path: Path) -> None:
    assert_parts_are_the_file(bench, tmp_path, "test_units.py", "unittest")


def test_the_set_up_of_shared_fixtures_is_timed_apart(bench: ChildBench, tmp_path: Path) -> None:
    ran = bench.run("test_it.py", "pytest", TMPDIR=str(tmp_path))

    shared = {case.case_id.partition("::")[2]: case.shared_s for case in ran.report.cases}
    assert {name for name, seconds in shared.items() if seconds} == {"test_c[x]", "test_c[y]"}
    assert shared["test_c[x]"] >= 0.05
    assert shared["test_c[y]"] >= 0.05


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["first=", "until=test_gone"], "it was to be cut at test_gone, which it does not have any more"),
        (["first=test_a", "until=TestD::test_e"], "its tests run in another order than before"),
        (["first=", "until=TestD::test_f[[]"], "its tests run in another order than before"),
    ],
)
def test_a_part_that_cannot_be_found_runs_nothing(
    bench: ChildBench, tmp_path: Path, words: list[str], error: str
) -> None:
    ran = bench.run("test_it.py", "pytest", selection=words, TMPDIR=str(tmp_path))

    assert (ran.report.start_error, ran.report.part_problem, ids(ran)) == ("", error, [])


def test_a_part_that_arguments_of_one_run_leave_out_says_nothing_about_the_file(
    bench: ChildBench, tmp_path: Path
) -> None:
    words = ["argument=-k", "argument=test_a", "first=", "until=TestD::test_e"]

    ran = bench.run("test_it.py", "pytest", selection=words, TMPDIR=str(tmp_path))

    assert ran.report.start_error == "it was to be cut at TestD::test_e, which it does not have any more"
    assert ran.report.part_problem == ""


def test_a_file_with_two_tests_of_one_name_cannot_run_in_parts(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("conftest.py", "def pytest_collection_modifyitems(items): items.extend(items[:1])\n")

    ran = bench.run("test_it.py", "pytest", selection=["first=", "until=test_a"], TMPDIR=str(tmp_path))

    assert (ran.report.part_problem, ids(ran)) == ("several of its tests have the same name", [])


SAME_NAMES = """
import collections, dataclasses, enum, pytest

WORDS = {"one", "two", "three", "four", "five", "six"}
Color = enum.Enum("Color", "RED GREEN")

@dataclasses.dataclass(frozen=True)
class Case:
    word: str
"""


@pytest.mark.parametrize(
    ("tests", "is_fixed"),
    [
        ("@pytest.mark.parametrize('p', [(w, 1) for w in WORDS])\ndef test_a(p): pass\n", False),
        ("@pytest.mark.parametrize('p', [Case(w) for w in WORDS])\ndef test_a(p): pass\n", False),
        (
            "@pytest.mark.parametrize('p', [[WORDS, Color.RED, object(), 9 ** 9999]])\ndef test_a(p): pass\n",
            True,
        ),
        (
            "for i, w in enumerate(WORDS):\n    def it(w=w): assert w\n    globals()[f'test_{i}'] = it\n",
            False,
        ),
    ],
)
def test_tests_of_one_name_that_differ_from_process_to_process_are_other_tests(
    bench: ChildBench, tmp_path: Path, tests: str, is_fixed: bool
) -> None:
    bench.write("test_same.py", SAME_NAMES + tests)

    digests = {
        bench.run(
            "test_same.py",
            "pytest",
            selection=["first=", "until="],
            TMPDIR=str(tmp_path),
            PYTHONHASHSEED=seed,
        ).report.part_digest
        for seed in "123"
    }

    assert "" not in digests
    assert (len(digests) == 1) is is_fixed


def test_unittest_methods_made_from_a_set_are_other_tests_in_each_process(
    bench: ChildBench, tmp_path: Path
) -> None:
    bench.write(
        "test_made.py",
        """
        import unittest

        class A(unittest.TestCase):
            pass

        def make(word):
            return lambda self: self.assertTrue(word)

        for number, word in enumerate({"one", "two", "three", "four", "five", "six"}):
            setattr(A, f"test_{number}", make(word))
        """,
    )

    digests = [
        bench.run(
            "test_made.py",
            "unittest",
            selection=["first=", "until="],
            TMPDIR=str(tmp_path),
            PYTHONHASHSEED=seed,
        ).report.part_digest
        for seed in "112"
    ]

    assert digests[0] == digests[1] != digests[2]


def test_a_script_cannot_run_in_parts(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("test_script.py", UNITTEST + '\nif __name__ == "__main__":\n    unittest.main()\n')

    ran = bench.run("test_script.py", selection=["first=", "until=A::test_2"], TMPDIR=str(tmp_path))

    assert ran.status == 2
    assert ran.report.start_error == "a file that runs as a script cannot run in parts"
    assert ids(ran) == []
