"""Tests the arguments of a worker that a run starts for itself."""

from __future__ import annotations

from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.config.settings import BY_NAME
from dispatcher.queue.worker_process import PASSED_ON, worker_arguments
from passmuster.model.status import Isolation
from passmuster.model.units import Amount
from passmuster.settings.argument_parser import read_record, strongest_values
from passmuster.settings.path_resolver import PathResolver
from worker.queue.command_line import WORDS, WorkerArguments


def read(config: TestConfig) -> WorkerArguments:
    arguments = WORDS.parse(worker_arguments(config, workdir=Path("/project/sub"), interpreter="/bin/python"))
    assert (arguments.unknown, arguments.paths, arguments.problems) == ([], [], [])
    here = PathResolver(cwd=Path("/"), root=Path("/"))
    return read_record(WorkerArguments, strongest_values(arguments.given).values(), here)


def test_the_users_settings_reach_the_worker() -> None:
    config = TestConfig(
        root=Path("/project"),
        isolation=Isolation.SPAWN,
        preload=("shop", "shop.models"),
        keep_tmp=True,
        nice=True,
        machine_memory=Amount(fraction=0.5),
        machine_folder=Path("/shared"),
    )

    found = read(config)

    assert (found.root, found.workdir, found.python) == (
        Path("/project"),
        Path("/project/sub"),
        "/bin/python",
    )
    for row in map(BY_NAME.__getitem__, PASSED_ON):
        assert row.value_in(config) != row.fallback
        assert getattr(found, row.target) == row.value_in(config)


def test_a_size_reaches_the_worker_to_the_byte() -> None:
    assert read(TestConfig(machine_memory=Amount(size_bytes=1234567891))).machine_memory == Amount(
        size_bytes=1234567891
    )


def test_defaults_are_not_passed_to_the_worker() -> None:
    words = worker_arguments(TestConfig(root=Path("/p")), workdir=Path("/p"), interpreter="python3")

    assert words == ["--root", "/p", "--workdir", "/p", "--python", "python3"]
