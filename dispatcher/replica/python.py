"""Finds the Python version that a workflow sets up, for a project without its own environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from dispatcher.config.load import load_config
from passmuster.host.interpreter import ProjectInterpreter, find_interpreter
from passmuster.host.interpreter_probe import ProbeError, probe
from passmuster.launch.environment import base_python


class ChosenPython(Struct, frozen=True, kw_only=True):
    """The interpreter of a call.

    Args:
        arguments: make `run_tests.py` use it.
        description: for the report.
    """

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
        wanted: the version in CI, such as `3.12` or `3.12.4`.

    Raises:
        ConfigurationError: the arguments, the settings or the project's interpreter are wrong.
    """
    config = load_config(arguments, environ, folder).config
    own = find_interpreter(config.python, config.root, environ)
    if _fits(own.build.version, wanted):
        return ChosenPython(arguments=(), description=f"Python {_shown(own)}, as in CI", is_the_same=True)
    if own.path == base_python():
        for path in _installed(wanted, environ):
            try:
                version = probe(path, environ).version
            except ProbeError:
                continue
            if _fits(version, wanted):
                number = ".".join(map(str, version))
                text = f"Python {number} ({path}), as in CI, with the packages installed here"
                return ChosenPython(arguments=("--python", path), description=text, is_the_same=True)
    text = f"CI has Python {wanted}; this machine has Python {_shown(own)}"
    return ChosenPython(arguments=(), description=text, is_the_same=False)


def _fits(version: tuple[int, ...], wanted: str) -> bool:
    parts = tuple(int(part) for part in wanted.split("."))
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
