"""Every pytest node is reported once, as it ended, whether we call pytest or a script does."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.reporters.failure_text import ANOTHER
from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.child.child_bench import ChildBench

OUTCOMES = """
import pytest
def test_pass(): pass
def test_fail(): assert 1 == 2, "for this reason"
def test_skip(): pytest.skip("not today")
@pytest.mark.xfail(reason="known")
def test_xfail(): assert False
@pytest.mark.xfail(reason="known")
def test_xpass(): pass
@pytest.mark.xfail(strict=True)
def test_strict(): pass
@pytest.fixture
def broken(): raise OSError("no base")
def test_set_up(broken): pass
@pytest.fixture
def late():
    yield
    raise OSError("late")
def test_tear_down(late): pass
@pytest.mark.parametrize("value", ["a b", "é", "x/y::z"])
def test_each(value): pass
"""


@pytest.fixture
def bench(tmp_path: Path) -> ChildBench:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return ChildBench(tmp_path / "project", str(PYTEST_PYTHON))


TWO_FAILURES = """
import unittest
class Case(unittest.TestCase):
    def tearDown(self): raise OSError("late")
    def test_twice(self):
        self.assertEqual(1, 2)  # here
"""


def test_each_failure_of_a_test_is_reported_with_its_line_in_the_file(bench: ChildBench) -> None:
    bench.write("test_it.py", TWO_FAILURES)

    [case] = bench.run("test_it.py").report.cases

    first, second = case.message.split(ANOTHER)
    assert "E   AssertionError: 1 != 2" in first.replace("E       ", "E   ")
    assert "\ntest_it.py:6: AssertionError" in first
    assert "OSError: late" in second
    assert "\ntest_it.py:4: OSError" in second


STAND_IN = """
class Plugin:
    def pytest_terminal_summary(self): print("summary of hypothesis")
def pytest_configure(config):
    config.option.hypothesis_show_statistics = {shows}
    config.pluginmanager.register(Plugin(), "hypothesispytest")
"""


@pytest.mark.parametrize(
    ("text", "shows", "has_summary"),
    [
        ("def test_it(): pass", False, False),
        ("def test_it(): pass", True, True),
        ("def test_it(): import hypothesis", False, True),
    ],
)
def test_hypothesis_reports_only_if_it_was_used_or_asked(
    bench: ChildBench, text: str, *, shows: bool, has_summary: bool
) -> None:
    bench.write("conftest.py", STAND_IN.format(shows=shows))
    bench.write("hypothesis.py", "")
    bench.write("test_it.py", text)

    ran = bench.run("test_it.py")

    assert ran.status == 0
    assert ("summary of hypothesis" in ran.output) is has_summary


COUNTS_COLLECTIONS = """
import atexit, gc
from _pytest.unraisableexception import gc_collect_iterations_key
counted = []
def count(phase, info):
    if phase == "stop" and info["generation"] == 2:
        counted.append(info["collected"])
        if len(counted) < {leaves}:
            garbage = []
            garbage.append(garbage)
def pytest_sessionfinish(session):
    session.config.stash[gc_collect_iterations_key] = 5
    gc.disable()
    gc.collect()
    gc.callbacks.append(count)
atexit.register(lambda: print("collections:", len(counted)))
"""


@pytest.mark.parametrize(("leaves", "collections"), [(0, [2, 2]), (4, [5, 2]), (99, [5, 5])])
def test_pytest_collects_garbage_until_two_collections_found_none(
    bench: ChildBench, leaves: int, collections: list[int]
) -> None:
    bench.write("conftest.py", COUNTS_COLLECTIONS.format(leaves=leaves))
    bench.write("test_it.py", "def test_it(): pass")

    ran = bench.run("test_it.py")
    _, plain = bench.run_plainly("-m", "pytest", "test_it.py")

    # Before version 9.2, pytest collects garbage at one time, since then at two.
    times = 2 if "collections: 10" in plain else 1
    assert f"collections: {5 * times}" in plain
    assert f"collections: {sum(collections[:times])}" in ran.output


def test_every_outcome_is_reported_with_its_message(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("test_it.py", OUTCOMES)

    ran = bench.run("test_it.py", TMPDIR=str(tmp_path))

    assert ran.status == 1
    assert [(case.case_id.partition("::")[2], case.outcome.value) for case in ran.report.cases] == [
        ("test_pass", "passed"),
        ("test_fail", "failed"),
        ("test_skip", "skipped"),
        ("test_xfail", "xfailed"),
        ("test_xpass", "xpassed"),
        ("test_strict", "failed"),
        ("test_set_up", "error"),
        ("test_tear_down", "error"),
        ("test_each[a b]", "passed"),
        ("test_each[\\xe9]", "passed"),
        ("test_each[x/y::z]", "passed"),
    ]
    messages = {case.case_id.partition("::")[2]: case.message for case in ran.report.cases}
    assert messages["test_pass"] == ""
    assert "for this reason" in messages["test_fail"]
    assert messages["test_skip"] == "Skipped: not today"
    assert messages["test_xfail"] == "known"
    assert "OSError: no base" in messages["test_set_up"]
    assert "OSError: late" in messages["test_tear_down"]
    assert (ran.report.begun, ran.report.done) == (1, 1)


def test_the_file_sees_what_it_sees_under_python_m_pytest(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("test_it.py", "import sys\ndef test_a():\n    print(sys.argv, sys.path[:2], __name__)\n")

    ran = bench.run("test_it.py", "pytest", PYTEST_ADDOPTS="-s -p no:cacheprovider", TMPDIR=str(tmp_path))
    options = "-s -p no:cacheprovider"
    status, output = bench.run_plainly("-m", "pytest", "test_it.py", PYTEST_ADDOPTS=options)

    def said(text: str) -> list[str]:
        return [line for line in text.splitlines() if "__main__.py" in line]

    assert (ran.status, status) == (0, 0)
    assert said(ran.output) == said(output) != []


def test_what_cannot_be_collected_is_told_and_an_error(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("test_it.py", "import no_such_module\n")

    ran = bench.run("test_it.py", "pytest", TMPDIR=str(tmp_path))

    assert ran.status == 2
    assert "No module named 'no_such_module'" in ran.report.collect_error
    assert [case.outcome for case in ran.report.cases] == ["error"]


def test_a_module_that_skips_itself_is_skipped(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("test_it.py", "import pytest\npytest.skip('not here', allow_module_level=True)\n")

    ran = bench.run("test_it.py", "pytest", TMPDIR=str(tmp_path))

    assert (ran.status, [case.outcome for case in ran.report.cases]) == (5, ["skipped"])


def test_a_script_that_calls_pytest_is_reported_and_pytest_inside_a_test_is_not(
    bench: ChildBench, tmp_path: Path
) -> None:
    bench.write("inner.py", "def test_inner(): assert False\n")
    bench.write(
        "test_it.py",
        """
        import sys
        import pytest
        def test_outer():
            assert pytest.main(["-q", "-p", "no:cacheprovider", "inner.py"]) == 1
        if __name__ == "__main__":
            sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__]))
        """,
    )

    ran = bench.run("test_it.py", TMPDIR=str(tmp_path))

    assert ran.status == 0, ran.output
    assert ran.report.runner == "script"
    assert ran.cases == [("test_outer", "passed")]


def test_a_unittest_class_under_pytest_is_reported_once(bench: ChildBench, tmp_path: Path) -> None:
    bench.write(
        "test_it.py",
        """
        import unittest
        class TestIt(unittest.TestCase):
            def test_a(self): pass
            def test_b(self): self.fail("b")
        """,
    )

    ran = bench.run("test_it.py", "pytest", TMPDIR=str(tmp_path))

    assert ran.cases == [("test_a", "passed"), ("test_b", "failed")]


def test_nothing_is_left_in_the_project(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("test_it.py", "def test_a(): pass\n")

    bench.run("test_it.py", "pytest", TMPDIR=str(tmp_path))

    assert sorted(path.name for path in bench.root.iterdir()) == ["pytest.ini", "test_it.py"]


TELLS_WHERE_IT_IS_A_WORKER = """
import pytest
def say(where, config):
    with open("seen", "a") as file:
        print(where, getattr(config, "workerinput", {}).get("workerid"), file=file)
def pytest_configure(config): say("configure", config)
def pytest_sessionstart(session): say("sessionstart", session.config)
def pytest_collection_finish(session): say("collection", session.config)
def pytest_sessionfinish(session): say("sessionfinish", session.config)
def pytest_unconfigure(config): say("unconfigure", config)
@pytest.fixture(scope="session")
def base(request):
    say("fixture", request.config)
    yield request.config.workerinput
"""


def test_a_session_is_a_worker_of_pytest_xdist_only_while_tests_run(
    bench: ChildBench, tmp_path: Path
) -> None:
    bench.write("conftest.py", TELLS_WHERE_IT_IS_A_WORKER)
    bench.write(
        "test_it.py",
        "def test_a(base):\n    assert (base['workercount'], base['testrunuid']) == (8, 'abc'), base\n",
    )

    variables = {"PYTEST_XDIST_WORKER": "gw5", "PYTEST_XDIST_WORKER_COUNT": "8"}
    ran = bench.run("test_it.py", TMPDIR=str(tmp_path), PYTEST_XDIST_TESTRUNUID="abc", **variables)

    assert ran.status == 0, ran.output
    assert (bench.root / "seen").read_text(encoding="utf-8").split("\n")[:-1] == [
        "configure None",
        "sessionstart None",
        "collection None",
        "fixture gw5",
        "sessionfinish None",
        "unconfigure None",
    ]


def test_what_a_controller_would_tell_its_workers_is_told(bench: ChildBench, tmp_path: Path) -> None:
    bench.write("hooks.py", "def pytest_configure_node(node): pass\n")
    bench.write(
        "conftest.py",
        "def pytest_addhooks(pluginmanager):\n"
        "    import hooks\n"
        "    pluginmanager.add_hookspecs(hooks)\n"
        "def pytest_configure(config): config.place = 'here'\n"
        "def pytest_configure_node(node): node.workerinput['place'] = node.config.place, node.gateway.id\n",
    )
    bench.write(
        "test_it.py", "def test_a(request): assert request.config.workerinput['place'] == ('here', 'gw1')\n"
    )

    ran = bench.run("test_it.py", TMPDIR=str(tmp_path), PYTEST_XDIST_WORKER="gw1")

    assert ran.status == 0, ran.output


def test_what_a_whole_run_is_asked_for_is_not_done_for_each_file(bench: ChildBench, tmp_path: Path) -> None:
    options = "--junitxml=report.xml --lf --lfnf=none --sw --nf --durations=3 --basetemp=base -rA"
    bench.write("pytest.ini", f"[pytest]\naddopts = {options}\n")
    bench.write("base/mine", "")
    bench.write("test_it.py", "def test_a(tmp_path): assert 0\ndef test_b(): pass\n")

    ran = bench.run("test_it.py", TMPDIR=str(tmp_path))

    assert ran.cases == [("test_a", "failed"), ("test_b", "passed")]
    assert "slowest" not in ran.output
    assert not (bench.root / "report.xml").exists()
    assert (bench.root / "base/mine").exists()


def test_a_script_that_calls_pytest_gets_the_report_it_asks_for(bench: ChildBench, tmp_path: Path) -> None:
    bench.write(
        "test_it.py",
        "import sys, pytest\ndef test_a(): pass\n"
        "if __name__ == '__main__': sys.exit(pytest.main([__file__, '--junitxml=report.xml']))\n",
    )

    ran = bench.run("test_it.py", TMPDIR=str(tmp_path))

    assert ran.cases == [("test_a", "passed")]
    assert (bench.root / "report.xml").exists()
