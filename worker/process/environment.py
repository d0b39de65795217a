"""Builds the environment of a test process: the caller's environment with a few documented changes.

- `TESTING=true`, and `TEST_MODE=mock` unless the caller set it, as the shell scripts did.
- `TMPDIR` is private to the file, so files that run at the same time cannot collide there.
- `PASSMUSTER_SLOT` is a small number that no other file of the run has at the same time, on any worker, for
  databases and ports.
- `PYTEST_XDIST_WORKER` is `gw` and that number, `PYTEST_XDIST_WORKER_COUNT` is greater than every such
  number, and `PYTEST_XDIST_TESTRUNUID` is one for all files of a run and another for every run. Tests that
  keep one database for each worker of pytest-xdist read these.
- `PASSMUSTER_FILE_MEMORY` is the memory that all processes of the file together may use, in bytes. A run
  that a test starts keeps its own files within it.
- `PASSMUSTER_ATTEMPT` names the attempt; it also marks every process of the file.
- `PYTHONFAULTHANDLER=1`, unless the caller set it, so that Python writes its stacks at a crash or a timeout.
- `COVERAGE_FILE`, only with coverage, puts the data of subprocesses next to the file's own data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from passmuster.model.executor import SlotRange
from passmuster.model.task import TestTask
from passmuster.model.test_environment import FILE_MEMORY_VARIABLE, base_test_environment

ATTEMPT_VARIABLE = "PASSMUSTER_ATTEMPT"
SLOT_VARIABLE = "PASSMUSTER_SLOT"
XDIST_WORKER_VARIABLE = "PYTEST_XDIST_WORKER"
XDIST_COUNT_VARIABLE = "PYTEST_XDIST_WORKER_COUNT"
XDIST_RUN_VARIABLE = "PYTEST_XDIST_TESTRUNUID"

ONE_SLOT = SlotRange(first=0, total=1)


def get_test_environment(
    environ: Mapping[str, str],
    *,
    task: TestTask | None = None,
    slot: int = 0,
    slots: SlotRange | None = ONE_SLOT,
    tmp_dir: Path | None = None,
    coverage_file: Path | None = None,
    memory_bytes: int | None = None,
) -> dict[str, str]:
    """Return the environment for a test process; a task's own changes are applied last.

    `slot` is the slot's number on this worker, from 0; `slots` maps it to the run's numbers. None: how many
    the run has is unknown.
    """
    environment = base_test_environment(environ)
    number = slot if slots is None else slots.first + slot
    environment[SLOT_VARIABLE] = str(number)
    environment[XDIST_WORKER_VARIABLE] = f"gw{number}"
    if slots is None:
        environment.pop(XDIST_COUNT_VARIABLE, None)  # That of a run that started this one.
    else:
        environment[XDIST_COUNT_VARIABLE] = str(max(slots.total, number + 1))
    if tmp_dir is not None:
        environment["TMPDIR"] = str(tmp_dir)
    if coverage_file is not None:
        environment["COVERAGE_FILE"] = str(coverage_file)
    if memory_bytes is not None:
        environment[FILE_MEMORY_VARIABLE] = str(memory_bytes)
    if task is None:
        return environment
    environment[ATTEMPT_VARIABLE] = printable_attempt(task)
    environment[XDIST_RUN_VARIABLE] = hashlib.sha256(task.run_id.encode()).hexdigest()[:32]
    for name, value in task.environment:
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def printable_attempt(task: TestTask) -> str:
    """Return the attempt's ID for the environment: without NUL, which no variable can contain."""
    return task.attempt_id.replace("\0", "")
