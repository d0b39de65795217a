"""What a developer adds is added in one file: everything else follows from its row."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("passmuster", "worker", "dispatcher", "run_tests.py", "run_ci_replica.py", "docs")

COMMAND = "import sys, run_tests; sys.exit(run_tests.main(program='run-tests'))"
REFERENCE = "from make_reference import settings_tables; print(settings_tables())"

NEW_SETTING = """
    greeting: Annotated[
        str | None, setting("greeting", TEXT, "a word for the reader", group=Group.OUTPUT, default="none")
    ] = None
"""

NEW_CI = """    Ci(
        name="Loom",
        choice="loom",
        sign="LOOM",
        job_index="LOOM_JOB",
        job_total="LOOM_JOBS",
        first_job=1,
        run="LOOM_RUN",
        attempt="LOOM_TRY",
        checkout="LOOM_FOLDER",
    ),
"""
IN_LOOM = {"LOOM": "true", "LOOM_JOB": "2", "LOOM_JOBS": "3", "LOOM_RUN": "77", "LOOM_TRY": "4"}
SEEN = """
import os
from pathlib import Path
from dispatcher.config.load import load_config
from dispatcher.join.election import find_identity
from dispatcher.model.ci import ci_run, detect_ci
print(load_config(["--shard", "auto"], os.environ, Path.cwd()).config.shard)
machine = find_identity(os.environ, host="h")
print(detect_ci("auto", os.environ).name, ci_run(os.environ), machine.identity, machine.attempt)
"""

Call = Callable[..., str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout's program."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "images"))
        else:
            shutil.copy(source, copy / name)
    return copy


@pytest.fixture
def call(checkout: Path, tmp_path: Path) -> Call:
    project = tmp_path / "project"
    project.mkdir()

    def run(*words: str, code: str = COMMAND, file: str = "", status: int = 0, **environ: str) -> str:
        (project / "pyproject.toml").write_text(f"[tool.passmuster]\n{file}\n")
        path = f"{checkout}:{checkout / 'docs'}"
        ended = subprocess.run(
            [sys.executable, "-P", "-c", code, *words],
            cwd=project,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "HOME": str(tmp_path), **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == status, ended.stderr
        return ended.stdout

    return run


def test_a_setting_is_added_in_one_file(checkout: Path, call: Call) -> None:
    add(checkout / "dispatcher/config/model.py", NEW_SETTING, before="\n    @property\n    def usual_runner")

    assert "  --greeting TEXT             a word for the reader (default: none)\n" in call("--help")
    assert shown(call("--show-config")) == ["none", "(default)"]
    assert shown(call("--show-config", "--greeting", "hello")) == ["hello", "(--greeting)"]
    assert shown(call("--show-config", PASSMUSTER_GREETING="hi")) == ["hi", "(PASSMUSTER_GREETING)"]
    assert shown(call("--show-config", file="greeting = 'ho'"))[:2] == ["ho", "([tool.passmuster]"]
    assert "**greeting**: a word for the reader | `--greeting TEXT`" in call(code=REFERENCE)
    for shell in ("bash", "zsh", "fish"):
        assert "greeting" in call("completion", shell)


def test_a_ci_is_added_in_one_file(checkout: Path, call: Call, tmp_path: Path) -> None:
    add(checkout / "dispatcher/model/ci.py", NEW_CI, before='    Ci(\n        name="Bitbucket",')

    assert "|azure|loom" in call("--help")
    assert "loom" in call("completion", "bash")
    assert call(code=SEEN, **IN_LOOM) == "2/3\nLoom LOOM_RUN=77 LOOM_JOB=2 4\n"
    (tmp_path / "project" / "test_it.py").write_text("print('a clue'); assert __name__ != '__main__'")
    report = call("test_it.py", "--runner", "script", "--isolation", "spawn", status=1, LOOM="true")
    assert "\nOutput of test_it.py (FAIL: exit status 1; " in report
    assert "\n| a clue\n" in report


def add(path: Path, text: str, *, before: str) -> None:
    """Add a text to a source before the only place where another one stands."""
    source = path.read_text(encoding="utf-8")
    assert source.count(before) == 1
    path.write_text(source.replace(before, text + before), encoding="utf-8")


def shown(configuration: str) -> list[str]:
    """Return what `--show-config` says of the new setting."""
    (line,) = [line for line in configuration.splitlines() if line.startswith("greeting ")]
    return line.partition(" = ")[2].split()
