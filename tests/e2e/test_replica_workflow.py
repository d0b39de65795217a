"""`run_ci_replica.py --workflow` runs a small project as its workflow does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

TEST = """\
import os
import unittest


class Setting(unittest.TestCase):
    def test_what_the_workflow_set(self):
        self.assertEqual(os.environ["LEVEL"], "job of 2")
        self.assertNotIn("TOKEN", os.environ)
        self.assertEqual(os.environ["CI"], "true")
"""

WORKFLOW = """\
name: tests
on: [push]
env:
  TOKEN: ${{ secrets.TOKEN }}
jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        shard: [1, 2]
    env:
      LEVEL: job of ${{ strategy.job-total }}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "%s"}
      - run: pip install -r requirements.txt
      - name: Test
        working-directory: backend
        run: |
          ./run_tests.py --limit 1 \\
            --shard ${{ matrix.shard }}/2 --record records
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    tests = tmp_path / "backend" / "tests"
    tests.mkdir(parents=True)
    (tmp_path / "setup.cfg").touch()
    for name in ("test_a.py", "test_b.py"):
        (tests / name).write_text(TEST, encoding="utf-8")
    write_workflow(tmp_path)
    return tmp_path


def write_workflow(project: Path, *, python: str = f"{sys.version_info[0]}.{sys.version_info[1]}") -> None:
    path = project / ".github" / "workflows" / "test.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(WORKFLOW % python, encoding="utf-8")


def replica(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the replica there, in an environment that knows nothing of this test's own run."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(project), "XDG_RUNTIME_DIR": str(project)}
    return subprocess.run(
        [sys.executable, REPOSITORY / "run_ci_replica.py", *words],
        cwd=project,
        env={**environ, "TOKEN": "a secret of the caller's"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_tests_run_as_the_workflow_says(project: Path) -> None:
    ran = replica(project, "--workflow", ".github/workflows/test.yml")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    where = project / "backend"
    assert "[INFO] Job: test, shard=1 (number 1 of 2)" in lines
    assert "[INFO] Not replicated: step 3: pip install -r requirements.txt" in lines
    assert "[INFO] Not replicated: the variable TOKEN, which is ${{ secrets.TOKEN }}" in lines
    assert (
        "[INFO] Not replicated: --shard 1/2 --record records of step 'Test': "
        "here all files run on this machine" in lines
    )
    assert f"[INFO] step 'Test': run_tests.py --limit 1, in {where}, with LEVEL" in lines
    assert "[PASS] tests/test_a.py completed successfully" in lines
    assert not any("test_b.py" in line for line in lines)
    assert not (where / "records").exists()
    assert lines[-1] == "[PASS] CI replica passed: CI should pass"


def test_a_test_that_fails_fails_the_replica(project: Path) -> None:
    (project / "backend" / "tests" / "test_a.py").write_text("raise SystemExit(1)\n", encoding="utf-8")

    ran = replica(project, "--workflow=.github/workflows/test.yml", "--job", "test")

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "[FAIL] CI replica failed: CI would fail the same way"


def test_a_dry_run_shows_what_would_run_and_that_the_python_differs(project: Path) -> None:
    write_workflow(project, python="3.99")

    ran = replica(project, "--workflow", ".github/workflows/test.yml", "--dry-run")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "[WARN] CI has Python 3.99; this machine has Python " in ran.stdout
    assert "Would run 1 test file(s)" in ran.stdout
    assert "completed" not in ran.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workflow", "none.yml"), "[FAIL] cannot read none.yml (from --workflow): no such file"),
        (("--workflow", "setup.cfg"), "[FAIL] setup.cfg (from --workflow) is not a workflow: it has no jobs"),
        (("--workflow", "broken.yml"), "[FAIL] broken.yml (from --workflow) is not valid YAML: "),
        (
            ("--workflow", ".github/workflows/test.yml", "--job", "x"),
            "[FAIL] .github/workflows/test.yml has no job",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_status_2(
    project: Path, words: tuple[str, ...], message: str
) -> None:
    (project / "broken.yml").write_text("jobs: [", encoding="utf-8")

    ran = replica(project, *words)

    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert ran.stderr.startswith(message)
    assert ran.stderr.count("\n") == 1
