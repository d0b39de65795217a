"""Finds the project's interpreter: the one that runs its tests, usually not the one that runs Passmuster.

The interpreter is run once to ask for its version and its pytest; it may not even be Python. The answer is
cached in a file. If the cache is broken, missing or not writable, the only cost is one more probe.
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

from dispatcher.config.model import TestConfig
from passmuster.model.errors import ConfigurationError
from passmuster.model.process_limit import require_process
from passmuster.settings.locations import is_directory
from passmuster.settings.origins import NO_ORIGINS, Origins, Source
from passmuster.settings.values import on_one_line

OLDEST = (3, 9)
"""The oldest version under which the scripts that run inside the project's interpreter work."""

Version = tuple[int, int, int]

_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM"}
"""What `platform.python_implementation()` returns, by `sys.implementation.name`."""


class ProjectInterpreter(Struct, frozen=True, kw_only=True):
    """The interpreter that runs the tests.

    Args:
        path: as it will be executed, absolute. Symlinks are kept: a virtual environment's `python` is one,
            and its target does not know the environment.
        version: major, minor, micro.
        implementation: its `sys.implementation.name` (`cpython`).
        origin: why it was chosen, for people.
    """

    path: str
    version: Version
    implementation: str
    origin: str

    @property
    def identity(self) -> str:
        """Implementation and version, as a result names them (`CPython 3.11.7`)."""
        name = _IMPLEMENTATIONS.get(self.implementation, self.implementation)
        return f"{name} {'.'.join(map(str, self.version))}"


class _Candidate(Struct, frozen=True, kw_only=True):
    path: str
    origin: str


def find_interpreter(
    config: TestConfig,
    environ: Mapping[str, str],
    *,
    runner_python: str,
    runner_version: Version,
    cache_dir: Path | None,
    origins: Origins = NO_ORIGINS,
    runner_implementation: str = "cpython",
) -> ProjectInterpreter:
    """Return the project's interpreter, after checking that it is Python and new enough.

    Args:
        config: its `python` is used, else `venv/` or `.venv/` of its root.
        environ: for `VIRTUAL_ENV` and `PATH`.
        runner_python: the interpreter for a project without its own: the base of the runner's environment, so
            that tests do not see the runner's packages.
        runner_version: its version; it is not asked again.
        cache_dir: the directory for cached answers; None: there is none.
        origins: where each value of the configuration comes from, for messages.
        runner_implementation: the runner's `sys.implementation.name`.

    Raises:
        ConfigurationError: it is missing, broken, not Python, or older than 3.9.
    """
    candidate = _choose(config, environ, runner_python=runner_python, origins=origins)
    _check_executable(candidate)
    if candidate.path == runner_python:
        version, implementation = runner_version, runner_implementation
    else:
        # Imported only for a project with its own environment.

        answer = ask_once(candidate.path, environ, cache_dir=cache_dir)
        if answer.problem:
            raise _error(candidate, answer.problem)
        version, implementation = answer.version, answer.implementation
    if version[:2] < OLDEST:
        raise _error(candidate, f"is Python {'.'.join(map(str, version))}, which is too old")
    return ProjectInterpreter(
        path=candidate.path, version=version, implementation=implementation, origin=candidate.origin
    )


def _choose(
    config: TestConfig, environ: Mapping[str, str], *, runner_python: str, origins: Origins
) -> _Candidate:
    if config.python is not None:
        origin = origins["python"]
        is_ours = origin.source is Source.DEFAULT
        return _named(config.python, environ, origin="the configuration" if is_ours else origin.name)
    for name in ("venv", ".venv"):
        directory = str(Path(config.root).absolute() / name)
        # A package of the project may be called venv too: only what looks like an environment counts.
        if _looks_like_environment(directory):
            return _in_environment(directory, origin=f"{name}/ of the root")
    active = environ.get("VIRTUAL_ENV")
    if active:
        return _in_environment(str(Path(active).absolute()), origin="VIRTUAL_ENV")
    return _Candidate(path=runner_python, origin="the runner's own interpreter")


def _named(text: str, environ: Mapping[str, str], *, origin: str) -> _Candidate:
    """Return what the user named: a path, the directory of an environment, or a name on PATH."""
    if "/" in text:
        path = str(Path(text).absolute())
        if is_directory(path):
            return _in_environment(path, origin=origin)
        return _Candidate(path=path, origin=origin)
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = str(Path(directory or ".").absolute() / text)
        # `access` first: for an unreadable directory of PATH it returns False instead of raising.
        if os.access(path, os.X_OK) and Path(path).is_file():
            return _Candidate(path=path, origin=f"{origin}, found on PATH")
    raise ConfigurationError(
        f"interpreter {text!r} (from {origin}) is not on PATH: name its path, or another interpreter"
    )


def _looks_like_environment(directory: str) -> bool:
    is_dangling = os.path.lexists(directory) and not os.access(directory, os.F_OK)
    return is_dangling or any(
        os.path.lexists(f"{directory}/{name}") for name in ("pyvenv.cfg", "bin/python", "bin/python3")
    )


def _in_environment(directory: str, *, origin: str) -> _Candidate:
    """Return the interpreter of a virtual environment, which may turn out to be broken."""
    for name in ("bin/python", "bin/python3"):
        if os.path.lexists(f"{directory}/{name}"):
            return _Candidate(path=f"{directory}/{name}", origin=origin)
    if is_directory(directory):
        raise ConfigurationError(
            f"{on_one_line(directory)} (from {origin}) holds no bin/python: "
            "create the virtual environment again, or name an interpreter with --python"
        )
    return _Candidate(path=directory, origin=origin)


def _check_executable(candidate: _Candidate) -> None:
    path = Path(candidate.path)
    try:
        if path.is_file():
            if not os.access(path, os.X_OK):
                raise _error(candidate, "is not executable")
            return
        is_something = path.exists()
    except OSError as error:
        raise _error(candidate, f"cannot be read: {error.strerror}") from error
    if is_something:
        raise _error(candidate, "is not a file")
    if path.is_symlink():
        raise _error(candidate, f"is a broken link to {on_one_line(str(path.readlink()))}")
    raise _error(candidate, "does not exist")


def _error(candidate: _Candidate, what: str) -> ConfigurationError:
    oldest = ".".join(map(str, OLDEST))
    return ConfigurationError(
        f"interpreter {on_one_line(candidate.path)} (from {candidate.origin}) {what}: "
        f"expected Python {oldest} or later; name one with --python"
    )


PROBE_TIMEOUT_S = 20.0
"""Seconds to wait for an answer: a cold start over a network file system takes a few."""

_MAX_OUTPUT_BYTES = 65536
"""What is read before giving up: wrappers print a little first, a program such as `yes` never ends."""

# `-I -S` keeps the environment's variables and site hooks from printing or failing first.
_COMMAND = (
    "-I",
    "-S",
    "-c",
    "import sys; print('passmuster-probe', sys.implementation.name, *sys.version_info[:3])",
)
_ANSWER = re.compile(rb"^passmuster-probe (\w+) (\d+) (\d+) (\d+)\r?$", re.MULTILINE)

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


class ProbeResult(Struct, frozen=True, kw_only=True):
    """The answer of an interpreter.

    Args:
        version: major, minor, micro; zeros if there is a problem.
        implementation: its `sys.implementation.name`; empty if there is a problem.
        problem: a fragment that follows the path in a message; empty: none.
    """

    version: tuple[int, int, int] = (0, 0, 0)
    implementation: str = ""
    problem: str = ""


def probe(path: str, environ: Mapping[str, str], *, timeout_s: float = PROBE_TIMEOUT_S) -> ProbeResult:
    """Run `path` and return its answer, within `timeout_s` seconds. No process that it started survives.

    Raises:
        InfrastructureError: no process can be started, which says nothing about the interpreter.
    """
    try:
        match, is_late = _ask([path, *_COMMAND], environ, _ANSWER, timeout_s=timeout_s)
    except OSError as error:
        require_process(error, path)
        return ProbeResult(problem=f"cannot be started ({error.strerror})")
    if match is not None:
        version = (int(match[2]), int(match[3]), int(match[4]))
        return ProbeResult(version=version, implementation=match[1].decode())
    if is_late:
        return ProbeResult(problem=f"did not answer within {timeout_s:g} s")
    return ProbeResult(problem="does not answer as a Python interpreter does")


class InstalledPytest(Struct, frozen=True, kw_only=True):
    """The pytest of an interpreter.

    Args:
        version: such as `8.4.1`; `?`: it does not report one; empty: it is not installed.
        search_path: the directories that were searched, absolute.
    """

    version: str
    search_path: tuple[str, ...]


def probe_pytest(
    path: str, environ: Mapping[str, str], workdir: Path, *, timeout_s: float = PROBE_TIMEOUT_S
) -> InstalledPytest | None:
    """Return the pytest that `path -m pytest` would run in a directory; None: it gave no answer.

    Args:
        path: the interpreter, which is a Python.
        workdir: the current directory of the probe.
        timeout_s: seconds to wait.
    """
    try:
        match, _ = _ask([path, "-c", _PYTEST_CODE], environ, _PYTEST, timeout_s=timeout_s, cwd=workdir)
        content: object = json.loads(match[1]) if match is not None else None
    except (OSError, ValueError):
        return None
    match content:
        case [str(version), [*folders]]:
            return InstalledPytest(version=version, search_path=tuple(map(str, folders)))
        case _:
            return None


def _ask(
    command: Sequence[str],
    environ: Mapping[str, str],
    pattern: re.Pattern[bytes],
    *,
    timeout_s: float,
    cwd: Path | None = None,
) -> tuple[re.Match[bytes] | None, bool]:
    """Run a command until it prints a line that matches; return the match and whether the time ran out.

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
    return pattern.search(output), is_late


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


FILE_NAME = "interpreters.json"
_MAX_ENTRIES = 32
_MAX_CACHE_BYTES = 65536


def ask_once(path: str, environ: Mapping[str, str], *, cache_dir: Path | None) -> ProbeResult:
    """Return the answer of the interpreter `path`, from the cache while the file is unchanged.

    Args:
        path: absolute.
        cache_dir: the directory of `interpreters.json`; None: do not cache.
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
        _store(cache_dir, dict(list(entries.items())[-_MAX_ENTRIES:]))
    return answer


def ask_pytest_once(
    path: str, environ: Mapping[str, str], workdir: Path, *, cache_dir: Path | None
) -> InstalledPytest | None:
    """Return the pytest that `path -m pytest` would run, from the cache while no package was installed since.

    Args:
        path: absolute.
        workdir: the current directory of the probe.
        cache_dir: the directory of `interpreters.json`; None: do not cache.
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
        # The project's own directory changes with every run, and only pytest's own project has pytest in it.
        folders = [folder for folder in answer.search_path if folder != str(workdir)]
        entries[key] = [answer.version, {folder: _mtime_ns(folder) for folder in folders}]
        _store(cache_dir, dict(list(entries.items())[-_MAX_ENTRIES:]))
    return answer


def _mtime_ns(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return -1


def _key(path: str) -> str | None:
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


def _load(path: Path) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            content: object = json.loads(file.read(_MAX_CACHE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _answer(entry: object) -> ProbeResult | None:
    match entry:
        case [str(name), int(major), int(minor), int(micro)]:
            return ProbeResult(version=(major, minor, micro), implementation=name)
        case _:
            return None


def _store(directory: Path, entries: Mapping[str, object]) -> None:
    """Replace the file in one step: two runs may do so at once, and either file is complete."""
    temporary = directory / f".{FILE_NAME}.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(entries), encoding="utf-8")
        temporary.replace(directory / FILE_NAME)
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
