"""The options: what runs, how, how often, and what is written about it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

ONCE = script(
    """
    import pathlib
    mark = pathlib.Path('been_here')
    seen = mark.exists()
    mark.write_text('x')
    print('attempt', 2 if seen else 1)
    sys.exit(0 if seen else 1)
    """
)


@pytest.fixture
def three(project: Project) -> Project:
    """A project of which one file fails."""
    project.write(
        {
            "tests/test_a.py": PASSING,
            "tests/sub/test_b.py": FAILING,
            "tests/test_integration/test_c.py": PASSING,
        }
    )
    return project


A, B, C = "tests/test_a.py", "tests/sub/test_b.py", "tests/test_integration/test_c.py"


@pytest.mark.parametrize(
    ("paths", "cwd", "expected"),
    [
        ((A,), "", {A}),
        (("tests/sub",), "", {B}),
        (("tests/sub/", f"./{A}"), "", {A, B}),
        (("tests/sub", B, "tests"), "", {A, B, C}),
        (("test_a.py", "../tests/sub"), "tests", {A, B}),
    ],
    ids=str,
)
def test_paths_narrow_the_run(three: Project, paths: tuple[str, ...], cwd: str, expected: set[str]) -> None:
    words = ("--list", "--root", str(three.root), *paths)
    assert set(three.run(*words, cwd=cwd, events=False).lines) == expected


def test_a_named_file_may_have_any_name_and_an_absolute_path(project: Project) -> None:
    project.write({"checks/anything.py": PASSING, "tests/test_a.py": FAILING})
    outcome = project.run(str(project.root / "checks/anything.py"))
    assert outcome.statuses() == {"checks/anything.py": "PASS"}


def test_list_runs_nothing_and_prints_nothing_else(three: Project) -> None:
    outcome = three.run("--list", "--integration")
    layout = "[INFO] Layout: scripts (nothing in the project asks for pytest)\n"
    assert (outcome.code, outcome.stderr) == (0, layout)
    assert outcome.lines == ["tests/sub/test_b.py", "tests/test_a.py", "tests/test_integration/test_c.py"]
    assert not (three.root / ".passmuster").exists()


def test_a_dry_run_shows_the_plan_before_and_after_there_is_a_history(three: Project) -> None:
    before = three.run("--dry-run", "--jobs", "2", "--memory-budget", "1GiB")
    assert (before.code, before.stderr) == (0, "")
    assert before.lines[0] == "[INFO] Layout: scripts (nothing in the project asks for pytest)"
    assert before.lines[2:5] == [
        "[INFO] Slots: 2 (asked for)",
        "[INFO] Memory budget: 1 GiB (asked for as 1 GiB)",
        "[INFO] Would run 2 test file(s), in this order:",
    ]
    assert before.lines[1].startswith(f"[INFO] Interpreter: {three.python_home}/bin/python 3.")
    assert before.lines[1].endswith(" (VIRTUAL_ENV)")
    assert [line.split() for line in before.lines[5:7]] == [
        ["1", "?", "?", "tests/test_a.py", "(never", "ran)"],
        ["2", "?", "?", "tests/sub/test_b.py", "(never", "ran)"],
    ]
    assert before.lines[7] == "[INFO] Predicted time: unknown, no file has run yet"
    three.run()
    (three.root / "tests/test_new.py").write_text(PASSING)
    after = three.run("--dry-run")
    plan = {
        line.split("  ")[-2].strip(): line.split("  ")[-1] for line in after.lines if line.startswith("     ")
    }
    assert plan == {
        "tests/sub/test_b.py": "(failed last time)",
        "tests/test_a.py": "(longest first)",
        "tests/test_new.py": "(never ran)",
    }
    assert after.lines[-1] == "[INFO] 1 file(s) never ran and are assumed to take the median time"


def test_every_setting_is_shown_with_its_origin(project: Project) -> None:
    project.write({"pyproject.toml": "[tool.passmuster]\ntimeout = '90s'\njobs = 7\nretries = 1\n"})
    outcome = project.run(
        "--show-config",
        "--jobs",
        "3",
        env={"PASSMUSTER_JOBS": "5", "TEST_TIMEOUT": "80", "CI_TEST_LIMIT": "9"},
    )
    assert (outcome.code, outcome.stderr) == (0, "")
    shown = {
        line.split(" = ")[0].strip(): " ".join(line.split(" = ", 1)[1].split()) for line in outcome.lines
    }
    assert shown["jobs"] == "3 (--jobs)"
    assert shown["timeout"] == "80 (TEST_TIMEOUT)"
    assert shown["limit"] == "9 (CI_TEST_LIMIT)"
    assert shown["retries"] == f"1 ([tool.passmuster] retries in {project.root / 'pyproject.toml'})"
    assert shown["grace-period"] == "5s (default)"
    assert shown["root"] == f"{project.root} (the current directory)"


def test_only_what_failed_runs_again(three: Project) -> None:
    assert three.run("--failed").lines == ["[INFO] No file failed when it last ran"]
    three.run()
    again = three.run("--failed")
    assert (again.code, again.statuses()) == (1, {"tests/sub/test_b.py": "FAIL"})
    three.write({"tests/sub/test_b.py": PASSING})
    assert three.run("--failed").statuses() == {"tests/sub/test_b.py": "PASS"}
    assert three.run("--failed").statuses() == {}


def test_a_file_that_passes_at_its_second_attempt_is_said_to_be_flaky(project: Project) -> None:
    project.write({"tests/test_flaky.py": ONCE, "tests/test_bad.py": FAILING})
    outcome = project.run("--retries", "2", "--jobs", "1", "--isolation", "spawn")
    assert outcome.code == 1
    assert [ended.status for ended in outcome.attempts("tests/test_flaky.py")] == ["FAIL", "PASS"]
    assert [ended.rerun_reason for ended in outcome.attempts("tests/test_bad.py")] == ["retry", "retry", None]
    assert "  Flaky: 1" in outcome.lines
    assert outcome.lines_after("[WARN] 1 flaky file(s) passed and failed in this run:")[0] == (
        "  - tests/test_flaky.py (PASS; attempts: FAIL, PASS)"
    )
    assert "[INFO] Running again: tests/test_flaky.py (attempt 2)" in outcome.lines
    logs = project.root.glob(".passmuster/runs/*/output/tests/test_flaky.py*")
    assert {path.name: path.read_text() for path in logs} == {
        "test_flaky.py.log": "attempt 1\n",
        "test_flaky.py.2.log": "attempt 2\n",
    }


def test_a_flaky_file_alone_does_not_fail_the_run(project: Project) -> None:
    project.write({"tests/test_flaky.py": ONCE})
    outcome = project.run("--retries", "1")
    assert (outcome.code, outcome.lines[-1]) == (0, "[PASS] All tests passed! 🎉")


@pytest.mark.parametrize("words", [("-x",), ("--fail-fast",), ("--max-fail", "1"), ("-qx",)], ids=str)
def test_after_so_many_failures_nothing_further_starts(project: Project, words: tuple[str, ...]) -> None:
    project.write({"tests/test_1.py": f"{FAILING}# the longest text starts first\n"})
    project.write({f"tests/test_{number}.py": PASSING for number in (2, 3)})
    outcome = project.run("--jobs", "1", *words)
    assert outcome.code == 1
    assert outcome.statuses() == {
        "tests/test_1.py": "FAIL",
        "tests/test_2.py": "NOT_RUN",
        "tests/test_3.py": "NOT_RUN",
    }
    assert "  Not run: 2" in outcome.lines
    assert outcome.lines_after("[WARN] 2 file(s) did not run to their end:")[:2] == [
        "  - tests/test_2.py (never started)",
        "  - tests/test_3.py (never started)",
    ]
    assert "SUMMARY: 0 passed, 1 failed" in outcome.lines


def test_what_runs_when_the_last_failure_comes_may_finish(project: Project) -> None:
    wait = "while not os.path.exists('{}'):\n    time.sleep(0.01)"
    runs, failed = "open('runs', 'w')", "open('failed', 'w')"
    project.write(
        {
            "tests/test_bad.py": script("\n".join((wait.format("runs"), failed, "sys.exit(1)"))),
            "tests/test_slow.py": script("\n".join((runs, wait.format("failed"), "time.sleep(1)"))),
            "tests/test_z.py": "",
        }
    )
    outcome = project.run("--jobs", "2", "--isolation", "spawn", "-x")
    assert outcome.statuses() == {
        "tests/test_bad.py": "FAIL",
        "tests/test_slow.py": "PASS",
        "tests/test_z.py": "NOT_RUN",
    }


@pytest.mark.parametrize(("words", "env"), [(("--limit", "2"), {}), ((), {"CI_TEST_LIMIT": "2"})], ids=str)
def test_the_number_of_files_may_be_limited(
    project: Project, words: tuple[str, ...], env: dict[str, str | None]
) -> None:
    project.write({f"tests/test_{number}.py": PASSING for number in range(4)})
    outcome = project.run(*words, env=env)
    assert outcome.statuses() == {"tests/test_0.py": "PASS", "tests/test_1.py": "PASS"}


BOTH_WAYS = """\
import sys, unittest
class T(unittest.TestCase):
    def test_1(self): pass
def test_function(): pass
print('as', __name__)
if __name__ == '__main__':
    print('as a script')
    unittest.main()
"""


@pytest.mark.parametrize(
    ("kind", "cases"),
    [
        ("auto", ["tests/test_both.py::T::test_1", "tests/test_both.py::test_function"]),
        ("script", ["__main__.T.test_1"]),
        ("unittest", ["tests.test_both.T.test_1", "test_both.T.test_1"]),
        ("pytest", ["tests/test_both.py::T::test_1", "tests/test_both.py::test_function"]),
    ],
)
def test_each_runner_kind(project: Project, kind: str, cases: list[str]) -> None:
    project.write({"tests/test_both.py": BOTH_WAYS})
    outcome = project.run("--runner", kind, env={"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)})
    ended = outcome.final("tests/test_both.py")
    # A script runs only the test that its guard starts.
    assert ended.status == ("FAIL" if kind == "script" else "PASS"), str(outcome)
    assert ended.runner == ("pytest" if kind == "auto" else kind)
    assert {case.case_id for case in ended.cases} <= set(cases)
    assert ended.cases


def test_a_runner_that_the_interpreter_lacks_is_named(project: Project) -> None:
    project.write({"tests/test_a.py": "def test_1(): pass\n"})
    outcome = project.run("--runner", "pytest")
    assert outcome.code == 2
    [line] = outcome.stderr.splitlines()
    python = project.python_home / "bin" / "python"
    assert line.startswith(f"[FAIL] pytest is not installed for {python}")
    assert f"`{python} -m pip install pytest`" in line


def test_a_file_without_tests_passes_only_when_that_is_allowed(project: Project) -> None:
    project.write({"tests/test_none.py": "import unittest\nclass T(unittest.TestCase): pass\n"})
    strict = project.run("tests/test_none.py")
    assert (strict.code, strict.statuses()) == (1, {"tests/test_none.py": "NO_TESTS"})
    assert project.run().code == 5
    lenient = project.run("--allow-no-tests")
    assert (lenient.code, lenient.statuses()) == (0, {"tests/test_none.py": "PASS"})


def test_at_most_so_many_files_run_at_once(project: Project) -> None:
    count = script(
        """
        import pathlib
        here = pathlib.Path('running', os.path.basename(sys.argv[0]))
        here.touch()
        time.sleep(0.15)
        print(len(list(here.parent.iterdir())))
        here.unlink()
        """
    )
    project.write({f"tests/test_{number}.py": count for number in range(6)})
    (project.root / "running").mkdir()
    outcome = project.run("-j2")
    assert {int(ended.output) for ended in outcome.finished()} <= {1, 2}, str(outcome)
    assert len(outcome.finished()) == 6


def test_the_junit_report_holds_every_file_and_case(project: Project) -> None:
    project.write(
        {
            "tests/test_good.py": PASSING,
            "tests/test_bad.py": FAILING,
            "tests/test_noise.py": script("os.write(1, b'\\x1b[1m\\0 \\xff ]]>')\nsys.exit(1)"),
            "tests/test_later.py": "import unittest\nclass T(unittest.TestCase): pass\n",
        }
    )
    report = project.base / "deep" / "junit.xml"
    outcome = project.run("--junit-xml", str(report))
    assert outcome.code == 1
    root = ElementTree.parse(report).getroot()
    cases = root.findall(".//testcase")
    names = {f"{case.get('classname')} {case.get('name')}" for case in cases}
    text = report.read_text()
    for word in ("test_good", "test_bad", "test_noise", "test_later"):
        assert word in text
    assert len(names) == 4, names
    assert (
        len([case for case in cases if case.find("failure") is not None or case.find("error") is not None])
        == 2
    )
    assert [case.get("name") for case in cases if case.find("skipped") is not None] == ["tests/test_later.py"]
    assert not any(character in text for character in "\x00\x1b")


def test_the_events_tell_the_whole_run(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING, "tests/test_bad.py": FAILING})
    outcome = project.run("--retries", "1", "--jobs", "1", "--isolation", "spawn")
    names = [event["event"] for event in outcome.events if event["event"] not in ("usage", "notice")]
    assert names[0] == "run-started"
    assert names[-1] == "run-finished"
    assert names.count("file-planned") == 2
    assert names.count("file-started") == names.count("file-finished") == 3
    (finished,) = outcome.of_kind("run-finished")
    assert (finished["total"], finished["passed"], finished["failed"]) == (2, 1, 1)
    assert finished["failed_paths"] == ["tests/test_bad.py"]
    moments = [event["at_s"] for event in outcome.events]
    assert moments == sorted(moments, key=lambda moment: float(str(moment)))


def test_pytest_files_are_reported_case_by_case(project: Project) -> None:
    project.write(
        {
            "tests/conftest.py": "import pytest\n@pytest.fixture\ndef five(): return 5\n",
            "tests/test_p.py": """
                import pytest
                def test_good(five): assert five == 5
                def test_bad(): assert 1 == 2
                @pytest.mark.skip(reason='later')
                def test_skipped(): pass
                @pytest.mark.xfail
                def test_expected(): assert False
                @pytest.fixture
                def broken(): raise OSError('no')
                def test_error(broken): pass
                @pytest.mark.parametrize('n', [1, 2])
                def test_many(n): print('printed', n)
                """,
            "tests/test_broken.py": "import not_there\ndef test_1(): pass\n",
            "tests/test_nothing.py": "x = 1\n",
            "tests/test_skips_itself.py": "import pytest\npytest.skip('not here', allow_module_level=True)\n",
        }
    )
    outcome = project.run(env={"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)})
    assert outcome.statuses() == {
        "tests/test_p.py": "FAIL",
        "tests/test_broken.py": "COLLECT_ERROR",
        "tests/test_nothing.py": "PASS",
        "tests/test_skips_itself.py": "PASS",
    }
    cases = {case.case_id.partition("::")[2]: case.outcome for case in outcome.final("tests/test_p.py").cases}
    assert cases == {
        "test_good": "passed",
        "test_bad": "failed",
        "test_skipped": "skipped",
        "test_expected": "xfailed",
        "test_error": "error",
        "test_many[1]": "passed",
        "test_many[2]": "passed",
    }
    assert "No module named 'not_there'" in outcome.final("tests/test_broken.py").error
    assert not Path(project.root, ".pytest_cache").exists()


TWO_FAIL = """
def test_basket():
    for line in range(14):
        print("counting", line)
    problems = ["wanted 8 apples", "got 7 apples"]
    assert not problems, "the basket is wrong:\\n" + "\\n".join(problems)

def test_address():
    for line in range(14):
        print("looking up", line)
    assert {"town": 1} == {"town": 2}, "customer 41:\\nthe street is missing"
"""


@pytest.mark.parametrize("style", ["auto", "short", "native", "line", "no"])
def test_each_failing_test_shows_its_whole_message_and_its_line(project: Project, style: str) -> None:
    project.write({"tests/test_shop.py": TWO_FAIL})
    outcome = project.run(
        env={"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT), "PYTEST_ADDOPTS": f"--tb={style} --no-summary"}
    )
    details = outcome.lines_after("    Failing tests:")
    assert details[0] == (
        "      tests/test_shop.py::test_basket (tests/test_shop.py:6): AssertionError: the basket is wrong:"
    )
    assert [line.strip() for line in details[1:3]] == ["wanted 8 apples", "got 7 apples"]
    second = next(number for number, line in enumerate(details) if "test_address" in line)
    assert details[second] == (
        "      tests/test_shop.py::test_address (tests/test_shop.py:11): AssertionError: customer 41:"
    )
    assert [line.strip() for line in details[second + 1 : second + 3]] == [
        "the street is missing",
        "assert {'town': 1} == {'town': 2}",
    ]
