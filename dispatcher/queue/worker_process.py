"""A worker as a child of this process, which always stops it.

The worker reads from a pipe that this process holds, and ends when the pipe closes, even if this process is
killed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.config.settings import BY_NAME
from passmuster.host.subprocesses import wait_or_kill
from passmuster.wire.broker_settings import BROKER_VARIABLE, SECRET_VARIABLE

WORKER = Path(__file__).resolve().parents[2] / "worker" / "__main__.py"

PASSED_ON = ("isolation", "preload", "keep-tmp", "machine-memory", "machine-folder", "nice")
"""The settings that a worker of a run receives, by the same names."""

STOP_S = 10.0
"""Seconds for a worker to end: it stops its files at once, and its own process ends within five."""


class WorkerProcess:
    """One worker.

    Args:
        name: unique.
        arguments: in addition to those of every such worker.
        log: the file that receives its output; created or appended to.
        url: the broker, password included.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environ: Mapping[str, str],
        *,
        url: str,
        secret: str,
    ) -> None:
        self.name, self._log = name, log
        command = (sys.executable, "-P", str(WORKER), "--exit-with-stdin", "--name", name, *arguments)
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            # Its own session: Ctrl-C goes to this process, which asks the worker to stop its files.
            self._process = subprocess.Popen(
                command,
                env={**environ, BROKER_VARIABLE: url, SECRET_VARIABLE: secret},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_problem(self) -> str | None:
        """Return how it ended, with the last line it printed; None: it is running."""
        status = self._process.poll()
        if status is None:
            return None
        lines = self._log.read_text(errors="backslashreplace").splitlines() or ["it printed nothing"]
        return f"ended with status {status}: {lines[-1]}"

    def close(self) -> None:
        """Stop it. May be called twice."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        wait_or_kill(self._process, STOP_S)


def worker_arguments(config: TestConfig, *, workdir: Path, interpreter: str) -> list[str]:
    """Return the arguments that all workers of a run on this machine share."""
    arguments = ["--root", str(config.root), "--workdir", str(workdir), "--python", interpreter]
    for name in PASSED_ON:
        row = BY_NAME[name]
        value = row.value_in(config)
        if value == row.fallback:
            continue
        option = f"--{row.name}"
        if isinstance(value, bool):
            arguments.append(option)
        else:
            for one in value if isinstance(value, tuple) else (value,):
                arguments += (option, row.type.write(one))
    return arguments
