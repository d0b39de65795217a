"""Runs the script of a CI step with its shell, as the runner of GitHub does."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from dispatcher.model.exit_codes import ExitCode
from dispatcher.replica.workflow_command import WorkflowCommand
from passmuster.model.errors import ConfigurationError, InfrastructureError

_GRACE_S = 10.0
"""Seconds between the first signal and SIGKILL for a step that is interrupted."""

_POLL_S = 0.5
"""Seconds between two looks at whether the grace is over."""

_NOT_FOUND = (126, 127)
"""Exit statuses of a shell for a command that cannot be executed, or does not exist."""

_PLAIN_NAME = re.compile(r"[.-]*\w[\w.-]*")

_FILES = ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_STATE")
"""The variables with files that a step writes to."""


class ScriptRunner(Struct, kw_only=True):
    """Runs the scripts of a job's steps one after another.

    Args:
        scratch: an empty directory, for the scripts and what they write for CI.
        variables: the environment of every step; a step may change it for later ones.
    """

    root: Path
    scratch: Path
    variables: dict[str, str]

    def run(self, command: WorkflowCommand) -> int:
        """Run the script of a step; return an exit status of this program.

        Raises:
            ConfigurationError: it needs something that only CI has, or that is not installed here.
        """
        folder = self.folder(command)
        script, files = self.scratch / "step", {name: self.scratch / name.lower() for name in _FILES}
        for path in files.values():
            path.write_text("", encoding="utf-8")
        script.write_text(command.script, encoding="utf-8")
        named = {name: str(path) for name, path in files.items()}
        variables = {**self.variables, **dict(command.variables), **named}
        words = [word.replace("{0}", str(script)) for word in command.shell]
        require_programs(command, variables, folder)
        status = _run_group(words, folder, variables)
        self._take_over(files)
        if status in _NOT_FOUND:
            raise InfrastructureError(
                f"{command.step} ended with exit status {status}: a command of it is missing here; "
                "install it, or give --install"
            )
        return status if status in (ExitCode.OK, ExitCode.INTERRUPTED) else ExitCode.FAILED

    def folder(self, command: WorkflowCommand) -> Path:
        """Return the working directory of a command.

        Raises:
            ConfigurationError: it does not exist.
        """
        folder = self.root / command.folder
        if not folder.is_dir():
            raise ConfigurationError(f"the working directory {folder} (from {command.step}) does not exist")
        return folder

    def _take_over(self, files: Mapping[str, Path]) -> None:
        """Give later steps the variables and folders of PATH that a step wrote to its files."""
        self.variables |= dict(_assignments(files["GITHUB_ENV"]))
        for folder in _lines(files["GITHUB_PATH"]):
            self.variables["PATH"] = os.pathsep.join((folder, self.variables.get("PATH", os.defpath)))


def require_programs(command: WorkflowCommand, variables: Mapping[str, str], folder: Path) -> None:
    """Refuse a command whose program or module is missing here: in CI it exists.

    Raises:
        ConfigurationError: it is missing.
    """
    path = variables.get("PATH", os.defpath)
    for program in command.programs:
        if program.startswith("-m "):
            if _has_module(program.removeprefix("-m "), variables, folder):
                continue
        elif (
            not _PLAIN_NAME.fullmatch(program)
            or shutil.which(program, path=path)
            or _is_builtin(program, path)
        ):
            continue
        raise ConfigurationError(
            f"{command.step} runs {command.shown!r}, and {program.removeprefix('-m ')} is not installed "
            "here: install it, or give --install"
        )


def _is_builtin(program: str, path: str) -> bool:
    """Return whether a shell itself has a command that is in no folder of `path`."""
    asked = ["/bin/sh", "-c", 'command -v "$1" >/dev/null', "sh", program]
    return subprocess.run(asked, env={"PATH": path}, check=False).returncode == 0


def _has_module(name: str, variables: Mapping[str, str], folder: Path) -> bool:
    python = shutil.which("python", path=variables.get("PATH", os.defpath))
    if python is None:
        return True
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    asked = subprocess.run(
        [python, "-c", code, name.partition(".")[0]],
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return asked.returncode != 1


def _run_group(words: list[str], folder: Path, variables: Mapping[str, str]) -> int:
    """Run a command in a process group of its own, of which nothing stays; return its exit status."""
    instants: list[float] = []
    early: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: object) -> None:
        instants.append(time.monotonic())
        if process is None:
            early.append(number)
        else:
            _kill(process, signal.SIGKILL if len(instants) > 1 else number)

    with _handling_signals(forward):
        try:
            process = subprocess.Popen(
                words, cwd=folder, env=dict(variables), stdin=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigurationError(
                f"the shell {shlex.join(words[:1])} cannot be started: {reason}"
            ) from error
        try:
            for number in early:
                _kill(process, number)
            status = _wait(process, instants)
        finally:
            _kill(process, signal.SIGKILL)
    if instants:
        return ExitCode.INTERRUPTED
    return status if status >= 0 else 128 - status


def _wait(process: subprocess.Popen[bytes], instants: Sequence[float]) -> int:
    """Wait for a process; kill its group some time after the first of `instants`, those of the signals."""
    while True:
        try:
            return process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if instants and time.monotonic() - instants[0] > _GRACE_S:
                _kill(process, signal.SIGKILL)


@contextmanager
def _handling_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle the signals that end a program while the context lasts."""
    before = {
        number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _kill(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def _assignments(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the variables of a file of the form `NAME=VALUE`, or `NAME<<END` with the value on its lines."""
    lines = iter(_lines(path))
    for line in lines:
        name, operator, value = line.partition("=")
        if "<<" in name:
            name, _, end = line.partition("<<")
            inner: list[str] = []
            for following in lines:
                if following == end:
                    break
                inner.append(following)
            operator, value = "=", "\n".join(inner)
        if operator and name.strip():
            yield name.strip(), value
