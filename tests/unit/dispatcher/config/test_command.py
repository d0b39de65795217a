"""A project's own command in the configuration, and the files that it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.load import load_config
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import project_commands
from dispatcher.model.plan import TestFile
from dispatcher.planning.planner import make_plan
from passmuster.model.project_commands import read_commands
from passmuster.model.status import RunnerKind

ALL = "[tool.passmuster]\ncommand = ['{python}', 'manage.py', 'test', '{module}']\n"
SOME = "[[tool.passmuster.overrides]]\nfiles = ['db/**']\ncommand = ['make', '{file}']\n"


def config_of(root: Path, text: str, *argv: str) -> TestConfig:
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return load_config(argv, {}, root).config


def runners(config: TestConfig) -> list[RunnerKind]:
    """Return how a file in `db/` and another one are run."""
    files = [TestFile(path=path, label=path) for path in ("db/test_a.py", "test_b.py")]
    plan = make_plan(files, {}, config, run_id="r", slots=1, budget_bytes=1)
    tasks = {planned.task.file_path: planned.task.runner for planned in plan.files}
    return [tasks["db/test_a.py"], tasks["test_b.py"]]


PYTEST_THERE = "[[tool.passmuster.overrides]]\nfiles = ['db/**']\nrunner = 'pytest'\n"

AUTO, COMMAND, PYTEST = RunnerKind.AUTO, RunnerKind.COMMAND, RunnerKind.PYTEST


@pytest.mark.parametrize(
    ("text", "argv", "expected"),
    [
        (ALL, (), [COMMAND, COMMAND]),
        (SOME, (), [COMMAND, AUTO]),
        (ALL, ("--runner", "pytest"), [PYTEST, PYTEST]),
        (ALL + SOME, ("--runner", "pytest"), [COMMAND, PYTEST]),
        (
            ALL + PYTEST_THERE,
            (),
            [PYTEST, COMMAND],
        ),
        (SOME + PYTEST_THERE, (), [PYTEST, AUTO]),
        (
            ALL.replace("]\n", "]\nrunner = 'pytest'\n", 1) + PYTEST_THERE.replace("pytest", "command"),
            (),
            [COMMAND, PYTEST],
        ),
    ],
)
def test_a_file_runs_by_its_command_unless_a_runner_was_named_for_it(
    tmp_path: Path, text: str, argv: tuple[str, ...], expected: list[RunnerKind]
) -> None:
    assert runners(config_of(tmp_path, text, *argv)) == expected


def test_a_worker_reads_the_same_commands_from_the_file_as_the_configuration_has(tmp_path: Path) -> None:
    assert project_commands(config_of(tmp_path, ALL + SOME)) == read_commands(tmp_path)


def test_a_configuration_without_a_command_has_none(tmp_path: Path) -> None:
    assert project_commands(config_of(tmp_path, "[tool.passmuster]\njobs = 2\n")) is None
