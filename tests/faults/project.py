"""The project that is run under faults: small files, what is to become of each, and a log of their starts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

STARTS_VARIABLE = "FAULTS_STARTS"
"""Names the log to which each file appends when it starts and when it ends."""

PID_VARIABLE = "FAULTS_PID_FILE"
"""Names a file with the process id of the worker that a file runs on."""

WORKER_VARIABLE = "FAULTS_WORKER"
"""The name of that worker."""

FILES = 32
POISON = "test_poison.py"

_HEAD = """\
import os, sys, time

def note(word):
    words = [word, {name!r}, os.environ["FAULTS_WORKER"], repr(time.time()), os.environ["PASSMUSTER_ATTEMPT"]]
    log = os.open(os.environ["FAULTS_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(log, ("\\t".join(words) + "\\n").encode())
    os.close(log)

note("start")
"""

_BODIES = {
    "pass": ("PASS", "time.sleep({seconds})\nnote('end')\n"),
    "loud": ("PASS", "print('x' * 99 + '\\n', end='') or sys.stdout.write('y' * 3_000_000)\nnote('end')\n"),
    "fail": ("FAIL", "time.sleep({seconds})\nnote('end')\nsys.exit(1)\n"),
    "exit": ("FAIL", "time.sleep({seconds})\nnote('end')\nos._exit(3)\n"),
    "abort": ("CRASH", "time.sleep({seconds})\nnote('end')\nos.abort()\n"),
    "hang": ("TIMEOUT", "time.sleep(600)\n"),
    "empty": ("NO_TESTS", "def test_nobody_calls_this():\n    pass\n\nnote('end')\n"),
}

_POISON = """\
import signal
with open(os.environ["FAULTS_PID_FILE"]) as file:
    os.kill(int(file.read()), signal.SIGKILL)
time.sleep(600)
"""

_SETTINGS = """\
[tool.passmuster]
timeout = "90s"
runner = "script"
"""

_HANG = """
[[tool.passmuster.overrides]]
files = ["test_hang_*.py"]
timeout = "2s"
"""


class Note(NamedTuple):
    """A line of the log: that a file started or ended, where, when (Unix time), and in which attempt."""

    word: str
    path: str
    worker: str
    at: float
    attempt_id: str


def write_project(root: Path, chance: random.Random, *, is_green: bool, has_poison: bool) -> dict[str, str]:
    """Write the project; return the status that each file must get."""
    counts = {"loud": 2} if is_green else {"loud": 2, "fail": 3, "exit": 2, "abort": 2, "hang": 1, "empty": 2}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    kinds += ["pass"] * (FILES - len(kinds) - has_poison)
    expected = {}
    for number, kind in enumerate(kinds):
        name = f"test_{kind}_{number:02}.py"
        status, body = _BODIES[kind]
        seconds = round(chance.choice((0.05, 0.2, 0.5, 1.5)) * chance.uniform(0.8, 1.0), 2)
        (root / name).write_text(_HEAD.format(name=name) + body.format(seconds=seconds), encoding="utf-8")
        expected[name] = status
    if has_poison:
        (root / POISON).write_text(_HEAD.format(name=POISON) + _POISON, encoding="utf-8")
        expected[POISON] = "CRASH"
    settings = _SETTINGS + (_HANG if "hang" in kinds else "")
    (root / "pyproject.toml").write_text(settings, encoding="utf-8")
    return expected


def read_notes(log: Path) -> list[Note]:
    """Return the lines of the log."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    parts = [line.split("\t") for line in lines]
    return [Note(word, path, worker, float(at), attempt) for word, path, worker, at, attempt in parts]
