"""The commands of an installed package.

They are resolved by name, because this package imports neither the worker nor the dispatcher. An installed
package has them below `passmuster._program`, where `hatch_build.py` puts them; an editable installation uses
those of its checkout.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Protocol, cast

from passmuster.launch.bootstrap import import_msgspec

_PACKAGE = Path(__file__).resolve().parents[1]


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
    # The folder that holds this package goes first, in this process alone: PYTHONPATH may name a project that
    # has modules called like our dependencies.
    sys.path.insert(0, str(_PACKAGE.parent))
    import_msgspec()
    is_installed = (_PACKAGE / "_program").is_dir()
    return cast(_Command, importlib.import_module(f"passmuster._program.{name}" if is_installed else name))
