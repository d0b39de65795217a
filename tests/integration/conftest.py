"""A server for all tests of this folder; each test has runs and workers of its own on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatcher.backends.embedded_server import EmbeddedServer
from tests.support.valkey import private_server


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    with private_server() as server:
        yield server
