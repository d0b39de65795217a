"""Finds the Python version that a workflow sets up, for a project without its own environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, structs

from dispatcher.config.load import load_config
from passmuster.host.interpreter import ProjectInterpreter, find_interpreter
from passmuster.host.interpreter_probe import ProbeError, probe
from passmuster.launch.environment import base_python
from passmuster.model.errors import ConfigurationError


class ChosenPython(Struct, frozen=True, kw_only=True):
    """The interpreter of a call, and the arguments that make `run_tests.py` use it."""

    path: str
    arguments: tuple[str, ...]
    description: str
    is_the_same: bool


def choose_python(
    wanted: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    *,
    folder: Path,
) -> ChosenPython:
    """Return the Python to use for a call.

    A project's own environment stays in use whatever its version, because it contains the project's packages.

    Args:
        wanted: the version in CI, such as `3.12` or `3.12.4`; empty: any.

    Raises:
        ConfigurationError: the arguments, the settings or the project's interpreter are wrong.
    """
    config = load_config(arguments, environ, folder).config
    own = find_interpreter(config.python, config.root, environ)
    if _fits(own.build.version, wanted):
        text = f"Python {_shown(own)}{', as in CI' if wanted else ''}"
        return ChosenPython(path=own.path, arguments=(), description=text, is_the_same=True)
    base = find_base_python(wanted, environ) if own.path == base_python() else None
    if base is not None and base.is_the_same:
        return structs.replace(base, description=f"{base.description}, with the packages installed here")
    text = f"CI has Python {wanted}; this machine has Python {_shown(own)}"
    return ChosenPython(path=own.path, arguments=(), description=text, is_the_same=False)


def find_base_python(wanted: str, environ: Mapping[str, str]) -> ChosenPython:
    """Return an installed Python of a version, or the one that runs this program; no virtual environment.

    Args:
        wanted: the version; empty: any.
    """
    own = base_python()
    for path in (own, *_installed(wanted, environ)) if wanted else (own,):
        try:
            version = probe(path, environ).version
        except ProbeError:
            continue
        if _fits(version, wanted):
            number = ".".join(map(str, version))
            text = f"Python {number} ({path}){', as in CI' if wanted else ''}"
            return ChosenPython(path=path, arguments=("--python", path), description=text, is_the_same=True)
    text = (
        f"CI has Python {wanted}; this machine has Python {'.'.join(map(str, sys.version_info[:3]))} ({own})"
    )
    return ChosenPython(path=own, arguments=("--python", own), description=text, is_the_same=False)


def version_here(root: Path, environ: Mapping[str, str], *, is_private: bool) -> str:
    """Return the version of the Python that would run the tests, such as `3.12`; empty: none that works.

    Args:
        is_private: whether a new environment is made, and the project's own does not count.
    """
    try:
        version = (
            probe(base_python(), environ).version
            if is_private
            else find_interpreter(None, root, environ).build.version
        )
    except (ProbeError, ConfigurationError):
        return ""
    return ".".join(map(str, version[:2]))


def _fits(version: tuple[int, ...], wanted: str) -> bool:
    parts = tuple(int(part) for part in wanted.split(".") if part)
    return version[: len(parts)] == parts


def _shown(interpreter: ProjectInterpreter) -> str:
    return f"{interpreter.version} ({interpreter.path}, {interpreter.origin})"


def _installed(wanted: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the interpreters that may have a version, those of pyenv first: its shims may refuse to start."""
    minor = ".".join(wanted.split(".")[:2])
    home = environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")  # noqa: PTH111 - may have no home
    versions = Path(home) / "versions"
    found = versions.glob(f"{minor}[.-]*/bin/python")
    yield from map(str, sorted(found, key=lambda path: (len(str(path)), path), reverse=True))
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(directory or ".").absolute() / f"python{minor}"
        if os.access(path, os.X_OK):
            yield str(path)
