"""The doors of the installed package find our modules, whatever the user's PYTHONPATH holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("door", ["run_tests", "run_ci_replica"])
def test_a_door_calls_our_command_although_the_users_path_has_modules_of_the_same_names(
    tmp_path: Path, door: str
) -> None:
    installed, users = tmp_path / "installed", tmp_path / "users"
    for name in ("worker", "dispatcher", "passmuster", "passmuster/launch"):
        (installed / name).mkdir(parents=True)
        (installed / name / "__init__.py").write_text("")
    for name in ("console_scripts.py", "bootstrap.py", "environment.py"):
        shutil.copy(REPOSITORY / "passmuster" / "launch" / name, installed / "passmuster" / "launch")
    (installed / f"{door}.py").write_text(
        "import sys, worker\ndef main() -> int:\n    print(worker.__file__, *sys.argv[1:])\n    return 7\n"
    )
    users.mkdir()
    for name in ("worker.py", f"{door}.py"):
        (users / name).write_text("raise SystemExit('the module of the user was imported')")

    # The order of an installed command: the user's PYTHONPATH before the packages.
    code = (
        f"import sys; sys.path[1:1] = [{str(users)!r}, {str(installed)!r}]\n"
        f"from passmuster.launch.console_scripts import {door}\nsys.exit({door}())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, "--list"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 7, done.stderr
    assert done.stdout.split() == [str(installed / "worker" / "__init__.py"), "--list"]
