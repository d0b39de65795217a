"""Caches what pytest collected, and detects whether it may have changed.

An answer depends on names in the listed directories, on the configuration, on the conftests with all project
modules that they import, on the installed packages, and on variables. The state of each is stored with the
answer. If an answer depends on anything else, such as the time of day, remove `.passmuster/collected`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, ValidationError, convert, field, to_builtins

from dispatcher.discovery.project_signs import CONFIGURATION_FILES
from dispatcher.discovery.run_options import ProjectOption
from passmuster.host.state_directory import write_cache
from passmuster.model.version import VERSION

FOLDER = "collected"
"""Below `.passmuster/`; a file for each question."""

_MAX_ANSWERS = 16

_SETTLED_S = 2.0
"""A directory that changed less than this before its listing may change again within the same clock tick."""

_PASSING_NAMES = frozenset(
    ("__pycache__", ".passmuster", ".git", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache")
)
"""Entries of a folder that come and go with runs and hold no tests."""

_PASSING_VARIABLES = frozenset(("_", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES", "TMPDIR", "TERM"))
"""Variables that change from call to call and that no conftest depends on."""


class PytestAnswer(Struct, frozen=True, kw_only=True):
    """What pytest collects.

    Args:
        files: absolute paths, in pytest's order.
        errors: what it could not collect, a line each.
        inifile: its configuration file, absolute; empty: none.
        folders: the listed directories, with the modification time before the listing, in nanoseconds.
        modules: files of the project that were imported for it.
        reads_environment: whether one of the modules may depend on a variable.
    """

    files: tuple[str, ...]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    options: tuple[ProjectOption, ...] = ()
    inifile: str = ""
    folders: Mapping[str, int]
    modules: tuple[str, ...] = ()
    search_path: tuple[str, ...] = field(default=(), name="path")
    reads_environment: bool = False


def read_answer(content: object) -> PytestAnswer | None:
    """Return what the child wrote; None if it is not an answer."""
    try:
        return convert(content, PytestAnswer)
    except (ValidationError, UnicodeEncodeError):
        return None


class AnswerCache:
    """The cached answer to one question.

    Args:
        state_dir: `.passmuster/` of the root; None: nothing is cached.
        paths: the paths that it is asked about; empty: everything.
    """

    def __init__(
        self,
        state_dir: Path | None,
        python: str,
        environment: Mapping[str, str],
        *,
        workdir: Path,
        paths: Sequence[str],
    ) -> None:
        self._environment, self._workdir = environment, str(workdir)
        own = {name: value for name, value in environment.items() if name.startswith(("PYTEST", "PYTHON"))}
        real = os.path.realpath(python)
        question = (VERSION, python, real, _stamp(real), self._workdir, list(paths), sorted(own.items()))
        name = hashlib.sha256(repr(question).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self._file = None if state_dir is None else state_dir / FOLDER / f"{name}.json"

    def load(self) -> PytestAnswer | None:
        """Return the answer if everything it depends on is unchanged; None: ask pytest."""
        if self._file is None:
            return None
        try:
            content = json.loads(self._file.read_bytes())
            answer = read_answer(content)
            is_same = answer is not None and (
                content["environment"] == self._digest_environment(answer)
                and content["stamps"] == self._stamps(answer)
                and self._same_folders(content, answer)
            )
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return answer if is_same else None

    def store(self, answer: PytestAnswer) -> None:
        """Store an answer, unless a directory changed meanwhile; a failure only costs time."""
        if self._file is None or answer.errors:
            return
        listings = {}
        for folder, mtime_ns in answer.folders.items():
            if _mtime_ns(folder) != mtime_ns:
                return
            listings[folder] = _listing(folder)
        content = {
            **to_builtins(answer),
            "environment": self._digest_environment(answer),
            "stamps": self._stamps(answer),
            "listings": listings,
            "listed_at_ns": time.time_ns(),
        }
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            write_cache(self._file, json.dumps(content))
            _prune(self._file.parent)

    def _digest_environment(self, answer: PytestAnswer) -> str:
        """Return a digest of the variables that the project's modules may read."""
        if not answer.reads_environment:
            return ""
        kept = sorted(item for item in self._environment.items() if item[0] not in _PASSING_VARIABLES)
        return hashlib.sha256(repr(kept).encode("utf-8", "surrogatepass")).hexdigest()

    def _stamps(self, answer: PytestAnswer) -> list[list[object]]:
        """Return size and time of each relevant file (None: missing), and the time of directories."""
        stamps: list[list[object]] = [[path, _stamp(path)] for path in self._deciding_files(answer)]
        stamps += [[path, _mtime_ns(path)] for path in answer.search_path if self._holds_packages(path)]
        return stamps

    def _deciding_files(self, answer: PytestAnswer) -> list[str]:
        files = dict.fromkeys((*answer.modules, answer.inifile) if answer.inifile else answer.modules)
        for folder in (self._workdir, *map(str, Path(self._workdir).parents)):
            files.update(dict.fromkeys(f"{folder}/{name}" for name in CONFIGURATION_FILES))
        # A directory above the listed ones may get a conftest, which no listing would show.
        above = {parent for folder in answer.folders for parent in _upwards(folder, self._workdir)}
        files.update(dict.fromkeys(f"{folder}/conftest.py" for folder in sorted(above)))
        return list(files)

    def _holds_packages(self, path: str) -> bool:
        """Whether a directory of the search path contains installed packages, not the project itself."""
        return not path.startswith(self._workdir) or path.endswith("-packages")

    def _same_folders(self, content: Mapping[str, Any], answer: PytestAnswer) -> bool:
        listings, listed_at_ns = content["listings"], content["listed_at_ns"]
        for folder, mtime_ns in answer.folders.items():
            is_settled = mtime_ns < listed_at_ns - _SETTLED_S * 1e9
            if is_settled and _mtime_ns(folder) == mtime_ns:
                continue
            if _listing(folder) != listings[folder]:
                return False
        return True


def _upwards(folder: str, top: str) -> Iterable[str]:
    """Yield the directories above `folder`, without itself, up to `top`."""
    while folder != top and folder.startswith(top):
        folder = os.path.dirname(folder)  # noqa: PTH120 - of each folder of the project.
        yield folder


def _stamp(path: str) -> list[int] | None:
    """Return modification time and size of a file; None: it is missing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - for many files; a path object costs more than the call.
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]


def _mtime_ns(path: str) -> int:
    stamp = _stamp(path)
    return -1 if stamp is None else stamp[0]


def _listing(folder: str) -> str:
    """Return a digest of a directory's entries, without those that come and go with runs."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                (entry.name, entry.is_dir())
                for entry in entries
                if entry.name not in _PASSING_NAMES and not entry.name.startswith(".coverage")
            )
    except OSError:
        return ""
    return hashlib.sha256(repr(names).encode("utf-8", "surrogatepass")).hexdigest()


def _prune(folder: Path) -> None:
    """Keep the newest answers."""
    answers = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in answers[_MAX_ANSWERS:]:
        path.unlink(missing_ok=True)
