"""The Python of CI is used where the project has no environment of its own; a difference is said."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dispatcher.replica.python import choose_python

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
ELSEWHERE = "3.98"


def fake_python(path: Path, version: str) -> str:
    """Make a program that answers like a Python of that version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho passmuster-probe cpython cpython-3 {version.replace('.', ' ')}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PYENV_ROOT": str(tmp_path / "pyenv"), "PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin:/bin"}


def test_the_same_version_is_used_as_it_is(tmp_path: Path, environ: dict[str, str]) -> None:
    found = choose_python(HERE, (), environ, folder=tmp_path)

    assert (found.arguments, found.is_the_same) == ((), True)
    assert f"Python {HERE}." in found.description


@pytest.mark.parametrize("wanted", [ELSEWHERE, f"{ELSEWHERE}.4"])
@pytest.mark.parametrize("place", [f"pyenv/versions/{ELSEWHERE}.4/bin/python", f"bin/python{ELSEWHERE}"])
def test_one_that_is_installed_is_found(
    tmp_path: Path, environ: dict[str, str], place: str, wanted: str
) -> None:
    path = fake_python(tmp_path / place, f"{ELSEWHERE}.4")

    found = choose_python(wanted, (), environ, folder=tmp_path)

    assert (found.arguments, found.is_the_same) == (("--python", path), True)


def test_one_that_is_another_than_its_name_says_is_not_taken(tmp_path: Path, environ: dict[str, str]) -> None:
    fake_python(tmp_path / "bin" / f"python{ELSEWHERE}", "3.11.1")

    found = choose_python(ELSEWHERE, (), environ, folder=tmp_path)

    assert (found.arguments, found.is_the_same) == ((), False)
    assert found.description.startswith(f"CI has Python {ELSEWHERE}; this machine has Python {HERE}.")


def test_the_newest_of_pyenv_is_taken(tmp_path: Path, environ: dict[str, str]) -> None:
    for micro in ("4", "10", "9"):
        fake_python(tmp_path / f"pyenv/versions/{ELSEWHERE}.{micro}/bin/python", f"{ELSEWHERE}.{micro}")

    found = choose_python(ELSEWHERE, (), environ, folder=tmp_path)

    assert found.arguments == ("--python", str(tmp_path / f"pyenv/versions/{ELSEWHERE}.10/bin/python"))


def test_the_projects_own_environment_stays_in_use(tmp_path: Path, environ: dict[str, str]) -> None:
    own = fake_python(tmp_path / "venv" / "bin" / "python", "3.10.2")
    fake_python(tmp_path / "bin" / f"python{ELSEWHERE}", f"{ELSEWHERE}.4")

    found = choose_python(ELSEWHERE, (), environ, folder=tmp_path)

    assert (found.arguments, found.is_the_same) == ((), False)
    assert (
        found.description
        == f"CI has Python {ELSEWHERE}; this machine has Python 3.10.2 ({own}, venv/ of the root)"
    )


def test_an_interpreter_that_the_command_names_stays_in_use(tmp_path: Path, environ: dict[str, str]) -> None:
    own = fake_python(tmp_path / "own", "3.10.2")

    found = choose_python("3.10", ("--python", own), environ, folder=tmp_path)

    assert (found.arguments, found.is_the_same) == ((), True)
