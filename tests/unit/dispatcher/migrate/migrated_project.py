"""A repository on disk, and `migrate` called on it within this process."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from dispatcher.cli.main import Command
from tests.unit.dispatcher.scripted_target import ScriptedTarget

SCRIPT = b"#!/bin/bash\n./run_tests.sh --usage\n"


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file below a folder but what git and runs keep: its bytes and its permissions."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in root.rglob("*")
        if path.is_file() and ".git/" not in path.as_posix() and ".passmuster/" not in path.as_posix()
    }


def write(root: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def migrate(root: Path, *words: str, file: bool = True, **environ: str) -> tuple[int, str, str]:
    """Call `migrate`; return its status and what it printed.

    Args:
        root: the current directory.
        words: those behind `migrate`.
        file: whether references are to become the files, which need not be there then.
        environ: the environment.
    """
    out, err = io.StringIO(), io.StringIO()
    command = Command(
        ("migrate", *words, *(("--command", "./run_tests.py") if file else ())),
        environ=environ,
        cwd=root,
        target=ScriptedTarget(),
        warm_target=ScriptedTarget,
        program="run-tests",
        stdout=out,
        stderr=err,
    )
    return command.run(), out.getvalue(), err.getvalue()
