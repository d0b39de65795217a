"""Runs programs in a test process as the supervisor starts it, and as `python FILE` does, to compare both."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.process.child_report import ChildReport
from worker.process.command import CHILD_MAIN

REPORT_FD = 198

VERSIONS = ("3.9", "3.13")
"""The oldest Python that a project may have, and a new one; the running one comes to them."""

# The descriptor cannot be put at its number in this process: it may be this process's own.
LAUNCHER = f"""
import os, sys
os.dup2(int(sys.argv[1]), {REPORT_FD})
os.close(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_interpreters() -> dict[str, str]:
    """Return the interpreters of `VERSIONS` that this machine has, by name, and the running one."""
    found = {"running": sys.executable}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in VERSIONS:
        paths = sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
        path = str(paths[-1]) if paths else shutil.which(f"python{version}")
        if path is not None:
            found[version] = path
    return found


INTERPRETERS = find_interpreters()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a test process ended, and what it said."""

    status: int
    output: str
    report: ChildReport

    @property
    def cases(self) -> list[tuple[str, str]]:
        """The cases as (last part of the id, outcome)."""
        return [(re.split(r"[.:]", case.case_id)[-1], case.outcome.value) for case in self.report.cases]


class ChildBench:
    """A project in a directory, and an interpreter to run its files with."""

    def __init__(self, root: Path, python: str) -> None:
        self.root = root
        self.python = python

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    def run(self, name: str, kind: str = "auto", *, selection: Sequence[str] = (), **variables: str) -> Ran:
        """Run a file, or the tests of it that the words of a selection name, as the supervisor would."""
        report_path = self.root.parent / "report"
        with open(report_path, "wb", buffering=0) as sink:
            os.set_inheritable(sink.fileno(), True)
            words = ["--", *selection] if selection else []
            command = [str(CHILD_MAIN), name, kind, "", str(self.root), "", *words]
            launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(sink.fileno()), self.python]
            done = self._execute([*launcher, *command], variables, pass_fds=(sink.fileno(),))
        report = ChildReport()
        report.feed(report_path.read_bytes())
        return Ran(status=done.returncode, output=done.stdout, report=report)

    def run_plainly(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run `python ARGUMENTS`; return its status and its output."""
        done = self._execute([self.python, *arguments], variables)
        return done.returncode, done.stdout

    def _execute(
        self, command: list[str], variables: dict[str, str], pass_fds: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
        return subprocess.run(
            command,
            cwd=self.root,
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            text=True,
            errors="backslashreplace",
            timeout=60,
            check=False,
        )
