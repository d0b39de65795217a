"""The installed commands find their modules, whatever PYTHONPATH contains."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]

COMMANDS = ("run_tests", "run_ci_replica")
PRINTS_WHERE_IT_IS = (
    "import sys, rich\ndef main():\n    print(__file__, rich.__file__, *sys.argv[1:])\n    return 7\n"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of installed packages: ours, without its program, and what it needs."""
    folder = tmp_path / "installed"
    (folder / "passmuster" / "launch").mkdir(parents=True)
    for name in ("console_scripts.py", "bootstrap.py", "environment.py"):
        shutil.copy(REPOSITORY / "passmuster" / "launch" / name, folder / "passmuster" / "launch")
    (folder / "rich.py").write_text("")
    return folder


def call(command: str, installed: Path, users: Path) -> subprocess.CompletedProcess[str]:
    users.mkdir()
    for name in (*COMMANDS, "worker", "rich"):
        (users / f"{name}.py").write_text("raise SystemExit('the module of the user was imported')")
    # The order of an installed command: the user's PYTHONPATH before the packages.
    code = (
        f"import sys; sys.path[1:1] = [{str(users)!r}, {str(installed)!r}]; sys.modules['msgspec'] = sys\n"
        f"from passmuster.launch.console_scripts import {command}\nsys.exit({command}())"
    )
    return subprocess.run(
        [sys.executable, "-I", "-c", code, "--list"], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_wheel_is_imported_from_the_package(
    tmp_path: Path, installed: Path, command: str
) -> None:
    program = installed / "passmuster" / "_program"
    program.mkdir()
    (program / f"{command}.py").write_text(PRINTS_WHERE_IT_IS)

    done = call(command, installed, tmp_path / "users")

    assert done.returncode == 7, done.stderr
    assert done.stdout.split() == [str(program / f"{command}.py"), str(installed / "rich.py"), "--list"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_an_editable_installation_is_imported_from_the_checkout(
    tmp_path: Path, installed: Path, command: str
) -> None:
    (installed / f"{command}.py").write_text(PRINTS_WHERE_IT_IS)

    done = call(command, installed, tmp_path / "users")

    assert done.returncode == 7, done.stderr
    assert done.stdout.split() == [str(installed / f"{command}.py"), str(installed / "rich.py"), "--list"]
