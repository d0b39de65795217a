"""Asking an unknown program for its version ends in time, whatever the program does."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from dispatcher.config.interpreter import ProbeResult, probe


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_python_answers_with_its_version() -> None:
    assert probe(sys.executable, {}) == ProbeResult(
        version=sys.version_info[:3], implementation=sys.implementation.name
    )


def test_variables_that_would_break_the_interpreters_start_do_not_matter() -> None:
    assert probe(sys.executable, {"PYTHONHOME": "/gone", "PYTHONSTARTUP": "/gone"}).problem == ""


def test_a_program_that_never_answers_is_stopped_at_the_limit(tmp_path: Path) -> None:
    path = script(tmp_path / "py", f"echo $$ > {tmp_path}/pid; sleep 1000")
    assert probe(path, os.environ, timeout_s=0.5).problem == "did not answer within 0.5 s"
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_never_stops_printing_is_stopped() -> None:
    assert probe("/usr/bin/yes", {}).problem == "does not answer as a Python interpreter does"


def test_what_the_program_leaves_behind_neither_delays_the_answer_nor_survives(tmp_path: Path) -> None:
    body = f"sleep 1000 & echo $! > {tmp_path}/pid; echo passmuster-probe cpython 3 12 1"
    answer = probe(script(tmp_path / "py", body), os.environ)
    assert answer.version == (3, 12, 1)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:
        signal.sigtimedwait([], 0.01)
    assert is_gone(pid)


def test_a_program_that_cannot_be_started_is_a_problem(tmp_path: Path) -> None:
    assert probe(str(tmp_path / "gone"), {}).problem == "cannot be started (No such file or directory)"
