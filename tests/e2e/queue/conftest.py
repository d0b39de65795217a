"""Machines that join one run, and the broker between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.support.joined import Machines
from tests.support.valkey import private_server


@pytest.fixture
def machines(tmp_path: Path, bare_environment: Path) -> Iterator[Callable[[int], Machines]]:
    """Make so many machines; afterwards no process of any may be left."""
    made: list[Machines] = []
    with private_server() as server:

        def make(count: int) -> Machines:
            made.append(Machines(tmp_path, bare_environment, server.url, count))
            return made[-1]

        yield make
        for one in made:
            one.close()
            one.check()
