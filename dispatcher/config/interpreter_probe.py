"""Asks an interpreter which Python it is, and which pytest it has, by running it. It may be no Python."""

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

from passmuster.errors import InfrastructureError
from passmuster.process_limit import ADVICE, EXHAUSTED

PROBE_TIMEOUT_S = 20.0
"""Seconds to wait for an answer: a cold start over a network file system takes a few."""

_MOST_BYTES = 65536
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


class Answer(Struct, frozen=True, kw_only=True):
    """What an interpreter answered.

    Args:
        version: major, minor, micro; zeros when there is a problem.
        implementation: its `sys.implementation.name`; empty when there is a problem.
        problem: what is wrong, a fragment that follows its path; empty: nothing.
    """

    version: tuple[int, int, int] = (0, 0, 0)
    implementation: str = ""
    problem: str = ""


def probe(path: str, environ: Mapping[str, str], *, timeout_s: float = PROBE_TIMEOUT_S) -> Answer:
    """Run `path` and return its answer, within `timeout_s` seconds. Nothing it started survives.

    Raises:
        InfrastructureError: no process is to be had, which says nothing about the interpreter.
    """
    try:
        match, is_late = _ask([path, *_COMMAND], environ, _ANSWER, timeout_s=timeout_s)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise InfrastructureError(f"cannot start {path}: {error.strerror}; {ADVICE}") from error
        return Answer(problem=f"cannot be started ({error.strerror})")
    if match is not None:
        version = (int(match[2]), int(match[3]), int(match[4]))
        return Answer(version=version, implementation=match[1].decode())
    if is_late:
        return Answer(problem=f"did not answer within {timeout_s:g} s")
    return Answer(problem="does not answer as a Python interpreter does")


class InstalledPytest(Struct, frozen=True, kw_only=True):
    """The pytest of an interpreter.

    Args:
        version: such as `8.4.1`; `?`: it does not say; empty: it is not installed.
        search_path: the folders in which it was looked for, absolute.
    """

    version: str
    search_path: tuple[str, ...]


def probe_pytest(
    path: str, environ: Mapping[str, str], workdir: Path, *, timeout_s: float = PROBE_TIMEOUT_S
) -> InstalledPytest | None:
    """Return which pytest `path -m pytest` would run in a folder; None: it gave no answer.

    Args:
        path: the interpreter, which is a Python.
        environ: the environment in which it is asked.
        workdir: where it is asked.
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
        # It is a session of its own, so this reaches what it started too.
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
    while len(output) < _MOST_BYTES:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not poller.poll(remaining_s * 1000):
            return output, True
        chunk = os.read(descriptor, 4096)
        output += chunk
        # Not waiting for the end: something it started may hold the pipe open.
        if not chunk or (chunk.endswith(b"\n") and pattern.search(output)):
            break
    return output, False
