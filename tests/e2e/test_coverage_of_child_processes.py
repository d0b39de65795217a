"""Child processes of a test end, and are measured, as under `coverage run`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

CONFIGURATION = """
[run]
concurrency = multiprocessing
sigterm = true
source = .
relative_files = true
"""

APP = """\
import signal


def terminate():
    signal.raise_signal(signal.SIGTERM)
"""

TERMINATES = """
import multiprocessing
import pathlib

import app


def test_terminated_child():
    how = multiprocessing.get_context("{start_method}")
    child = how.Process(target=app.terminate)
    child.start()
    child.join()
    pathlib.Path("exit_code").write_text(str(child.exitcode))
"""


def covered_lines(report: Path) -> list[int]:
    """Return the lines of `app.py` that were executed."""
    classes = [each for each in ElementTree.parse(report).iter("class") if each.get("filename") == "app.py"]
    return [
        int(line.get("number", ""))
        for each in classes
        for line in each.iter("line")
        if line.get("hits") != "0"
    ]


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_terminated_child_process_ends_and_is_measured_as_by_coverage_run(
    project: Project, start_method: str
) -> None:
    python = str(PYTEST_ENVIRONMENT / "bin" / "python")
    project.write(
        {
            ".coveragerc": CONFIGURATION,
            "app.py": APP,
            "conftest.py": "",
            "tests/test_child.py": TERMINATES.format(start_method=start_method),
        }
    )
    exit_code = project.root / "exit_code"

    def coverage(*arguments: str) -> None:
        command = [python, "-m", "coverage", *arguments]
        subprocess.run(command, cwd=project.root, env=project.environment(), check=True, capture_output=True)

    coverage("run", "-m", "pytest")
    plain_code = exit_code.read_text()
    coverage("combine")
    coverage("xml", "-o", "plain.xml")
    plain_lines = covered_lines(project.root / "plain.xml")
    assert 5 in plain_lines  # The child's own.

    for isolation in ("fork", "spawn"):
        exit_code.unlink()
        outcome = project.run(
            *("--isolation", isolation, "--coverage", "--coverage-xml", "ours.xml"),
            *("--coverage-dir", str(project.base / "reports")),
            env={"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)},
        )

        assert outcome.code == 0, outcome
        assert exit_code.read_text() == plain_code
        assert covered_lines(project.root / "ours.xml") == plain_lines, isolation
