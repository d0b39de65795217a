"""The environment of a test process: the caller's, with the few changes that are documented.

- `TESTING=true`, and `TEST_MODE=mock` unless the caller set it: the shell scripts did that.
- `TMPDIR` is private to the file, so that files running side by side cannot meet there.
- `PASSMUSTER_SLOT` is a small number that no other file has at the same time, for databases and ports.
- `PASSMUSTER_ATTEMPT` names the attempt; it also marks every process of the file.
- `PYTHONFAULTHANDLER=1`, unless the caller set it, so that a crash, and a Python process that hangs at a
  timeout, leave a stack behind.
- `COVERAGE_FILE`, with coverage only, so that data of subprocesses lands beside that of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from passmuster.task import TestTask
from passmuster.test_environment import base_test_environment

ATTEMPT_VARIABLE = "PASSMUSTER_ATTEMPT"
SLOT_VARIABLE = "PASSMUSTER_SLOT"


def get_test_environment(
    environ: Mapping[str, str],
    *,
    task: TestTask | None = None,
    slot: int = 0,
    tmp_dir: Path | None = None,
    coverage_file: Path | None = None,
) -> dict[str, str]:
    """Return the environment for a test process.

    Args:
        environ: the caller's environment; not changed.
        task: whose own changes are applied last; None: only what holds for every file.
        slot: the slot's number, from 0.
        tmp_dir: the private directory; None: the caller's TMPDIR stays.
        coverage_file: where coverage data goes; None: without coverage.
    """
    environment = base_test_environment(environ)
    environment[SLOT_VARIABLE] = str(slot)
    if tmp_dir is not None:
        environment["TMPDIR"] = str(tmp_dir)
    if coverage_file is not None:
        environment["COVERAGE_FILE"] = str(coverage_file)
    if task is None:
        return environment
    environment[ATTEMPT_VARIABLE] = printable_attempt(task)
    for name, value in task.environment:
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def printable_attempt(task: TestTask) -> str:
    """Return the attempt's id as it stands in the environment: without NUL, which none can hold."""
    return task.attempt_id.replace("\0", "")
