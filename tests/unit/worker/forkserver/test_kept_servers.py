"""Servers that stay from run to run: used again, never older than the files, and without traces of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from msgspec import structs

from passmuster.model.status import StopReason
from tests.unit.worker.forkserver.own_project import NAMES, SLOW, Project
from tests.unit.worker.workbench import is_alive
from worker.executor.local import LocalExecutor
from worker.forkserver.kept_servers import KeptServers


class Runs:
    """Consecutive runs of a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.servers = KeptServers(project.settings)
        self.pool = self.servers.of(project.pytest_task(NAMES[0]))

    @contextmanager
    def run(self) -> Iterator[None]:
        self.servers.renew()
        before, self.project.executor = (
            self.project.executor,
            LocalExecutor(self.project.settings, self.servers),
        )
        try:
            yield
        finally:
            self.project.executor.close()
            self.project.executor = before

    def loaders(self, *names: str) -> set[str]:
        with self.run():
            return self.project.loaders(*names)

    def preloaded(self, name: str) -> tuple[str, ...]:
        """Return the modules that the next run has preloaded for a file."""
        with self.run():
            return self.pool._advisor.advise(self.project.pytest_task(name)).modules

    def pids(self) -> set[int]:
        return {server.pid for server in self.pool._tree.servers.values()}

    def start_servers(self, names: Sequence[str] = NAMES) -> None:
        self.pool.probe([self.project.pytest_task(name) for name in names])


@pytest.fixture
def runs(project: Project) -> Iterator[Runs]:
    runs = Runs(project)
    yield runs
    runs.servers.stop()


def test_the_next_run_uses_the_servers_of_the_last_and_they_end_with_their_owner(runs: Runs) -> None:
    runs.start_servers()
    pids = runs.pids()

    assert runs.loaders(NAMES[0]) == runs.loaders(NAMES[1]) == {"a server"}
    assert runs.pids() == pids
    runs.servers.stop()
    assert not any(map(is_alive, pids))


def test_a_file_that_no_longer_imports_a_module_does_not_find_it_imported(runs: Runs) -> None:
    runs.start_servers()
    assert runs.preloaded(NAMES[0]) == runs.preloaded(NAMES[1]) != ()

    runs.project.write(NAMES[0], "def test_a():\n    pass\n")

    assert "shop.cart" not in runs.preloaded(NAMES[0])
    assert "shop.cart" in runs.preloaded(NAMES[1])


def test_a_server_with_a_changed_module_is_replaced(runs: Runs) -> None:
    runs.start_servers()
    pids = runs.pids()
    runs.project.write("shop/cart.py", SLOW.replace("2_000_000", "2_000_001"))

    assert runs.loaders(NAMES[0]) == {"itself"}  # Until a server holds the new one.
    assert runs.pids() != pids
    with runs.run():
        runs.start_servers()
    assert runs.loaders(NAMES[0]) == {"a server"}


READS = """
from pathlib import Path
HERE = Path(__file__).parent
PRICE = (HERE / "price.txt").read_text()
PLUGINS = sorted(each.name for each in (HERE / "plugins").iterdir())
try:
    PRICE = (HERE / "local.txt").read_text()
except OSError:
    pass
"""


@pytest.mark.parametrize("written", ["price.txt", "plugins/new.txt", "local.txt"])
def test_a_server_is_replaced_if_what_its_modules_have_read_changes(project: Project, written: str) -> None:
    for name, text in {"price.txt": "1", "plugins/old.txt": "", "cart.py": SLOW + READS}.items():
        project.write(f"shop/{name}", text)
    project.settings = structs.replace(project.settings, records_inputs=True)
    runs = Runs(project)
    try:
        runs.start_servers()
        assert runs.loaders(NAMES[0]) == {"a server"}
        pids = runs.pids()
        project.write(f"shop/{written}", "2")

        assert runs.loaders(NAMES[0]) == {"a server"}
        replaced = runs.pids()
        assert replaced != pids
        assert runs.loaders(NAMES[0]) == {"a server"}
        assert runs.pids() == replaced
    finally:
        runs.servers.stop()


def test_a_stopped_run_does_not_stop_the_servers_of_the_next(runs: Runs) -> None:
    runs.start_servers()
    pids = runs.pids()
    with runs.run():
        runs.project.executor.stop_all(StopReason.CANCELLED, grace_s=0)

    assert runs.loaders(NAMES[0]) == {"a server"}
    assert runs.pids() == pids
