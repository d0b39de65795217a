"""An environment is made once, extended by what it lacks, and made anew if it has something else."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.environments import STAMP, ensure_environment


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    found: list[list[str]] = []

    def run(command: Sequence[str], *, check: bool) -> None:
        assert check
        found.append([*command])

    monkeypatch.setattr(subprocess, "run", run)
    return found


def made(commands: list[list[str]], folder: Path, *requirements: str) -> list[list[str]]:
    """Return what making an environment with these requirements runs, without the programs and options."""
    commands.clear()
    ensure_environment(folder, requirements, base=Path("python"))
    return [[word for word in command if not word.startswith("-")][1:] for command in commands]


def test_only_what_is_missing_is_installed(tmp_path: Path, commands: list[list[str]]) -> None:
    (tmp_path / STAMP).write_text("pytest\n./shop")

    assert made(commands, tmp_path, "pytest", "rstest", "./shop") == [["pip", "install", "rstest"]]
    assert made(commands, tmp_path, "pytest", "rstest", "./shop") == []


def test_an_environment_with_something_else_is_made_anew(tmp_path: Path, commands: list[list[str]]) -> None:
    (tmp_path / STAMP).write_text("pytest<8\nrstest")

    again = made(commands, tmp_path, "pytest", "rstest")

    assert again == [["venv", str(tmp_path)], ["pip", "install", "pytest", "rstest"]]
