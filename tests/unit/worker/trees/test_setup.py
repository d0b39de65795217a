"""A tree is set up by the worker's own command, or its requirements are checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from passmuster.model.errors import InfrastructureError
from tests.unit.worker.workbench import is_alive, until
from worker.trees import setup as tree_setup
from worker.trees.setup import requirements_problem, run_setup


def environ(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **more}


def setup_problem(command: str, tree: Path, interpreter: str, environ: dict[str, str]) -> str:
    problem = run_setup(command, tree, interpreter, environ)
    assert problem is not None
    return problem


def lacking(tree: Path, interpreter: str, environ: dict[str, str]) -> str:
    problem = requirements_problem(tree, interpreter, environ)
    assert problem is not None
    return problem


def test_the_command_runs_in_the_tree_with_the_tests_python(tmp_path: Path) -> None:
    command = 'pwd > made; echo "$NAME" >> made; python -c "import sys; print(sys.executable)" >> made'

    assert run_setup(command, tmp_path, sys.executable, environ(NAME="value")) is None

    folder, name, python = (tmp_path / "made").read_text().splitlines()
    assert (folder, name) == (str(tmp_path), "value")
    assert Path(python).parent == Path(sys.executable).parent


def test_a_failure_is_reported_with_the_last_lines_of_output(tmp_path: Path) -> None:
    command = "for i in 1 2 3 4 5 6 7; do echo line $i; done; echo wrong >&2; exit 3"

    reason = setup_problem(command, tmp_path, sys.executable, environ())

    assert reason.endswith("ended with status 3; its last lines: line 4 | line 5 | line 6 | line 7 | wrong")


def test_a_failure_without_output_is_reported(tmp_path: Path) -> None:
    assert setup_problem("exit 1", tmp_path, sys.executable, environ()).endswith(
        "status 1; it printed nothing"
    )


def test_a_command_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_setup, "SETUP_S", 0.3)

    reason = setup_problem("echo begun; exec sleep 600", tmp_path, sys.executable, environ())

    assert "ran longer than its time limit of 0.3 s; its last lines: begun" in reason


def test_processes_left_by_the_command_are_killed(tmp_path: Path) -> None:
    assert run_setup("sleep 600 & echo $! > pid", tmp_path, sys.executable, environ()) is None

    pid = int((tmp_path / "pid").read_text())
    until(lambda: not is_alive(pid), "what it left has ended")


def test_a_missing_tree_is_reported(tmp_path: Path) -> None:
    assert "cannot be executed" in setup_problem("true", tmp_path / "gone", sys.executable, environ())


def test_required_packages_must_be_installed(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pytest\nNo.Such_Thing==1.0\n")

    reason = lacking(tmp_path, sys.executable, environ())

    assert reason.startswith(f"{sys.executable} lacks packages of requirements.txt: no-such-thing==1.0; ")


def test_packages_on_the_tests_path_count_as_installed(tmp_path: Path) -> None:
    found = tmp_path / "found" / "such_a_thing-1.0.dist-info"
    found.mkdir(parents=True)
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: such_a.thing\nVersion: 1.0\n")
    (tmp_path / "requirements.txt").write_text("such-a-thing==1.0\n")

    assert "such-a-thing" in lacking(tmp_path, sys.executable, environ())
    assert requirements_problem(tmp_path, sys.executable, environ(PYTHONPATH=str(found.parent))) is None


@pytest.mark.parametrize("text", [None, "", "-r other.txt\n"])
def test_without_requirements_the_interpreter_is_not_started(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "requirements.txt").write_text(text)

    assert requirements_problem(tmp_path, "/no/such/python", environ()) is None


def test_modules_of_the_tree_do_not_shadow_the_check(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pytest\n")
    (tmp_path / "importlib").mkdir()
    (tmp_path / "importlib" / "__init__.py").write_text("raise SystemExit(9)")
    (tmp_path / "re.py").write_text("raise SystemExit(9)")

    assert requirements_problem(tmp_path, sys.executable, environ()) is None


def test_a_broken_interpreter_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pytest\n")

    with pytest.raises(InfrastructureError, match="/bin/false cannot list its packages"):
        lacking(tmp_path, "/bin/false", environ())
