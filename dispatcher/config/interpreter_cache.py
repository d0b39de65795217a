"""Remembers what interpreters answered, so that a run does not start one only to ask its version.

The file is a convenience: broken, missing or not writable, it costs one probe and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from dispatcher.config.interpreter_probe import Answer, InstalledPytest, probe, probe_pytest

FILE_NAME = "interpreters.json"
_MOST_ENTRIES = 32
_MOST_BYTES = 65536


def ask_once(path: str, environ: Mapping[str, str], *, cache_dir: Path | None) -> Answer:
    """Return the answer of the interpreter `path`, from the cache when the file is still the same.

    Args:
        path: the interpreter, absolute.
        environ: the environment in which it is asked.
        cache_dir: where `interpreters.json` lies; None: it is asked every time.
    """
    key = _key(path)
    if cache_dir is None or key is None:
        return probe(path, environ)
    entries = _load(cache_dir / FILE_NAME)
    known = _answer(entries.get(key))
    if known is not None:
        return known
    answer = probe(path, environ)
    if not answer.problem:
        entries.pop(key, None)
        entries[key] = [answer.implementation, *answer.version]
        _store(cache_dir, dict(list(entries.items())[-_MOST_ENTRIES:]))
    return answer


def ask_pytest_once(
    path: str, environ: Mapping[str, str], workdir: Path, *, cache_dir: Path | None
) -> InstalledPytest | None:
    """Return which pytest `path -m pytest` would run, from the cache while nothing was installed since.

    Args:
        path: the interpreter, absolute.
        environ: the environment in which it is asked.
        workdir: where it is asked.
        cache_dir: where `interpreters.json` lies; None: it is asked every time.
    """
    key = _key(path)
    if cache_dir is None or key is None:
        return probe_pytest(path, environ, workdir)
    variables = sorted((name, value) for name, value in environ.items() if name.startswith("PYTHON"))
    key = f"pytest|{path}|{key}|{workdir}|{variables}"
    entries = _load(cache_dir / FILE_NAME)
    match entries.get(key):
        case [str(version), dict(times)] if all(_mtime_ns(folder) == times[folder] for folder in times):
            return InstalledPytest(version=version, search_path=tuple(times))
    answer = probe_pytest(path, environ, workdir)
    if answer is not None:
        entries.pop(key, None)
        # The project's own folder changes with every run, and holds no pytest but in pytest's own project.
        folders = [folder for folder in answer.search_path if folder != str(workdir)]
        entries[key] = [answer.version, {folder: _mtime_ns(folder) for folder in folders}]
        _store(cache_dir, dict(list(entries.items())[-_MOST_ENTRIES:]))
    return answer


def _mtime_ns(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return -1


def _key(path: str) -> str | None:
    """Return what changes whenever the program does; None when nothing of the kind is known.

    A script that stands for an interpreter (pyenv's, for example) may choose another one tomorrow
    without changing itself, so what it answered is not kept.
    """
    real = os.path.realpath(path)
    try:
        with open(real, "rb") as program:
            if program.read(2) == b"#!":
                return None
            status = os.fstat(program.fileno())
    except OSError:
        return None
    return f"{real}|{status.st_mtime_ns}|{status.st_size}"


def _load(path: Path) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            content: object = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _answer(entry: object) -> Answer | None:
    match entry:
        case [str(name), int(major), int(minor), int(micro)]:
            return Answer(version=(major, minor, micro), implementation=name)
        case _:
            return None


def _store(directory: Path, entries: Mapping[str, object]) -> None:
    """Replace the file in one step: two runs at once may both do it, and either's file is whole."""
    temporary = directory / f".{FILE_NAME}.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(entries), encoding="utf-8")
        temporary.replace(directory / FILE_NAME)
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
