"""Finds the project's interpreter: the one its tests run under, which is seldom ours.

What was found is asked for its version (`interpreter_probe.py`) once, and remembered
(`interpreter_cache.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from dispatcher.config.model import TestConfig
from passmuster.errors import ConfigurationError
from passmuster.settings.locations import is_directory
from passmuster.settings.origins import NO_ORIGINS, Origins, Source
from passmuster.settings.values import on_one_line

OLDEST = (3, 9)
"""The oldest version under which the scripts that run inside the project's interpreter work."""

Version = tuple[int, int, int]

_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM"}
"""What `platform.python_implementation()` returns, by `sys.implementation.name`."""


class Interpreter(Struct, frozen=True, kw_only=True):
    """The interpreter the tests run under.

    Args:
        path: as it will be executed, absolute. Symlinks are kept: a virtual environment's `python` is
            one, and its target knows nothing of the environment.
        version: major, minor, micro.
        implementation: as `sys.implementation.name` has it (`cpython`).
        origin: why it is this one, for people to read.
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
) -> Interpreter:
    """Return the project's interpreter, and make sure that it is one and new enough.

    Args:
        config: its `python` is used, else `venv/` or `.venv/` of its root.
        environ: for `VIRTUAL_ENV` and `PATH`.
        runner_python: what is used when the project has none: the interpreter that the runner's own
            environment was made from, so that tests do not see the runner's packages.
        runner_version: the version of the runner's interpreter; it is not asked again.
        cache_dir: where answers are remembered; None: nowhere.
        origins: where the configuration's values came from, for messages.
        runner_implementation: the runner's `sys.implementation.name`.

    Raises:
        ConfigurationError: it is missing, broken, not Python, or older than 3.9.
    """
    candidate = _choose(config, environ, runner_python=runner_python, origins=origins)
    _check_executable(candidate)
    if candidate.path == runner_python:
        version, implementation = runner_version, runner_implementation
    else:
        # Only projects with an environment of their own pay for these imports.
        from dispatcher.config.interpreter_cache import ask_once

        answer = ask_once(candidate.path, environ, cache_dir=cache_dir)
        if answer.problem:
            raise _error(candidate, answer.problem)
        version, implementation = answer.version, answer.implementation
    if version[:2] < OLDEST:
        raise _error(candidate, f"is Python {'.'.join(map(str, version))}, which is too old")
    return Interpreter(
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
    """Return what the user named: a path, the folder of an environment, or a name on PATH."""
    if "/" in text:
        path = str(Path(text).absolute())
        if is_directory(path):
            return _in_environment(path, origin=origin)
        return _Candidate(path=path, origin=origin)
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = str(Path(directory or ".").absolute() / text)
        # `access` first: it only says no where a folder of PATH may not be looked into.
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
