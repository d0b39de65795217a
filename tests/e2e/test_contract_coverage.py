"""Coverage as the shell scripts reported it, measured in parallel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

RULE = "-" * 40
LIBRARY = """\
def double(number):
    return 2 * number


def never():
    a = 1
    b = 2
    return a + b
"""
USER = """\
import unittest

import library


class T(unittest.TestCase):
    def test_it(self):
        self.assertEqual(library.{call}, {value})


if __name__ == "__main__":
    unittest.main()
"""


@pytest.fixture
def measured(project: Project) -> Project:
    project.write(
        {
            "tests/library.py": LIBRARY,
            "tests/test_double.py": USER.format(call="double(2)", value=4),
            "tests/test_other.py": USER.format(call="double(0)", value=0),
        }
    )
    return project


def run(project: Project, *arguments: str, env: dict[str, str | None] | None = None) -> Outcome:
    reports = str(project.base / "reports")
    changes = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT), **(env or {})}
    return project.run("--coverage", "--coverage-dir", reports, *arguments, env=changes)


def test_the_lines_of_the_scripts_and_both_reports(measured: Project) -> None:
    outcome = run(measured, "--coverage-key-file", "tests/library.py", "--coverage-xml", "coverage.xml")
    reports = measured.base / "reports"
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.statuses() == {"tests/test_double.py": "PASS", "tests/test_other.py": "PASS"}
    # library: 2 + 1 of 6 statements are missed nowhere but in `never`; each test file has 7, all executed.
    rest = outcome.lines_after("[INFO] 📈 Coverage Summary:")
    assert rest[:5] == [
        RULE,
        "Overall Coverage: 85%",
        "",
        "Key Files Coverage:",
        "tests/library.py           6      3    50%",
    ]
    assert rest[5:] == [
        RULE,
        f"[INFO] Text coverage report: {reports / 'coverage_report.txt'}",
        f"[INFO] HTML coverage report: {reports / 'index.html'}",
        f"[INFO] XML coverage report: {measured.root / 'coverage.xml'}",
    ]
    assert "tests/library.py" in (reports / "coverage_report.txt").read_text()
    assert "<html" in (reports / "index.html").read_text()
    assert "<coverage" in (measured.root / "coverage.xml").read_text()


def test_a_demanded_coverage_that_is_not_reached_fails_the_run(measured: Project) -> None:
    outcome = run(measured, "--coverage-fail-under", "99")
    assert outcome.code == 1
    assert outcome.lines[-1] == "[FAIL] Coverage 85% is below the required 99%"


def test_a_file_that_delivers_nothing_is_named(measured: Project) -> None:
    measured.write({"tests/test_quits.py": "import os\nif __name__ == '__main__':\n    os._exit(0)\n"})
    outcome = run(measured)
    assert outcome.code == 0
    assert outcome.lines_after("[WARN] 1 file(s) passed but delivered no coverage data:") == [
        "  - tests/test_quits.py"
    ]


def test_data_survives_a_timeout(measured: Project) -> None:
    measured.write(
        {
            "tests/test_hangs.py": "import library, time\nif __name__ == '__main__':\n"
            "    library.never()\n    time.sleep(600)\n"
        }
    )
    outcome = run(measured, "--timeout", "2s", "--coverage-key-file", "tests/library.py")
    assert outcome.statuses()["tests/test_hangs.py"] == "TIMEOUT"
    (row,) = [line for line in outcome.lines if line.startswith("tests/library.py ")]
    assert row.split() == ["tests/library.py", "6", "0", "100%"]


def test_an_interpreter_without_coverage_is_named_with_the_command_that_installs_it(
    measured: Project,
) -> None:
    outcome = measured.run("--coverage", "--coverage-dir", str(measured.base / "reports"))
    assert (outcome.code, outcome.stdout) == (2, "")
    (line,) = outcome.stderr.splitlines()
    assert f"{measured.python_home}/bin/python" in line
    assert "pip install coverage" in line
    assert not (measured.base / "reports").exists()


def test_reports_land_where_the_scripts_put_them_unless_told_otherwise(measured: Project) -> None:
    (line,) = [line for line in measured.run("--show-config").lines if line.startswith("coverage-dir ")]
    assert Path(line.split()[2]) == Path("/tmp/worldarchitectai/coverage")
