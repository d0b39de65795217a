"""Asks an interpreter which Python it is, by running it once. Expects anything: it may be no Python."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping

from passmuster.records import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
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
    """Run `path` and return its answer, within `timeout_s` seconds. Nothing it started survives."""
    try:
        process = subprocess.Popen(
            [path, *_COMMAND],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        )
    except OSError as error:
        return Answer(problem=f"cannot be started ({error.strerror})")
    assert process.stdout is not None  # we asked for a pipe
    try:
        output, is_late = _read(process.stdout.fileno(), timeout_s=timeout_s)
    finally:
        # It is a session of its own, so this reaches what it started too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    match = _ANSWER.search(output)
    if match is not None:
        version = (int(match[2]), int(match[3]), int(match[4]))
        return Answer(version=version, implementation=match[1].decode())
    if is_late:
        return Answer(problem=f"did not answer within {timeout_s:g} s")
    return Answer(problem="does not answer as a Python interpreter does")


def _read(descriptor: int, *, timeout_s: float) -> tuple[bytes, bool]:
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
        if not chunk or (chunk.endswith(b"\n") and _ANSWER.search(output)):
            break
    return output, False
