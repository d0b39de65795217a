"""Finds the project's interpreter: the one that runs its tests, usually not the one that runs Passmuster."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from passmuster.host.interpreter_probe import ProbeError, PythonBuild, probe
from passmuster.launch.environment import base_python, private_python
from passmuster.model.errors import ConfigurationError
from passmuster.settings.origins import DEFAULT, Origin
from passmuster.settings.path_resolver import is_directory
from passmuster.settings.values import on_one_line

OLDEST = (3, 9)
"""The oldest version under which the scripts that run inside the project's interpreter work."""

_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM"}
"""What `platform.python_implementation()` returns, by `sys.implementation.name`."""


_OWN_BUILD = PythonBuild(
    version=sys.version_info[:3],
    implementation=sys.implementation.name,
    cache_tag=str(sys.implementation.cache_tag),
)


class ProjectInterpreter(Struct, frozen=True, kw_only=True):
    """The interpreter that runs the tests."""

    path: str
    """Absolute. Symlinks are kept: a virtual environment's `python` is one, and its target does not know the
    environment."""
    origin: str
    """Why it was chosen, as messages say it."""
    build: PythonBuild

    @property
    def version(self) -> str:
        """The version with all its numbers (`3.11.7`)."""
        return ".".join(map(str, self.build.version))

    @property
    def identity(self) -> str:
        """Implementation and version, as a result names them (`CPython 3.11.7`)."""
        implementation = self.build.implementation
        return f"{_IMPLEMENTATIONS.get(implementation, implementation)} {self.version}"


def find_interpreter(
    named: str | None,
    root: Path,
    environ: Mapping[str, str],
    *,
    origin: Origin = DEFAULT,
    cache_dir: Path | None = None,
) -> ProjectInterpreter:
    """Return the project's interpreter, after checking that it is Python and new enough.

    Args:
        named: a path, the directory of a virtual environment, or a name on PATH; None: `venv/` or `.venv/` of
            the root, else $VIRTUAL_ENV, else the Python that started Passmuster.
        cache_dir: the directory for cached probe results; None: the interpreter is always asked.

    Raises:
        ConfigurationError: it is missing, broken, not Python, or older than 3.9.
    """
    path, chosen_by = _choose(named, root, environ, origin=origin)
    try:
        _check_executable(Path(path))
        is_own = path == base_python()  # It need not be asked.
        build = _OWN_BUILD if is_own else probe(path, environ, cache_dir=cache_dir)
        found = ProjectInterpreter(path=path, origin=chosen_by, build=build)
        if build.version[:2] < OLDEST:
            raise ProbeError(f"is Python {found.version}, which is too old")
    except ProbeError as error:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigurationError(
            f"interpreter {on_one_line(path)} (from {chosen_by}) {error}: "
            f"expected Python {oldest} or later; name one with --python"
        ) from error
    return found


def _choose(named: str | None, root: Path, environ: Mapping[str, str], *, origin: Origin) -> tuple[str, str]:
    """Return the path of the interpreter, and why it was chosen."""
    if named is not None:
        return _locate(named, environ, chosen_by="the setting python" if origin is DEFAULT else origin.name)
    for name in ("venv", ".venv"):
        directory = str(root.absolute() / name)
        # A package of the project may be called venv too: only what looks like an environment counts.
        if _looks_like_environment(directory):
            return _in_environment(directory, chosen_by=f"{name}/ of the root")
    active = environ.get("VIRTUAL_ENV")
    # The private environment of a checkout may be active; its packages are not the tests'.
    if active and not _is_private(Path(active)):
        return _in_environment(str(Path(active).absolute()), chosen_by="VIRTUAL_ENV")
    return base_python(), "the runner's own interpreter"


def _locate(text: str, environ: Mapping[str, str], *, chosen_by: str) -> tuple[str, str]:
    """Return what the user named: a path, the directory of an environment, or a name on PATH."""
    if "/" in text:
        path = str(Path(text).absolute())
        return _in_environment(path, chosen_by=chosen_by) if is_directory(path) else (path, chosen_by)
    found = shutil.which(text, path=environ.get("PATH", os.defpath))
    if found is None:
        raise ConfigurationError(
            f"interpreter {text!r} (from {chosen_by}) is not on PATH: name its path, or another interpreter"
        )
    return str(Path(found).absolute()), f"{chosen_by}, found on PATH"


def _looks_like_environment(directory: str) -> bool:
    is_dangling = os.path.lexists(directory) and not os.access(directory, os.F_OK)
    return is_dangling or any(
        os.path.lexists(f"{directory}/{name}") for name in ("pyvenv.cfg", "bin/python", "bin/python3")
    )


def _in_environment(directory: str, *, chosen_by: str) -> tuple[str, str]:
    """Return the interpreter of a virtual environment, which may turn out to be broken."""
    for name in ("bin/python", "bin/python3"):
        if os.path.lexists(f"{directory}/{name}"):
            return f"{directory}/{name}", chosen_by
    if is_directory(directory):
        raise ConfigurationError(
            f"{on_one_line(directory)} (from {chosen_by}) holds no bin/python: "
            "create the virtual environment again, or name an interpreter with --python"
        )
    return directory, chosen_by


def _is_private(environment: Path) -> bool:
    """Return whether an environment is the one that a checkout of Passmuster made for itself."""
    checkout = Path(__file__).parents[2]
    return environment.resolve() == Path(private_python(checkout)).parents[1].resolve()


def _check_executable(path: Path) -> None:
    try:
        if path.is_file():
            if not os.access(path, os.X_OK):
                raise ProbeError("is not executable")
            return
        is_something = path.exists()
    except OSError as error:
        raise ProbeError(f"cannot be read: {error.strerror}") from error
    if is_something:
        raise ProbeError("is not a file")
    if path.is_symlink():
        raise ProbeError(f"is a broken link to {on_one_line(str(path.readlink()))}")
    raise ProbeError("does not exist")
