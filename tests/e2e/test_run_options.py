"""Options of pytest that mean a whole run, in a project's settings: honoured once by the run, or named."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

ENVIRONMENT: Mapping[str, str | None] = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)}

FILES = {
    "pytest.ini": "[pytest]\naddopts = --junitxml=report.xml\n",
    "tests/test_a.py": "def test_a(): pass\n",
    "tests/test_b.py": "def test_b(): assert False\n",
    "tests/test_c.py": "def test_c(): pass\ndef test_d(): pass\n",
}


def names_in(report: Path) -> list[str]:
    return sorted(case.get("name", "") for case in ET.parse(report).getroot().iter("testcase"))


@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_one_report_holds_the_tests_of_all_files(project: Project, isolation: str) -> None:
    project.write(FILES)

    outcome = project.run("-j", "1", "--isolation", isolation, env=ENVIRONMENT)

    assert outcome.code == 1, outcome
    assert names_in(project.root / "report.xml") == ["test_a", "test_b", "test_c", "test_d"]
    assert "not honoured" not in str(outcome)


def test_the_report_that_the_user_asks_for_is_written_instead(project: Project) -> None:
    project.write(FILES)

    outcome = project.run("--junit-xml", "mine.xml", env=ENVIRONMENT)

    assert names_in(project.root / "mine.xml") == ["test_a", "test_b", "test_c", "test_d"]
    assert not (project.root / "report.xml").exists()
    assert "is not honoured: the report goes to" in str(outcome)


def test_the_first_failure_ends_the_run_where_the_settings_say_so(project: Project) -> None:
    project.write({**FILES, "pytest.ini": "[pytest]\n", "tests/test_e.py": FILES["tests/test_b.py"]})

    outcome = project.run("-j", "1", env={**ENVIRONMENT, "PYTEST_ADDOPTS": "-x"})

    assert outcome.code == 1, outcome
    assert sorted(outcome.statuses().values()).count("FAIL") == 1, outcome
    assert "NOT_RUN" in outcome.statuses().values()
    assert "pytest's --maxfail=1 (from PYTEST_ADDOPTS) holds within a file, and for the run" in str(outcome)


def test_what_is_not_honoured_is_named_with_its_source_and_changes_nothing(project: Project) -> None:
    project.write({**FILES, "pytest.ini": "[pytest]\naddopts = --lf --lfnf=none --sw --durations=3\n"})

    outcome = project.run(env=ENVIRONMENT)
    again = project.run(env=ENVIRONMENT)

    for one in (outcome, again):  # The second is answered from what the first remembered.
        assert set(one.statuses().values()) == {"PASS", "FAIL"}, one
        source = f"(from {project.root / 'pytest.ini'})"
        for option in ("--lf", "--sw", "--durations"):
            assert f"pytest's {option} {source} is not honoured: " in str(one), one
