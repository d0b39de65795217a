"""Where jobs of a CI run in tests: clones, a Python that is set up, artifacts and caches in folders.

Shared by the interpreters of workflows (`workflow_runner.py`) and pipelines (`pipeline_runner.py`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

STEP_TIMEOUT_S = 100.0
"""Seconds after which a step has hung."""


INSTALLS = ('pip install "$PASSMUSTER"', 'python -m pip install "$PASSMUSTER"')
"""What the examples install."""


class UnknownFeatureError(Exception):
    """An example uses what these interpreters do not know: extend them, or the example is wrong."""


@dataclass(kw_only=True)
class Cached:
    """An entry of the cache: what was saved, under which key, of which paths."""

    key: str
    paths: tuple[str, ...]
    folder: Path


@dataclass(kw_only=True)
class JobLog:
    """What became of a job.

    Args:
        name: its name, with the number of its combination from 0.
        result: `success`, `failure`, `cancelled` or `skipped`.
        output: all that its steps printed.
        summary: what it wrote for the run's page.
        outputs: what it told the jobs that need it, by name.
    """

    name: str
    result: str = "success"
    output: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Place:
    """What the jobs of all runs share.

    Args:
        base: an empty folder.
        repository: the repository that is checked out.
        python: the folder `bin` of the Python that jobs set up.
        environ: what a machine has in its environment besides. Its PASSMUSTER is installed instead of what an
            example names.
        cancelled_by: a file; once it exists, the step that runs is stopped as a CI stops it. None: none is.
    """

    base: Path
    repository: Path
    python: Path
    environ: Mapping[str, str]
    artifacts: dict[str, Path] = field(default_factory=dict)
    caches: list[Cached] = field(default_factory=list)
    made: int = 0
    cancelled_by: Path | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    installed: ClassVar[set[tuple[Path, str]]] = set()

    def folder(self, name: str) -> Path:
        """Return a new folder."""
        with self.lock:
            self.made += 1
            made = self.base / f"{self.made}-{name}"
        made.mkdir()
        return made

    def clone(self, workspace: Path) -> None:
        """Check the repository out."""
        command = ["git", "-c", "safe.directory=*", "clone", "-q", str(self.repository), str(workspace)]
        subprocess.run(command, check=True, timeout=STEP_TIMEOUT_S, stdin=subprocess.DEVNULL)

    def run(
        self, script: str, *, cwd: Path, environ: Mapping[str, str], can_cancel: bool = True
    ) -> tuple[int, str]:
        """Run a script as CI runs it; return its exit status and what it printed.

        Each job would have a Python of its own to install into. Here all have the same, so jobs wait for each
        other, and what is installed already is not installed again, which would take most of the time.
        """
        lines = script.splitlines()
        if any(line in INSTALLS for line in lines):
            with self.lock:
                new = [
                    line for line in lines if line in INSTALLS and (self.python, line) not in self.installed
                ]
                status, said = self._run("\n".join(new), cwd, environ, can_cancel=can_cancel)
            if status:
                return status, said
            self.installed.update((self.python, line) for line in new)
        rest = "\n".join(line for line in lines if line not in INSTALLS)
        return self._run(rest, cwd, environ, can_cancel=can_cancel)

    def _run(
        self, script: str, cwd: Path, environ: Mapping[str, str], *, can_cancel: bool
    ) -> tuple[int, str]:
        with subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=cwd,
            env={**self.environ, **environ, "PASSMUSTER": self.environ.get("PASSMUSTER", "")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            stopper = threading.Thread(target=self._stop_when_cancelled, args=(process,))
            if can_cancel and self.cancelled_by is not None:
                stopper.start()
            try:
                output, _ = process.communicate(timeout=STEP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                output += "\n(the step hung)"
            if stopper.ident is not None:
                stopper.join()
        return process.returncode, output

    @property
    def is_cancelled(self) -> bool:
        """Whether the run has been cancelled."""
        return self.cancelled_by is not None and self.cancelled_by.exists()

    def _stop_when_cancelled(self, process: subprocess.Popen[str]) -> None:
        """Interrupt a step once the run is cancelled, and nothing but its first process, as GitHub does."""
        while process.poll() is None:
            if self.is_cancelled:
                process.send_signal(signal.SIGINT)
                return
            time.sleep(0.05)

    def save_artifact(self, name: str, workspace: Path, paths: Sequence[str], *, hidden: bool = True) -> bool:
        """Keep files below their common folder; return whether there are any."""
        found = [workspace / path for path in paths]
        tops = [path if path.is_dir() else path.parent for path in found]
        root = Path(os.path.commonpath(tops))
        files = [file for path in found for file in files_at(path)]
        if not hidden:
            files = [
                file for file in files if not any(part[0] == "." for part in file.relative_to(root).parts)
            ]
        if not files:
            return False
        folder = self.folder("artifact")
        copy(files, root, folder)
        with self.lock:
            self.artifacts[name] = folder
        return True

    def save_cache(self, key: str, workspace: Path, paths: Sequence[str]) -> None:
        """Keep files under a key; what is kept under it stays."""
        files = [file for path in paths for file in files_at(workspace / path)]
        if not files or any(cached.key == key for cached in self.caches):
            return
        folder = self.folder("cache")
        copy(files, workspace, folder)
        self.caches.append(Cached(key=key, paths=tuple(paths), folder=folder))

    def restore_cache(self, keys: Sequence[str], workspace: Path, paths: Sequence[str]) -> None:
        """Bring back the newest entry of the same paths under the first key, or else the newest that
        starts with another."""
        fitting = [cached for cached in reversed(self.caches) if cached.paths == tuple(paths)]
        for number, key in enumerate(keys):
            for cached in fitting:
                if cached.key == key or (number and cached.key.startswith(key)):
                    copy(files_at(cached.folder), cached.folder, workspace)
                    return


def files_at(path: Path) -> list[Path]:
    """Return a file, or all files below a folder."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())


def copy(files: Sequence[Path], root: Path, target: Path) -> None:
    """Copy files, which lie below a root, to the same places below another."""
    for file in files:
        place = target / file.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)


def only_known(what: str, found: Mapping[str, object], known: set[str]) -> None:
    """Refuse a mapping that holds other keys than those that are known."""
    unknown = sorted(found.keys() - known)
    if unknown:
        raise UnknownFeatureError(f"{what}: {', '.join(unknown)}")
