"""Fixtures for the tests of fork servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.forkserver.own_project import SLOW, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path, interpreter=str(PYTEST_PYTHON))
    (tmp_path / "state").mkdir()
    project.use(structs.replace(project.settings, state_dir=tmp_path / "state"))
    project.write("pytest.ini", "[pytest]\naddopts = -s\n")
    project.write("shop/__init__.py", "")
    project.write("shop/cart.py", SLOW)
    project.use_module("shop.cart")
    yield project
    project.executor.close()
