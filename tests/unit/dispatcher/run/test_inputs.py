"""Which variables make another environment for the files of a project."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dispatcher.config.model import TestConfig
from dispatcher.run.inputs import ProjectInputs
from passmuster.host.interpreter import find_interpreter


def environment(root: Path, **environ: str) -> str:
    config = TestConfig(root=root, input_variables=("MINE",))
    interpreter = find_interpreter(sys.executable, root, environ)
    return ProjectInputs(config, interpreter, environ, None, "").environment()


@pytest.mark.parametrize(
    "name", ["PYTEST_ADDOPTS", "PYTHONWARNINGS", "PYTHONINTMAXSTRDIGITS", "TZ", "LC_ALL", "MINE"]
)
def test_a_variable_that_changes_how_tests_run_makes_another_environment(tmp_path: Path, name: str) -> None:
    assert environment(tmp_path, **{name: "error"}) != environment(tmp_path)


def test_other_variables_and_the_place_of_the_checkout_do_not(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "lib").mkdir(parents=True)
    one, two = (
        environment(tmp_path / name, OTHER=name, PYTHONPATH=str(tmp_path / name / "lib"))
        for name in ("one", "two")
    )

    assert one == two
