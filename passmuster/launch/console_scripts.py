"""The doors of the installed package: what its commands call.

The commands themselves are the modules `run_tests`, `run_ci_replica` and `worker.queue.cli`, installed beside
this package. They are looked up by name, because this package imports neither the worker nor the dispatcher.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Protocol, cast

from passmuster.launch.bootstrap import import_msgspec


class _Command(Protocol):
    def main(self) -> int: ...


def run_tests() -> int:
    """Run the command `run-tests` with this process's arguments; return its exit status."""
    return _command("run_tests").main()


def run_ci_replica() -> int:
    """Run the command `run-ci-replica` with this process's arguments; return its exit status."""
    return _command("run_ci_replica").main()


def run_tests_worker() -> int:
    """Run the command `run-tests-worker` with this process's arguments; return its exit status."""
    return _command("worker.queue.cli").main()


def _command(name: str) -> _Command:
    # Our folder goes first, because the PYTHONPATH of a user's project may hold a module called `worker`,
    # or the `run_tests` that ours replaces.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import_msgspec()
    return cast(_Command, importlib.import_module(name))
