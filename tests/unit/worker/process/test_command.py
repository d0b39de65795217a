"""The command line of a test process, and what is refused before there is one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.status import RunnerKind
from passmuster.model.task import CoverageRequest, TestTask
from worker.process import command
from worker.process.command import CHILD_DIR, CHILD_MAIN, build_command, execution_problem, prepare_child
from worker.process.settings import WorkerSettings


def settings(root: Path, *, workdir: str = ".") -> WorkerSettings:
    return WorkerSettings(
        root=root, workdir=root / workdir, interpreter="/venv/python", environ={}, slots=1, budget_bytes=1
    )


def task(path: str) -> TestTask:
    return TestTask(run_id="r", file_path=path, runner=RunnerKind.PYTEST)


def test_the_file_is_named_as_a_user_in_the_working_directory_would(tmp_path: Path) -> None:
    there = settings(tmp_path, workdir="app")

    words = build_command(task("app/tests/test_a.py"), there, None, None)
    beside = build_command(task(".claude/test_b.py"), there, None, None)

    assert words == ["/venv/python", str(CHILD_MAIN), "tests/test_a.py", "pytest", "", str(tmp_path), ""]
    assert beside[2] == "../.claude/test_b.py"


def test_coverage_is_requested_with_its_sources(tmp_path: Path) -> None:
    wanted = structs.replace(task("a.py"), coverage=CoverageRequest(source=("src", "lib")))

    words = build_command(wanted, settings(tmp_path), Path("/c/data"), Path("/t/code"))

    assert words[4:] == ["/t/code", str(tmp_path), "/c/data", "src", "lib"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("ok.py", ""),
        ("inside.py", ""),
        ("/etc/passwd", "not a path relative"),
        ("a\0b", "not a path relative"),
        ("../root-beside/x.py", "outside the project root"),
        ("folder/../../x.py", "outside the project root"),
        ("outside.py", "outside the project root"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("missing.py", "does not exist any more"),
        ("loop.py", "does not exist any more"),
        ("x" * 5000, "does not exist any more"),
    ],
)
def test_only_a_regular_file_of_the_root_may_be_executed(tmp_path: Path, path: str, reason: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "root-beside").mkdir()
    for name in ("root/ok.py", "root-beside/x.py", "x.py"):
        (tmp_path / name).touch()
    (root / "inside.py").symlink_to(root / "ok.py")
    (root / "outside.py").symlink_to(tmp_path / "x.py")
    (root / "loop.py").symlink_to(root / "loop.py")
    os.mkfifo(root / "pipe")

    found = execution_problem(task(path), settings(root)) or ""

    assert (found == "") is (reason == "")
    assert reason in found
    assert "\n" not in found


def test_the_root_may_be_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.py").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert execution_problem(task("a.py"), settings(tmp_path / "link")) is None


def test_the_childs_modules_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in CHILD_DIR.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(command, "CHILD_DIR", tmp_path)
    tag = str(sys.implementation.cache_tag)

    prepare_child(sys.executable, tag)

    compiled = tmp_path / "__pycache__" / f"passmuster_child_start.{tag}.pyc"
    assert compiled.exists()
    prepare_child("/no/such/python", tag)  # Nothing is left to do, so nothing is executed.

    other = tmp_path / "passmuster_child_end.py"
    later = compiled.stat().st_mtime + 1
    os.utime(other, (later, later))
    prepare_child(sys.executable, tag)
    os.utime(tmp_path / "__pycache__" / f"passmuster_child_end.{tag}.pyc", (later, later))
    prepare_child("/no/such/python", tag)


def test_an_interpreter_that_cannot_start_is_no_error_when_compiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passmuster_child_start.py").touch()
    monkeypatch.setattr(command, "CHILD_DIR", tmp_path)
    prepare_child("/no/such/python", "cpython-311")
    assert not (tmp_path / "__pycache__").exists()
