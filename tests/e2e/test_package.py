"""The installed package: its commands work in an environment of their own, whatever the project holds."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PASSING = """\
import importlib.util
import os
import unittest


class Sums(unittest.TestCase):
    def test_sum(self):
        self.assertEqual(1 + 1, 2)

    def test_modules_named_like_the_runners_are_the_projects_own(self):
        for name in ("dispatcher", "worker", "rich", "run_tests"):
            found = importlib.util.find_spec(name)
            self.assertTrue(found is None or found.origin == os.path.abspath(f"{name}.py"), found)


if __name__ == "__main__":
    unittest.main()
"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the commands of an environment in which the package is installed."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    venv.create(environment, with_pip=True)
    subprocess.run(
        [environment / "bin" / "python", "-m", "pip", "install", "-q", "--no-input", REPOSITORY],
        check=True,
        stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )
    return environment / "bin"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose own modules are named like the runner's and its libraries."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_sums.py").write_text(PASSING, encoding="utf-8")
    for name in ("worker", "run_tests", "rich", "dispatcher"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n", encoding="utf-8")
    return tmp_path


def call(command: Path, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PASSMUSTER_")}
    return subprocess.run(
        [command, *arguments],
        cwd=project,
        env={**environ, "PYTHONPATH": str(project), "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_run_tests_runs_a_project_whose_modules_are_named_like_ours(commands: Path, project: Path) -> None:
    ran = call(commands / "run-tests", project)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[PASS] tests/test_sums.py completed successfully" in ran.stdout
    assert "passed 2" in ran.stdout


def test_the_ci_replica_is_installed_too(commands: Path, project: Path) -> None:
    ran = call(commands / "run-ci-replica", project)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[PASS] CI replica passed: CI should pass" in ran.stdout


def test_the_report_has_its_style_and_its_script(commands: Path, project: Path) -> None:
    ran = call(commands / "run-tests", project, "--report", "html=page.html")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    page = (project / "page.html").read_text(encoding="utf-8")
    for name, element in (("page.css", "style"), ("page.js", "script")):
        source = (REPOSITORY / "dispatcher" / "reporters" / "html" / name).read_text(encoding="utf-8")
        assert f"<{element}>{source}</{element}>" in page


def test_the_tests_do_not_run_in_the_runners_environment(commands: Path, project: Path) -> None:
    (project / "tests" / "test_sums.py").write_text(
        "if __name__ == '__main__':\n    import sys\n    print('prefix', sys.prefix)\n    sys.exit(1)\n",
        encoding="utf-8",
    )

    ran = call(commands / "run-tests", project)

    assert f"prefix {sys.base_prefix}" in ran.stdout, ran.stdout + ran.stderr
