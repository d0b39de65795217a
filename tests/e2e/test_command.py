"""Files that run by the project's own command, from the configuration to the reports."""

from __future__ import annotations

import html
from xml.etree import ElementTree

from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

PYTEST_PYTHON = str(PYTEST_ENVIRONMENT / "bin" / "python")

UNITTEST = '[tool.passmuster]\ncommand = ["{python}", "-m", "unittest", "{module}"]\n'

RUNNER = """\
import pathlib, sys, unittest
sys.path.insert(0, "")
groups = unittest.defaultTestLoader.loadTestsFromName(sys.argv[1])
tests = [test.id() for group in groups for test in group]
result = unittest.TextTestRunner().run(groups)
bad = {test.id() for test, _ in result.failures + result.errors}
cases = [
    f'<testcase name="{test}">' + '<failure message="it failed"/>' * (test in bad) + "</testcase>"
    for test in tests
]
pathlib.Path(sys.argv[2]).write_text(f"<testsuite>{''.join(cases)}</testsuite>")
"""
"""A project's own runner, which writes a report and exits with 0 whatever its tests did."""

OWN = {
    "pyproject.toml": '[tool.passmuster]\ncommand = ["{python}", "run.py", "{module}", "{junit}"]\n',
    "run.py": RUNNER,
    "tests/test_bad.py": FAILING,
    "tests/test_good.py": PASSING,
}


def test_files_run_by_the_command_and_a_named_file_does_too(project: Project) -> None:
    project.write({"pyproject.toml": UNITTEST, "tests/test_a.py": PASSING, "tests/test_b.py": FAILING})

    everything = project.run()
    one = project.run("tests/test_a.py")

    assert everything.code == 1
    assert "SUMMARY: 1 passed, 1 failed" in everything.stdout
    assert "FAILED (failures=1)" in everything.stdout
    assert [(each.label, each.runner) for each in one.finished()] == [("tests/test_a.py", "command")]
    assert one.code == 0


def test_cases_come_from_the_report_and_a_failure_in_it_is_one_whatever_the_exit_status(
    project: Project,
) -> None:
    project.write(OWN)

    outcome = project.run("--junit-xml", "junit.xml", "--report", "html=page.html", "--isolation", "fork")

    assert outcome.code == 1
    finished = {each.label: each for each in outcome.finished()}
    bad, good = finished["tests/test_bad.py"], finished["tests/test_good.py"]
    assert (bad.status, bad.error) == ("FAIL", "exit status 0, but 1 of 1 tests failed")
    assert [(case.case_id, case.outcome) for case in bad.cases] == [("tests.test_bad.Bad.test_bad", "failed")]
    assert [case.outcome for case in good.cases] == ["passed"]
    assert (good.status, good.isolation) == ("PASS", "spawn")
    assert "by a command" in good.isolation_note
    report = ElementTree.parse(project.root / "junit.xml")
    assert {one.get("value") for one in report.iterfind(".//property[@name='runner']")} == {"command"}
    names = [case.get("name") for case in report.iter("testcase")]
    assert "test_good" in str(names)
    page = html.unescape((project.root / "page.html").read_text(encoding="utf-8"))
    assert "run by the project's command" in page


def test_over_a_queue_the_worker_runs_the_command_of_its_own_project(project: Project) -> None:
    project.write(OWN)

    outcome = project.run("--cluster", "1")

    assert outcome.code == 1, str(outcome)
    finished = {each.label: each for each in outcome.finished()}
    assert [finished[f"tests/test_{name}.py"].status for name in ("bad", "good")] == ["FAIL", "PASS"]
    assert {each.runner for each in outcome.finished()} == {"command"}
    assert {len(each.cases) for each in outcome.finished()} == {1}


def test_what_runs_by_the_command_is_said_before_it_runs(project: Project) -> None:
    project.write(OWN)

    project.run()
    dry = project.run("--dry-run")
    listed = project.run("--list")
    preloaded = project.run("--explain", "preload")
    explained = project.run("explain", "tests/test_good.py", events=False)

    assert dry.stdout.count(", by a command)") == 2
    assert preloaded.stdout == "2 file(s) run by a command of the project, and are spawned\n"
    assert "2 of 2 file(s) run by the command {python} run.py {module} {junit}" in listed.stderr
    assert listed.stdout == "tests/test_bad.py\ntests/test_good.py\n"
    assert "spawned: a command of the project runs it" in explained.stdout


def test_some_files_run_by_a_command_and_the_others_as_always(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[[tool.passmuster.overrides]]\nfiles = ['tests/shell/**']\n"
            "command = ['sh', '-c', 'echo ran $0', '{file}']\n",
            "tests/test_a.py": PASSING,
            "tests/shell/test_b.py": "this is no Python",
        }
    )

    outcome = project.run()

    assert outcome.code == 0, str(outcome)
    assert {each.label: each.runner for each in outcome.finished()} == {
        "tests/test_a.py": "script",
        "tests/shell/test_b.py": "command",
    }
    assert [each.output for each in outcome.finished() if each.runner == "command"] == [
        "ran tests/shell/test_b.py\n"
    ]


def test_coverage_measures_what_the_command_runs(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": UNITTEST,
            "shop.py": "def price():\n    return 3\n\n\ndef unused():\n    return 4\n",
            "tests/test_shop.py": PASSING.replace("self.assertTrue(True)", "import shop; shop.price()"),
        }
    )

    outcome = project.run(
        "--coverage", "--coverage-source", "shop", "--coverage-dir", "report", "--python", PYTEST_PYTHON
    )

    assert outcome.code == 0, str(outcome)
    assert "75%" in outcome.stdout, str(outcome)


def test_a_command_that_coverage_cannot_measure_is_named(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[tool.passmuster]\ncommand = ['sh', '-c', 'true', '{file}']\n",
            "tests/test_a.py": PASSING,
        }
    )

    outcome = project.run("--coverage", "--coverage-dir", "report", "--python", PYTEST_PYTHON)

    assert "coverage does not measure the command sh -c true {file}" in outcome.stdout + outcome.stderr
