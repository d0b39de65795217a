"""Asks interpreters for their version, pytest, packages and coverage, each within a time limit.

What is asked may not even be Python. The answers about version, pytest, and content are cached in a file; if
it is broken, missing or not writable, the only cost is one more probe.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.host.state_directory import write_cache
from passmuster.model.process_limit import require_process

PROBE_TIMEOUT_S = 20.0
"""Seconds to wait for an answer: a cold start over a network file system takes a few."""

FILE_NAME = "interpreters.json"

_MAX_ENTRIES = 32
_MAX_CACHE_BYTES = 65536

_MAX_OUTPUT_BYTES = 65536
"""What is read before giving up: wrappers print a little first, a program such as `yes` never ends."""

_BUILD_CODE = """
import sys
print("passmuster-probe", sys.implementation.name, sys.implementation.cache_tag, *sys.version_info[:3])
"""
_BUILD = re.compile(rb"^passmuster-probe (\w+) (\S+) (\d+) (\d+) (\d+)\r?$", re.MULTILINE)

# With the site hooks this time: they say where packages are.
_PYTEST_CODE = """
import json, os, sys
from importlib.machinery import PathFinder
sys.path[:1] = [os.getcwd()]
version = ''
if PathFinder.find_spec('pytest') is not None:
    from importlib import metadata
    try:
        version = metadata.version('pytest')
    except Exception:
        version = '?'
print('\\npassmuster-pytest', json.dumps([version, [os.path.abspath(folder) for folder in sys.path]]))
"""
_PYTEST = re.compile(rb"^passmuster-pytest (\[.*\])\r?$", re.MULTILINE)

_PACKAGES_CODE = """
import hashlib
from importlib.metadata import distributions
found = sorted({f"{one.metadata['Name']}=={one.version}".lower() for one in distributions()})
print("passmuster-packages", hashlib.sha256("\\n".join(found).encode("utf-8", "surrogateescape")).hexdigest())
"""
_PACKAGES = re.compile(rb"^passmuster-packages (\w+)\r?$", re.MULTILINE)

# Of installed packages everything that is installed, by the digests in their RECORDs, and where links lead.
_CONTENT_CODE = """
import glob, hashlib, json, os, sys
digest = hashlib.sha256()
folders = [os.path.abspath(one) for one in sys.path[1:] if os.path.isdir(one)]
links = []
for folder in folders:
    for pattern in ("*-info/RECORD", "*-info/PKG-INFO", "*.pth", "*.egg-link"):
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), pattern))):
            if not path.endswith(("/RECORD", "/PKG-INFO")):
                links.append(path)
            try:
                with open(path, "rb") as file:
                    digest.update(os.path.basename(path).encode() + file.read())
            except OSError:
                continue
print("\\npassmuster-content", json.dumps([digest.hexdigest()[:20], folders + links]))
"""
_CONTENT = re.compile(rb"^passmuster-content (\[.*\])\r?$", re.MULTILINE)

# Not from the current folder: a folder of reports called `coverage` must not pass for the package.
_COVERAGE_CODE = """
import sys
sys.path[:] = [one for one in sys.path if one]
import coverage
coverage.Coverage
print("passmuster-coverage")
"""
_COVERAGE = re.compile(rb"^passmuster-coverage\r?$", re.MULTILINE)


class ProbeError(Exception):
    """An interpreter cannot be used; the message is a fragment that follows its path."""


class PythonBuild(Struct, frozen=True, kw_only=True):
    """The properties of an interpreter that do not depend on its packages."""

    version: tuple[int, int, int]
    implementation: str
    """Its `sys.implementation.name` (`cpython`)."""
    cache_tag: str
    """Its `sys.implementation.cache_tag` (`cpython-311`), part of the names of compiled modules."""


class InstalledPytest(Struct, frozen=True, kw_only=True):
    """The pytest that an interpreter would import in one directory."""

    version: str
    """Such as `8.4.1`; `?`: it does not report one; empty: it is not installed."""
    search_path: tuple[str, ...]
    """The directories that were searched, absolute."""


class _Reply(Struct, frozen=True):
    match: re.Match[bytes] | None
    output: bytes
    """What was printed up to the answer."""
    is_late: bool


def probe(
    path: str,
    environ: Mapping[str, str],
    *,
    cache_dir: Path | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> PythonBuild:
    """Return the version of the interpreter at `path`, from the cache while its file is unchanged.

    Args:
        cache_dir: the directory of `interpreters.json`; None: do not cache.

    Raises:
        ProbeError: the program at `path` is not Python, or did not answer in time.
        InfrastructureError: no process can be started, which says nothing about the interpreter.
    """
    key = _program_key(path)
    match _load_entry(cache_dir, key):
        case [str(name), str(tag), int(major), int(minor), int(micro)]:
            return PythonBuild(version=(major, minor, micro), implementation=name, cache_tag=tag)
    try:
        # `-I -S` keeps the environment's variables and site hooks from printing or failing first.
        reply = _ask([path, "-I", "-S", "-c", _BUILD_CODE], environ, _BUILD, timeout_s=timeout_s)
    except OSError as error:
        require_process(error, path)
        raise ProbeError(f"cannot be started ({error.strerror})") from error
    if reply.match is None:
        raise ProbeError(
            f"did not answer within {timeout_s:g} s"
            if reply.is_late
            else "does not answer as a Python interpreter does"
        )
    name, tag, *numbers = (group.decode() for group in reply.match.groups())
    major, minor, micro = map(int, numbers)
    _store_entry(cache_dir, key, [name, tag, major, minor, micro])
    return PythonBuild(version=(major, minor, micro), implementation=name, cache_tag=tag)


def probe_pytest(
    path: str, environ: Mapping[str, str], workdir: Path, *, cache_dir: Path | None = None
) -> InstalledPytest | None:
    """Return the pytest that `path -m pytest` would run in `workdir`, from the cache while no package was
    installed since; None: the interpreter gave no answer.

    Args:
        cache_dir: the directory of `interpreters.json`; None: do not cache.
    """
    found = _probe_installed("pytest", path, _PYTEST_CODE, environ, _PYTEST, cache_dir=cache_dir, cwd=workdir)
    return InstalledPytest(version=found[0], search_path=found[1]) if found is not None else None


def probe_content(path: str, environ: Mapping[str, str], *, cache_dir: Path | None = None) -> str:
    """Return a digest of the content of all installed packages; empty: the interpreter gave no answer.

    It comes from the cache while no package was installed, and no link to another folder changed since.

    Args:
        cache_dir: the directory of `interpreters.json`; None: do not cache.
    """
    found = _probe_installed("content", path, _CONTENT_CODE, environ, _CONTENT, cache_dir=cache_dir)
    return found[0] if found is not None else ""


def _probe_installed(
    question: str,
    path: str,
    code: str,
    environ: Mapping[str, str],
    pattern: re.Pattern[bytes],
    *,
    cache_dir: Path | None,
    cwd: Path | None = None,
) -> tuple[str, tuple[str, ...]] | None:
    """Return an answer about what is installed, and the places that it depends on, from the cache while none
    of them changed; None: the interpreter gave no answer.

    Args:
        question: distinguishes the entries of the cache.
        cwd: where the interpreter starts; None: in the current directory.
    """
    key = _program_key(path)
    if key is not None:
        variables = sorted((name, value) for name, value in environ.items() if name.startswith("PYTHON"))
        key = f"{question}|{path}|{key}|{cwd}|{variables}"
    match _load_entry(cache_dir, key):
        case [str(answer), dict(times)] if all(_mtime_ns(place) == times[place] for place in times):
            return answer, tuple(times)
    try:
        reply = _ask([path, "-c", code], environ, pattern, cwd=cwd)
        content: object = json.loads(reply.match[1]) if reply.match is not None else None
    except (OSError, ValueError):
        return None
    match content:
        case [str(answer), [*found]]:
            places = tuple(map(str, found))
        case _:
            return None
    # The project's own directory changes with every run, and only pytest's own project has pytest in it.
    times = {place: _mtime_ns(place) for place in places if place != str(cwd)}
    _store_entry(cache_dir, key, [answer, times])
    return answer, places


def probe_packages(path: str, environ: Mapping[str, str]) -> str | None:
    """Return a short digest of the packages that an interpreter has installed; None: it gave no answer."""
    try:
        reply = _ask([path, "-I", "-c", _PACKAGES_CODE], environ, _PACKAGES)
    except OSError:
        return None
    return reply.match[1].decode()[:12] if reply.match is not None else None


def coverage_problem(path: str, environ: Mapping[str, str]) -> str | None:
    """Return why a worker's interpreter cannot measure coverage, and what to do; None: it can."""
    try:
        reply = _ask([path, "-c", _COVERAGE_CODE], environ, _COVERAGE)
    except OSError as error:
        return f"the worker's interpreter {path} cannot be executed: {error}"
    if reply.match is not None:
        return None
    said = reply.output.decode(errors="backslashreplace").strip().rpartition("\n")[2]
    return (
        f"the run measures coverage, the worker's interpreter {path} cannot ({said}): install it with"
        f" {path} -m pip install coverage, or start the worker with another --python"
    )


def _ask(
    command: Sequence[str],
    environ: Mapping[str, str],
    pattern: re.Pattern[bytes],
    *,
    timeout_s: float = PROBE_TIMEOUT_S,
    cwd: Path | None = None,
) -> _Reply:
    """Run a command until it prints a line that matches. No process that it started survives.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=dict(environ),
        start_new_session=True,
    )
    assert process.stdout is not None  # we asked for a pipe
    try:
        output, is_late = _read(process.stdout.fileno(), pattern, timeout_s=timeout_s)
    finally:
        # The process has its own session, so this also kills what it started.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    return _Reply(pattern.search(output), output, is_late)


def _read(descriptor: int, pattern: re.Pattern[bytes], *, timeout_s: float) -> tuple[bytes, bool]:
    """Return what was printed up to the answer, and whether the time ran out."""
    deadline = time.monotonic() + timeout_s
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    output = b""
    while len(output) < _MAX_OUTPUT_BYTES:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not poller.poll(remaining_s * 1000):
            return output, True
        chunk = os.read(descriptor, 4096)
        output += chunk
        # Not waiting for the end: something it started may hold the pipe open.
        if not chunk or (chunk.endswith(b"\n") and pattern.search(output)):
            break
    return output, False


def _program_key(path: str) -> str | None:
    """Return a key that changes whenever the program does; None if there is none.

    A script in place of an interpreter (pyenv's, for example) may choose another one tomorrow without
    changing itself, so its answer is not cached.
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


def _mtime_ns(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return -1


def _load_entry(directory: Path | None, key: str | None) -> object:
    return None if directory is None or key is None else _load_entries(directory).get(key)


def _load_entries(directory: Path) -> dict[str, object]:
    try:
        with open(directory / FILE_NAME, "rb") as file:
            content: object = json.loads(file.read(_MAX_CACHE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _store_entry(directory: Path | None, key: str | None, entry: object) -> None:
    """Store an entry as the newest."""
    if directory is None or key is None:
        return
    entries = _load_entries(directory)
    entries.pop(key, None)
    entries[key] = entry
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
    write_cache(directory / FILE_NAME, json.dumps(dict(list(entries.items())[-_MAX_ENTRIES:])))
