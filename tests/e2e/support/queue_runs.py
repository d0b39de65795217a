"""Whole runs over a broker, as people start them: workers, and then the command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import REPOSITORY, Project

SECRET = "the tests' secret"
WORKER = REPOSITORY / "worker" / "__main__.py"
END_S = 60.0


class Worker:
    """A worker over a project, with only what it is given to reach the broker.

    Args:
        project: whose.
        words: its arguments, besides where the project is.
        env: changes to the clean environment.
        prefix: words before the command, such as a program that executes it with fewer rights.
    """

    def __init__(
        self,
        project: Project,
        *words: str,
        env: Mapping[str, str | None] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self._log = project.base / "worker.log"
        # Outside of the machine's pool: it is not this test's alone.
        environ = project.environment({"PASSMUSTER_SECRET": SECRET, "PASSMUSTER_SLOT": "0", **(env or {})})
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    *(sys.executable, "-P", str(WORKER), "--root", str(project.root), "--slots", "2", *words),
                ],
                cwd=project.root,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def wait_until_ready(self) -> None:
        wait_until(
            lambda: "\nready: " in f"\n{self.log}" or self.process.poll() is not None,
            "the worker is not ready",
        )
        assert self.process.poll() is None, self.log

    def wait(self) -> tuple[int, str]:
        """Wait for its own end; return its status and what it printed."""
        return self.process.wait(END_S), self.log

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def private_file(path: Path, text: str) -> str:
    """Write a secret; return where it is."""
    path.write_text(text)
    path.chmod(0o600)
    return str(path)
