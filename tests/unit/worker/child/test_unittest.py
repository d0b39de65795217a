"""Every unittest case is reported once, as it ended, on each Python, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.reporters.failure_text import ANOTHER
from tests.unit.worker.child.child_bench import INTERPRETERS, REPORT_FD, ChildBench, Ran

MAIN = "\nif __name__ == '__main__':\n    unittest.main()\n"


@pytest.fixture(params=INTERPRETERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> ChildBench:
    (tmp_path / "project").mkdir()
    return ChildBench(tmp_path / "project", INTERPRETERS[request.param])


def run(bench: ChildBench, body: str) -> Ran:
    """Run the class `T` with this body, as a script."""
    indented = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    text = f"import os, subprocess, sys, unittest\nclass T(unittest.TestCase):\n{indented}\n{MAIN}"
    bench.write("prog.py", text)
    return bench.run("prog.py")


def test_every_outcome_is_reported_with_its_message(bench: ChildBench) -> None:
    ran = run(
        bench,
        """
def test_1_pass(self): pass
def test_2_fail(self): self.fail("for this reason")
def test_3_error(self): raise OSError("no disk")
def test_4_skip(self): self.skipTest("not today")
@unittest.skip("never")
def test_5_decorated(self): pass
@unittest.expectedFailure
def test_6_xfail(self): self.fail("known")
@unittest.expectedFailure
def test_7_xpass(self): pass
def test_8_subtests(self):
    for number in range(4):
        with self.subTest(number=number):
            self.assertNotIn(number, (1, 2))
def test_9_good_subtests(self):
    with self.subTest(): pass
""",
    )

    assert ran.status == 1
    assert ran.cases == [
        ("test_1_pass", "passed"),
        ("test_2_fail", "failed"),
        ("test_3_error", "error"),
        ("test_4_skip", "skipped"),
        ("test_5_decorated", "skipped"),
        ("test_6_xfail", "xfailed"),
        ("test_7_xpass", "xpassed"),
        ("test_8_subtests", "failed"),
        ("test_9_good_subtests", "passed"),
    ]
    messages = [case.message for case in ran.report.cases]
    assert messages[0] == messages[6] == messages[8] == ""
    assert "AssertionError: for this reason" in messages[1]
    assert "OSError: no disk" in messages[2]
    assert (messages[3], messages[4]) == ("not today", "never")
    first, second = messages[7].split(ANOTHER)
    assert "1 unexpectedly found" in first
    assert "2 unexpectedly found" in second
    assert (ran.report.begun, ran.report.done) == (1, 1)
    assert all(case.seconds >= 0 for case in ran.report.cases)


def test_trouble_in_set_up_and_tear_down_belongs_to_the_case(bench: ChildBench) -> None:
    ran = run(
        bench,
        """
def setUp(self):
    if "set_up" in self.id(): raise OSError("early")
def tearDown(self):
    if "tear_down" in self.id(): self.fail("late")
def test_set_up(self): pass
def test_tear_down(self): pass
def test_unharmed(self): pass
""",
    )

    assert ran.cases == [("test_set_up", "error"), ("test_tear_down", "failed"), ("test_unharmed", "passed")]


@pytest.mark.parametrize(
    ("error", "outcome", "statuses"),
    [("OSError", "error", (1, 5)), ("unittest.SkipTest", "skipped", (0,))],
)
def test_trouble_of_a_class_is_a_case_of_its_own(
    bench: ChildBench, error: str, outcome: str, statuses: tuple[int, ...]
) -> None:
    ran = run(bench, f"@classmethod\ndef setUpClass(cls): raise {error}('no base')\ndef test_a(self): pass")

    # Since Python 3.12 unittest says by status 5 that no test ran, even where that was an error.
    assert ran.status in statuses
    [case] = ran.report.cases
    assert case.case_id == "setUpClass (__main__.T)"
    assert case.outcome == outcome
    assert "no base" in case.message


def test_trouble_after_a_class_is_reported_beside_its_cases(bench: ChildBench) -> None:
    ran = run(bench, "@classmethod\ndef tearDownClass(cls): 1 / 0\ndef test_a(self): pass")

    assert [case.case_id for case in ran.report.cases] == ["__main__.T.test_a", "tearDownClass (__main__.T)"]
    assert [case.outcome for case in ran.report.cases] == ["passed", "error"]


def test_trouble_of_a_module_is_reported(bench: ChildBench) -> None:
    body = "class T(unittest.TestCase):\n    def test_a(self): pass\n"
    bench.write("prog.py", f"import unittest\ndef setUpModule(): 1 / 0\n{body}{MAIN}")

    assert [case.case_id for case in bench.run("prog.py").report.cases] == ["setUpModule (__main__)"]


def test_coroutines_are_cases_like_any_other(bench: ChildBench) -> None:
    bench.write(
        "prog.py",
        """
        import asyncio, unittest
        class T(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                await asyncio.sleep(0)
            async def test_a(self):
                await asyncio.sleep(0)
            async def test_b(self):
                await asyncio.sleep(0)
                self.fail("later")
        if __name__ == "__main__":
            unittest.main()
        """,
    )

    assert bench.run("prog.py").cases == [("test_a", "passed"), ("test_b", "failed")]


def test_tests_that_a_test_runs_are_its_own_business(bench: ChildBench) -> None:
    ran = run(
        bench,
        """
def test_runs_others(self):
    class Inner(unittest.TestCase):
        def test_bad(self): self.fail()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Inner)
    result = unittest.TestResult()
    suite.run(result)
    self.assertEqual(len(result.failures), 1)
    Inner("test_bad").run(unittest.TestResult())
    Inner("test_bad")(None)
""",
    )

    assert (ran.status, ran.cases) == (0, [("test_runs_others", "passed")]), ran.output
    assert (ran.report.begun, ran.report.done) == (1, 1)


def test_what_a_forked_child_does_is_not_reported(bench: ChildBench) -> None:
    ran = run(
        bench,
        """
def test_forks(self):
    class Inner(unittest.TestCase):
        def test_bad(self): self.fail()
    pid = os.fork()
    if pid == 0:
        try:
            import threading
            thread = threading.Thread(target=Inner("test_bad").run)
            thread.start()
            thread.join()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
""",
    )

    assert (ran.status, ran.cases) == (0, [("test_forks", "passed")]), ran.output


def test_a_fork_that_comes_out_of_its_tests_reports_nothing_twice(bench: ChildBench) -> None:
    ran = run(bench, "def test_a(self):\n    if os.fork():\n        os.wait()\ndef test_b(self): pass")

    assert ran.cases == [("test_a", "passed"), ("test_b", "passed")]
    assert ran.report.done == 1


def test_a_test_that_closes_all_descriptors_loses_its_report_and_nothing_else(bench: ChildBench) -> None:
    ran = run(
        bench, "def test_a(self): pass\ndef test_b(self): os.closerange(3, 4096)\ndef test_c(self): pass"
    )

    assert ran.status == 0
    assert ran.cases == [("test_a", "passed")]
    assert ran.report.is_running


def test_a_file_that_takes_the_descriptors_number_gets_no_records(bench: ChildBench) -> None:
    ran = run(
        bench,
        f"""
def test_a(self):
    own = os.open("own.txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(own, {REPORT_FD})
    os.close(own)
def test_b(self): pass
""",
    )

    assert ran.status == 0
    assert ran.cases == []
    assert (bench.root / "own.txt").read_bytes() == b""


def test_who_leaves_half_way_has_begun_and_not_ended(bench: ChildBench) -> None:
    ran = run(bench, "def test_a(self): pass\ndef test_b(self): os._exit(0)")

    assert (ran.status, ran.cases) == (0, [("test_a", "passed")])
    assert ran.report.is_running


def test_a_huge_message_is_cut_in_its_middle(bench: ChildBench) -> None:
    ran = run(bench, "def test_a(self): self.fail('start' + 'x' * 1_000_000 + 'end')")

    [case] = ran.report.cases
    assert len(case.message) < 10_000
    assert "start" in case.message
    assert case.message.rstrip().endswith("end")


def test_text_of_every_kind_survives_the_way(bench: ChildBench) -> None:
    ran = run(bench, r"def test_a(self): self.skipTest('tab\t nul\0 quote\" ü 🎉 line\nend \udc80')")

    assert ran.report.cases[0].message == 'tab\t nul\0 quote" ü 🎉 line\nend \\udc80'


def test_a_module_that_cannot_be_imported_is_a_collect_error(bench: ChildBench) -> None:
    bench.write("test_it.py", "import no_such_module\n")

    ran = bench.run("test_it.py", "unittest")

    assert ran.status == 1
    assert "No module named 'no_such_module'" in ran.report.collect_error
