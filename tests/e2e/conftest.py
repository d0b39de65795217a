"""A project for each test, and the check that no call leaves anything behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support.project import Project


@pytest.fixture(scope="session")
def bare_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment without any package: files without a guard run by unittest there."""
    directory = tmp_path_factory.mktemp("bare") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    return directory


@pytest.fixture
def project(tmp_path: Path, bare_environment: Path) -> Iterator[Project]:
    """An empty project; afterwards no process and no temporary directory of it may be left."""
    made = Project(base=tmp_path, python_home=bare_environment)
    yield made
    made.check_nothing_is_left()


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory, bare_environment: Path) -> Iterator[Project]:
    """The same for all tests of a module, which then look at one run."""
    made = Project(base=tmp_path_factory.mktemp("shared"), python_home=bare_environment)
    yield made
    made.check_nothing_is_left()
