"""`run_ci_replica.py --workflow` runs a small project as its workflow does."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
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
        (
            ("--workflow", "setup.cfg"),
            "[FAIL] setup.cfg (from --workflow) is not a workflow of GitHub Actions, ",
        ),
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


FOREIGN = """\
on: {push: {}}
jobs:
  style:
    runs-on: ubuntu-latest
    steps: [{run: make lint}]
  all:
    uses: ./.github/workflows/called.yml
    with: {level: high}
"""
CALLED = """\
on: {workflow_call: {inputs: {level: {type: string}}}}
jobs:
  unit:
    runs-on: ubuntu-latest
    env: {LEVEL: "${{ inputs.level }}"}
    steps:
      - uses: ./.github/actions/prepare
      - name: Once more
        if: failure()
        run: exit 1
      - name: Units
        working-directory: backend
        run: python -m unittest discover tests
"""
ACTION = """\
runs:
  using: composite
  steps:
    - run: pip install --no-index ./wheels/shop-1.0-py3-none-any.whl && echo EXTRA=1 >>$GITHUB_ENV
      shell: bash
"""
SHOP_TEST = """\
import os
import sys
import unittest


class Shop(unittest.TestCase):
    def test_its_package_and_variables_are_there(self):
        import shop

        self.assertTrue(shop.__file__.startswith(os.environ["RUNNER_TEMP"].rpartition("/")[0]))
        self.assertEqual((os.environ["LEVEL"], os.environ["EXTRA"], os.environ["CI"]), ("high", "1", "true"))
"""


def write_wheel(path: Path) -> None:
    path.parent.mkdir()
    info = "shop-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("shop.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"shop.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


def test_a_workflow_that_does_not_know_this_program_runs_with_its_packages(project: Path) -> None:
    (project / "backend" / "tests" / "test_a.py").write_text(SHOP_TEST, encoding="utf-8")
    (project / "backend" / "tests" / "test_b.py").unlink()
    write_wheel(project / "wheels" / "shop-1.0-py3-none-any.whl")
    github = project / ".github"
    (github / "workflows" / "test.yml").write_text(FOREIGN, encoding="utf-8")
    (github / "workflows" / "called.yml").write_text(CALLED, encoding="utf-8")
    (github / "actions" / "prepare").mkdir(parents=True)
    (github / "actions" / "prepare" / "action.yml").write_text(ACTION, encoding="utf-8")

    installed = replica(project, "--workflow", ".github/workflows/test.yml", "--install")
    bare = replica(project, "--workflow", ".github/workflows/test.yml", "--job", "all")

    lines = installed.stdout.splitlines()
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "[INFO] Job: all / unit" in lines
    where = project / "backend"
    assert f"[INFO] step 'Units': python -m unittest discover tests, in {where}, with LEVEL" in lines
    assert lines[-1] == "[PASS] CI replica passed: CI should pass"
    assert "OK" in installed.stderr
    assert bare.returncode == 1, bare.stdout + bare.stderr
    assert any(
        line.startswith("[WARN] Packages may be missing here: --install") for line in bare.stdout.splitlines()
    )
    assert not [path for path in project.rglob("*") if path.name in ("environment", "pyvenv.cfg")]
