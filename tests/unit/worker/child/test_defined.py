"""How many tests a script defines, and how many of them ran: each row is a program and both numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.worker.child.child_bench import INTERPRETERS, ChildBench

CASE = """
import unittest
class Stock(unittest.TestCase):
    def test_empty(self): pass
    def test_full(self): pass
    def helper(self): pass
"""
MAIN = "\nif __name__ == '__main__':\n    unittest.main()\n"
FUNCTIONS = """
def test_one(): pass
def test_two(): pass
def helper(): pass
"""

SCRIPTS: dict[str, tuple[str, tuple[int, int]]] = {
    "no tests": ("def helper(): pass\nprint('def test')\n", (0, 0)),
    "all methods ran": (CASE + MAIN, (2, 2)),
    "no method ran": (CASE, (2, 0)),
    "one method was asked for": (
        CASE + "unittest.TextTestRunner().run(unittest.TestSuite([Stock('test_empty')]))",
        (2, 1),
    ),
    "a TestCase by another name": (
        (
            "from unittest import TestCase as Base\nclass Common(Base): pass\n"
            "class Stock(Common):\n    def test_a(self): pass\n"
        ),
        (1, 0),
    ),
    "functions that nobody calls": (FUNCTIONS + "if __name__ == '__main__':\n    helper()\n", (2, 0)),
    "functions without a guard": (FUNCTIONS, (2, 0)),
    "functions beside a TestCase": (CASE + FUNCTIONS + MAIN, (4, 2)),
    "functions called by name": (FUNCTIONS + "test_one()\ntest_two()\n", (0, 0)),
    "one function called by name": (FUNCTIONS + "test_one()\n", (1, 0)),
    "functions in a list": (FUNCTIONS + "for test in [test_one, test_two]: test()\n", (0, 0)),
    "a loop over globals": (
        FUNCTIONS + "for name, test in list(globals().items()):\n    if name[:5] == 'test_': test()\n",
        (0, 0),
    ),
    "called by another function": (FUNCTIONS + "def main():\n    test_one(); test_two()\nmain()\n", (0, 0)),
    "collected by a decorator": (
        (
            "tests = []\ndef case(test):\n    tests.append(test)\n    return test\n"
            "@case\ndef test_one(): pass\nfor test in tests: test()\n"
        ),
        (0, 0),
    ),
    "pytest called as a program": (
        FUNCTIONS + "if not 1:\n    import os; os.system('pytest ' + __file__)\n",
        (0, 0),
    ),
    "a test that only another test calls": ("def test_a(): pass\ndef test_b(): test_a()\n", (2, 0)),
    "functions whose examples doctest runs": (
        "import doctest\ndef test_a():\n    '>>> 1 + 1\\n    2'\ndef test_b(): pass\ndoctest.testmod()\n",
        (1, 0),
    ),
    "examples that nothing runs": ("def test_a():\n    '>>> 1 + 1\\n    2'\n", (1, 0)),
    "a plain test class": ("class TestA:\n    def test_a(self): pass\n    test_b = 1\n", (1, 0)),
    "a plain test class used by hand": (
        "class TestA:\n    def test_a(self): pass\nTestA().test_a()\n",
        (0, 0),
    ),
    "a plain class that pytest would not take": (
        "class TestA:\n    def __init__(self): pass\n    def test_a(self): pass\n",
        (0, 0),
    ),
    "a class of another kind": ("class Server:\n    def test_a(self): pass\n", (0, 0)),
    "marked as no test": ("def test_a(): pass\ntest_a.__test__ = False\n", (0, 0)),
    "a mixin": (
        "import unittest\nclass TestMixin:\n    def test_a(self): pass\n"
        "class One(TestMixin, unittest.TestCase): pass\nclass Two(TestMixin, unittest.TestCase): pass\n"
        + MAIN,
        (0, 0),
    ),
    "a base whose tests only run in subclasses": (
        CASE.replace("Stock", "Base")
        + "class One(Base):\n    def test_full(self): pass\n"
        + "def load(kind): return unittest.defaultTestLoader.loadTestsFromTestCase(kind)\n"
        + "unittest.TextTestRunner().run(load(One))\n",
        (3, 3),
    ),
    "an abstract base": (
        (
            "import abc, unittest\nclass Base(unittest.TestCase, metaclass=abc.ABCMeta):\n"
            "    @abc.abstractmethod\n    def make(self): pass\n    def test_a(self): pass\n"
        ),
        (0, 0),
    ),
    "load_tests decides": (
        CASE
        + "def load_tests(loader, tests, pattern):\n    return unittest.TestSuite([Stock('test_empty')])"
        + MAIN,
        (0, 0),
    ),
    "a skipped class": (CASE.replace("class Stock", "@unittest.skip('not now')\nclass Stock") + MAIN, (2, 2)),
    "a class whose set-up skips": (
        CASE + "    @classmethod\n    def setUpClass(cls): raise unittest.SkipTest('not here')\n" + MAIN,
        (0, 0),
    ),
    "a module whose set-up skips": (
        CASE + "def setUpModule(): raise unittest.SkipTest('not here')\n" + MAIN,
        (0, 0),
    ),
    "tests made by a loop": (
        CASE + "for n in range(3): setattr(Stock, f'test_{n}', lambda self: None)\n" + MAIN,
        (5, 5),
    ),
    "a case of another module": ("from unittest import TestCase, main\ndef testing(): pass\n", (0, 0)),
    "left before anything was defined": ("import sys\nsys.exit(0)\n" + CASE + FUNCTIONS, (4, 0)),
    "a name that is not ASCII": ("# coding: latin-1\ndef test_\xe4(): pass\n", (1, 0)),
}


@pytest.fixture
def bench(tmp_path: Path) -> ChildBench:
    root = tmp_path / "project"
    root.mkdir()
    return ChildBench(root, sys.executable)


@pytest.mark.parametrize(("source", "numbers"), SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_says_how_many_of_its_tests_ran(
    bench: ChildBench, source: str, numbers: tuple[int, int]
) -> None:
    bench.write("prog.py", source.encode("latin-1"))

    ran = bench.run("prog.py", "script")

    assert ran.status == 0, ran.output
    assert (ran.report.defines, ran.report.defined_ran) == numbers


@pytest.mark.parametrize("python", INTERPRETERS.values(), ids=INTERPRETERS)
def test_every_interpreter_counts_alike(bench: ChildBench, python: str) -> None:
    bench.python = python
    bench.write("prog.py", CASE + FUNCTIONS + MAIN)

    ran = bench.run("prog.py", "script")

    assert (ran.report.defines, ran.report.defined_ran) == (4, 2)


def test_a_script_that_runs_pytest_on_itself_leaves_the_choice_to_pytest(bench: ChildBench) -> None:
    bench.write(
        "prog.py",
        FUNCTIONS
        + "if __name__ == '__main__':\n    import sys, pytest\n"
        + "    sys.exit(pytest.main([__file__, '-q', '-k', 'one', '-p', 'no:cacheprovider']))\n",
    )

    ran = bench.run("prog.py", "script")

    assert (ran.status, ran.cases) == (0, [("test_one", "passed")]), ran.output
    assert (ran.report.defines, ran.report.defined_ran) == (0, 0)


def test_a_class_set_up_that_exits_with_success_is_not_the_end_of_the_run(bench: ChildBench) -> None:
    bench.write("prog.py", CASE + "    @classmethod\n    def setUpClass(cls): raise SystemExit(0)\n" + MAIN)

    ran = bench.run("prog.py", "script")

    assert (ran.status, ran.cases, ran.report.is_running) == (0, [], True)
