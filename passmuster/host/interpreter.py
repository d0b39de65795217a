"""Finds the interpreter for a queue's tests: the configured one, the project's own, or the one that runs
Passmuster."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.launch.environment import base_python, private_python
from passmuster.model.errors import ConfigurationError

OLDEST = (3, 9)
"""What the scripts that run inside it need."""

ASK_S = 30.0
"""Seconds it may take to tell its version; 20 ms on an idle machine."""

_ASK = "import sys; print(*sys.version_info[:2], sys.implementation.cache_tag)"

_DESCRIBE = """
import hashlib, platform
from importlib.metadata import distributions
found = sorted({f"{one.metadata['Name']}=={one.version}".lower() for one in distributions()})
digest = hashlib.sha256("\\n".join(found).encode("utf-8", "surrogateescape")).hexdigest()
print(f"{platform.python_implementation()} {platform.python_version()}, packages {digest[:12]}")
"""

_MAX_DESCRIPTION_CHARS = 100

_IMPORT_COVERAGE = (
    "import sys; sys.path[:] = [one for one in sys.path if one]; import coverage; coverage.Coverage"
)
"""Not from the current folder: a folder of reports called `coverage` must not pass for the package."""


class WorkerInterpreter(Struct, frozen=True, kw_only=True):
    """An interpreter that was found and asked.

    Args:
        path: as it will be executed, absolute; links are kept, because a virtual environment's is one.
        cache_tag: how its compiled modules are called.
    """

    path: str
    cache_tag: str


def find_interpreter(named: str | None, root: Path, environ: Mapping[str, str]) -> WorkerInterpreter:
    """Return the interpreter for the files below `root`.

    Args:
        named: what the user wrote for it: a path, or a name on PATH; None: nothing.
        root: the project's root.
        environ: for PATH and VIRTUAL_ENV.

    Raises:
        ConfigurationError: it does not exist, cannot be executed, is no Python, or too old.
    """
    path, source = _choose(named, root, environ)
    oldest = ".".join(map(str, OLDEST))
    wanted = f"expected Python {oldest} or later; name one with --python"
    try:
        asked = _run([path, "-I", "-c", _ASK], environ)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(
            f"interpreter {path} (from {source}) cannot be executed: {error}; {wanted}"
        ) from error
    words = asked.stdout.split()
    if asked.returncode != 0 or len(words) != 3 or not all(word.isdecimal() for word in words[:2]):
        raise ConfigurationError(f"interpreter {path} (from {source}) is not Python; {wanted}")
    if (int(words[0]), int(words[1])) < OLDEST:
        raise ConfigurationError(
            f"interpreter {path} (from {source}) is Python {words[0]}.{words[1]}; {wanted}"
        )
    return WorkerInterpreter(path=path, cache_tag=words[2])


def describe_interpreter(interpreter: str, environ: Mapping[str, str]) -> str:
    """Return implementation, version, and a digest of the installed packages; empty: it does not say.

    Workers that differ in it may come to different results with the same file.
    """
    try:
        asked = _run([interpreter, "-I", "-c", _DESCRIBE], environ)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()[:_MAX_DESCRIPTION_CHARS] if asked.returncode == 0 else ""


def why_no_coverage(interpreter: str, environ: Mapping[str, str]) -> str:
    """Return why the interpreter cannot measure coverage, in one line with what to do; empty: it can."""
    try:
        asked = _run([interpreter, "-c", _IMPORT_COVERAGE], environ)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the worker's interpreter {interpreter} cannot be executed: {error}"
    if asked.returncode == 0:
        return ""
    said = asked.stderr.strip().rpartition("\n")[2]
    return (
        f"the run measures coverage, the worker's interpreter {interpreter} cannot ({said}): install it with"
        f" {interpreter} -m pip install coverage, or start the worker with another --python"
    )


def _choose(named: str | None, root: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return a path and where it came from."""
    if named is not None:
        found = named if "/" in named else shutil.which(named, path=environ.get("PATH", os.defpath))
        if found is None:
            raise ConfigurationError(f"interpreter {named!r} (from --python) is not on PATH: name its path")
        return str(Path(found).absolute()), "--python"
    for folder in ("venv", ".venv"):
        path = root / folder / "bin" / "python"
        # A package of the project may be called venv too: only what looks like an environment counts.
        if path.exists():
            return str(path), f"{folder}/ of the root"
    active = environ.get("VIRTUAL_ENV")
    # The private environment of a checkout may be active when a worker is started by hand; its packages are
    # not the tests'. One that an installed package is in is the project's as well.
    if active and not _is_private(Path(active)):
        return str(Path(active).absolute() / "bin" / "python"), "VIRTUAL_ENV"
    return base_python(), "the worker's own interpreter"


def _is_private(environment: Path) -> bool:
    checkout = Path(__file__).parents[2]
    return environment.resolve() == Path(private_python(checkout)).parents[1].resolve()


def _run(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run an interpreter for at most `ASK_S` seconds, and capture its output."""
    return subprocess.run(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        timeout=ASK_S,
    )
