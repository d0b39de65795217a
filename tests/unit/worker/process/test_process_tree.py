"""A file's processes are found by descent, and by their mark when the descent is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.worker.workbench import is_alive, until
from worker.process import process_tree
from worker.process.process_tree import descendants, kill_all, marked

FAMILY = """
import os, pathlib, sys, time
if os.fork() == 0:
    os.fork()
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
time.sleep(600)
"""


def _family(folder: Path, mark: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PASSMUSTER_TEST_MARK": mark}
    process = subprocess.Popen([sys.executable, "-c", FAMILY, str(folder)], env=environment)
    until(lambda: len(list(folder.iterdir())) == 3, "parent, child and grandchild run")
    return process


@pytest.mark.parametrize("has_proc", [True, False])
def test_descendants_come_parents_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_proc: bool
) -> None:
    monkeypatch.setattr(process_tree, "HAS_PROC", has_proc)
    with _family(tmp_path, "a") as parent:
        found = descendants(parent.pid)
        kill_all([parent.pid, *found])

    assert {str(pid) for pid in (parent.pid, *found)} == {path.name for path in tmp_path.iterdir()}
    assert parent.pid not in found
    assert len(found) == 2


def test_marked_processes_are_found_in_any_session(tmp_path: Path) -> None:
    mark = f"mark-{os.getpid()}"
    with _family(tmp_path, mark) as parent:
        found = marked(f"PASSMUSTER_TEST_MARK={mark}")
        assert marked(f"PASSMUSTER_TEST_MARK={mark[:-1]}") == []
        kill_all(found)
        assert parent.wait(30) == -9

    assert {str(pid) for pid in found} == {path.name for path in tmp_path.iterdir()}
    until(lambda: not any(map(is_alive, found)), "all are dead")


def test_a_dead_process_has_no_descendants_and_can_be_killed_again() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()

    assert descendants(process.pid) == []
    kill_all([process.pid])
