"""A project on disk, and the command run on it as a user would: a real process, a clean environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.support.outcome import Outcome, read_events
from tests.e2e.support.processes import processes_with, wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
RUN_TIMEOUT_S = 60.0
"""Seconds after which a call is given up; every call of this suite ends within a few."""

_FOREIGN = (
    "PASSMUSTER_",
    "TEST_",
    "TESTING",
    "COVERAGE",
    "PYTEST_",
    "PYTHON",
    "CI",
    "GITHUB_",
    "GITLAB_",
    "BUILDKITE",
    "TF_BUILD",
    "BUILD_",
    "VIRTUAL_ENV",
)
"""What variables start with that would change a run."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A call that has not ended yet."""

    project: Project
    process: subprocess.Popen[bytes]
    command: tuple[str, ...]
    events: Path
    started_s: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """The runner's process."""
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the runner alone."""
        self.process.send_signal(number)

    def wait_for_file(self, path: str) -> str:
        """Wait until a file below the project exists and is not empty; return its text."""
        absolute = self.project.root / path
        wait_until(
            lambda: (absolute.exists() and absolute.stat().st_size > 0) or self.process.poll() is not None,
            f"no file {path}",
        )
        assert absolute.exists(), str(self.end())
        return absolute.read_text()

    def end(self, *, timeout_s: float = RUN_TIMEOUT_S) -> Outcome:
        """Wait for the end of the call and return what came of it."""
        try:
            stdout, stderr = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, stderr = self.process.communicate()
            raise AssertionError(
                f"no end within {timeout_s:g} s:{self._outcome(stdout, stderr, code=-9)!r}"
            ) from None
        return self._outcome(stdout, stderr, code=self.process.returncode)

    def _outcome(self, stdout: bytes, stderr: bytes, *, code: int) -> Outcome:
        return Outcome(
            command=self.command,
            code=code,
            # Strictly: whatever a test prints, what we print is UTF-8.
            stdout=stdout.decode(),
            stderr=stderr.decode(),
            events=read_events(self.events),
            duration_s=time.monotonic() - self.started_s,
        )


@dataclass(slots=True, kw_only=True)
class Project:
    """A project in a directory of its own, with its own home, runtime and temporary directories.

    Args:
        base: the directory all of these lie in.
        python_home: the virtual environment that calls find active: one without any package.
        may_leave_tmp: whether calls may leave directories in TMPDIR, as killed and `--keep-tmp` ones do.
    """

    base: Path
    python_home: Path
    may_leave_tmp: bool = False
    _calls: int = 0

    def __post_init__(self) -> None:
        for directory in (self.root, self.home, self.runtime, self.tmp):
            directory.mkdir(mode=0o700)

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.base / "project"

    @property
    def home(self) -> Path:
        """What the calls have as HOME; no process outside of them has it."""
        return self.base / "home"

    @property
    def runtime(self) -> Path:
        """What the calls have as XDG_RUNTIME_DIR."""
        return self.base / "runtime"

    @property
    def tmp(self) -> Path:
        """What the calls have as TMPDIR."""
        return self.base / "tmp"

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files below the root; texts are dedented."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(textwrap.dedent(content), encoding="utf-8")

    def environment(self, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Return the environment of a call: ours, without what would change a run, then `changes`."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        environ |= {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "TMPDIR": str(self.tmp),
            "VIRTUAL_ENV": str(self.python_home),
            "LC_ALL": "C.UTF-8",
        }
        for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM", "COLUMNS", "LINES"):
            environ.pop(name, None)
        for name, value in (changes or {}).items():
            if value is None:
                environ.pop(name, None)
            else:
                environ[name] = value
        return environ

    def command(self, *arguments: str) -> tuple[str, ...]:
        """Return the call of the runner with `arguments`."""
        return (sys.executable, str(REPOSITORY / "run_tests.py"), *arguments)

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        cwd: str = "",
        stdin: int = subprocess.DEVNULL,
        events: bool = True,
        prefix: tuple[str, ...] = (),
    ) -> Running:
        """Start a call in the project's root.

        Args:
            arguments: the words after `run_tests.py`.
            env: changes to the clean environment; None unsets a variable.
            cwd: the current directory, relative to the root.
            stdin: what the runner has as its standard input.
            events: whether `--events` is added.
            prefix: words before the command, such as a program that executes it with fewer rights.
        """
        self._calls += 1
        path = self.base / f"events-{self._calls}.jsonl"
        command = (*prefix, *self.command(*(("--events", str(path)) if events else ()), *arguments))
        process = subprocess.Popen(
            command,
            cwd=self.root / cwd,
            env=self.environment(env),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        return Running(project=self, process=process, command=command, events=path)

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        cwd: str = "",
        events: bool = True,
        prefix: tuple[str, ...] = (),
        timeout_s: float = RUN_TIMEOUT_S,
    ) -> Outcome:
        """Make a call and wait for its end; see `start`."""
        return self.start(*arguments, env=env, cwd=cwd, events=events, prefix=prefix).end(timeout_s=timeout_s)

    def processes(self) -> list[str]:
        """Return the living processes that belong to any call on this project."""
        return processes_with(str(self.base))

    def check_nothing_is_left(self) -> None:
        """Fail when a call has left a process or a temporary directory behind."""
        left = self.processes()
        assert not left, f"processes were left behind: {left}"
        assert self.may_leave_tmp or self.left_in_tmp() == []

    def left_in_tmp(self) -> list[str]:
        """Return what calls have left in the temporary directory."""
        return [path.name for path in self.tmp.iterdir() if path.name.startswith("pm-")]
