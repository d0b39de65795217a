"""Runs near the limits of processes and of open files: nothing is lost, and no run blocks for ever."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import script
from tests.e2e.support.unprivileged import as_other_user

SLEEPING = script("time.sleep(0.2)")

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="NOT TESTED: the limit of processes needs root and setpriv, to become a user who has none",
)


@needs_root
def test_files_wait_for_each_others_processes_where_few_are_allowed(project: Project) -> None:
    project.write({f"tests/test_{number}.py": SLEEPING for number in range(8)})
    outcome = project.run("-j", "4", prefix=as_other_user(max_processes=12))
    assert outcome.code == 0, str(outcome)
    assert list(outcome.statuses().values()) == ["PASS"] * 8, str(outcome)


@needs_root
def test_where_no_process_is_allowed_the_run_says_so_in_one_line(project: Project) -> None:
    project.write({"tests/test_a.py": SLEEPING})
    outcome = project.run(prefix=as_other_user(max_processes=1))
    assert outcome.code == 3, str(outcome)
    assert len(outcome.stderr.splitlines()) == 1
    assert "Resource temporarily unavailable; allow more processes (ulimit -u)" in outcome.stderr


@needs_root
def test_where_no_thread_is_allowed_the_run_says_so_and_loses_nothing(project: Project) -> None:
    project.write({f"tests/test_{number}.py": SLEEPING for number in range(3)})
    # The runner's own interpreter need not be asked for its version.
    outcome = project.run("-j", "2", prefix=as_other_user(max_processes=1), env={"VIRTUAL_ENV": None})
    assert outcome.code == 3, str(outcome)
    said = [line for line in outcome.stderr.splitlines() if "ulimit -u" in line and "[FAIL]" in line]
    assert len(said) == 1, str(outcome)
    assert "cannot start a thread" in said[0]
    assert "Traceback" not in outcome.stderr
    assert set(outcome.statuses().values()) == {"NOT_RUN"}, str(outcome)
    resumed = project.run("--resume", "last", "-j", "2")
    assert list(resumed.statuses().values()) == ["PASS"] * 3, str(resumed)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit sets the limit for one command")
@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_more_files_at_once_than_descriptors_allow_wait_for_each_other(
    project: Project, isolation: str
) -> None:
    project.write({f"tests/test_{number}.py": script("time.sleep(1)") for number in range(64)})
    options = ("-j", "64", "--oversubscribe", "off", "--isolation", isolation)
    outcome = project.run(*options, prefix=("prlimit", "--nofile=199:199"))
    assert outcome.code == 0, str(outcome)
    assert list(outcome.statuses().values()) == ["PASS"] * 64, str(outcome)
