"""Modules of the project that several pytest files import are imported once, where a probe finds nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.status import Isolation, RunnerKind, Status
from passmuster.model.task import TestTask
from tests.support.pytest_environment import PYTEST_PYTHON
from tests.unit.worker.workbench import Workbench, until
from worker.forkserver.explain import explain
from worker.forkserver.fork_advice import ForkAdvisor
from worker.forkserver.server import ForkServer, Setup
from worker.forkserver.server_pool import ServerPool

SLOW = "import os\nLOADED_BY = os.readlink('/proc/self')\nSUM = sum(range(2_000_000))\n"
"""A module that is worth importing once, and says which process has, by a way that nothing watches."""

USES = """
    import os
    import {module} as used
    def test_a():
        print("loaded by", "itself" if used.LOADED_BY == os.readlink("/proc/self") else "a server")
"""
NAMES = [f"test_{number}.py" for number in range(4)]


class Project(Workbench):
    """A project whose files run by pytest."""

    def use_module(self, module: str) -> None:
        for name in NAMES:
            self.write(name, USES.format(module=module))

    @property
    def pool(self) -> ServerPool:
        fleet = self.executor._server_pool
        assert isinstance(fleet, ServerPool)
        return fleet

    def start_servers(self) -> ForkAdvisor:
        """Start every server that the files need, as a run does when it has had the time."""
        return self.pool.probe([self.pytest_task(name) for name in NAMES])

    def pytest_task(self, name: str) -> TestTask:
        return structs.replace(self.task(name), runner=RunnerKind.PYTEST)

    def loaders(self, *names: str) -> set[str]:
        """Run files, all of them by default; return who has loaded the module that they use."""
        found = set()
        for name in names or NAMES:
            result = self.run(self.pytest_task(name))
            assert (result.status, result.isolation) == (Status.PASS, Isolation.FORK), result
            lines = [line for line in result.output.splitlines() if "loaded by" in line]
            found |= {line.partition("loaded by ")[2] for line in lines}
        return found

    def explanation(self) -> list[str]:
        return list(explain(self.pool, [self.pytest_task(name) for name in NAMES]))

    def begin_again(self) -> None:
        """Start anew with what was learned."""
        self.use(self.settings)


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


def test_a_module_of_the_project_is_imported_once(project: Project) -> None:
    project.start_servers()

    assert project.loaders() == {"a server"}
    assert any("shop.cart" in line and line.startswith("  4 file(s)") for line in project.explanation())


def test_a_module_that_a_server_imports_sees_that_pytest_runs(project: Project) -> None:
    project.write("shop/cart.py", f"{SLOW}assert os.environ['PYTEST_VERSION']\n")

    project.start_servers()

    assert project.loaders() == {"a server"}


def test_a_file_does_not_wait_for_the_probe(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    proven: list[Setup] = []
    derive = ForkServer.derive

    def derive_late(server: ForkServer, setup: Setup, given_up: threading.Event) -> ForkServer:
        if setup.probe:
            proven.append(setup)
            until(lambda: bool(ran), "a file has run")
        return derive(server, setup, given_up)

    monkeypatch.setattr(ForkServer, "derive", derive_late)
    ran: set[str] = set()
    project.loaders(NAMES[0])  # The session is there, and what the files need is known after this.
    project.pool._think([project.pytest_task(name) for name in NAMES])
    ran |= project.loaders(NAMES[1])

    assert ran == {"itself"}
    until(lambda: project.loaders(NAMES[2]) == {"a server"}, "the probe has finished")
    assert len(proven) == 1

    project.begin_again()
    project.start_servers()

    assert project.loaders() == {"a server"}
    assert len(proven) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open('made', 'w').close()", "writes made in shop/cart.py:4"),
        ("import time; START = time.time()", "reads the clock in shop/cart.py:4"),
        ("import uuid; ID = uuid.uuid4()", "draws random numbers"),
        ("import logging; logging.basicConfig()", "keeps sys.stdout or sys.stderr"),
        ("SLOT = os.environ.get('PASSMUSTER_SLOT')", "PASSMUSTER_SLOT"),
        ("import warnings; warnings.warn('old')", "warns: UserWarning: old"),
    ],
)
def test_a_module_that_does_more_than_define_things_is_left_to_each_file(
    project: Project, code: str, reason: str
) -> None:
    project.write("shop/cart.py", f"{SLOW}{code}\n")

    lines = project.explanation()

    assert any(line.startswith("left out: shop.cart: ") and reason in line for line in lines), lines
    assert project.loaders() <= {"itself"}


def test_a_module_that_a_file_does_not_import_stays_missing(project: Project) -> None:
    project.write("test_without.py", "import shop\ndef test_a(): assert not hasattr(shop, 'cart')\n")
    project.start_servers()
    project.pool.probe([project.pytest_task(name) for name in [*NAMES, "test_without.py"]])

    project.loaders("test_without.py")

    assert project.loaders() == {"a server"}


def test_a_module_that_has_changed_is_not_inherited_any_more(project: Project) -> None:
    project.start_servers()
    assert project.loaders(NAMES[0]) == {"a server"}

    project.write("shop/cart.py", f"{SLOW}print('loaded by the changed one')\n")

    assert "the changed one" in project.loaders(NAMES[0])


def test_a_test_file_that_has_changed_gets_only_what_it_imports_now(project: Project) -> None:
    project.start_servers()
    assert project.loaders(NAMES[0]) == {"a server"}

    project.write(NAMES[0], "import shop\ndef test_a(): assert not hasattr(shop, 'cart')\n")
    project.start_servers()

    assert project.loaders(NAMES[0]) == set()
    assert project.loaders(NAMES[1]) == {"a server"}


def test_test_files_and_conftests_are_left_to_pytest(project: Project) -> None:
    project.write("test_base.py", SLOW)
    project.use_module("test_base")
    project.write("test_base.py", f"{SLOW}def test_b(): assert [1] == [1]\n")

    sets = project.start_servers().choices()["pytest"].sets
    assert all("test_base" not in chosen.modules for chosen in sets)
    assert project.loaders() == {"itself"}


@pytest.mark.parametrize(
    "conftest",
    ["open('made', 'w').close()\n", "pytest_plugins = ['pytester']\n"],
    ids=["finding", "refused"],
)
def test_modules_are_not_imported_before_conftests_that_each_file_loads_itself(
    project: Project, conftest: str
) -> None:
    project.write("conftest.py", conftest)

    assert project.start_servers().choices()["pytest"].sets == ()


def test_a_module_comes_behind_a_conftest_that_has_its_asserts_rewritten(project: Project) -> None:
    project.write("sub/conftest.py", "import pytest\npytest.register_assert_rewrite('shop.cart')\n")
    for name in NAMES:
        project.write(f"sub/{name}", USES.format(module="shop.cart"))
    tasks = [project.pytest_task(f"sub/{name}") for name in NAMES]

    lines = list(explain(project.pool, tasks))

    assert any(
        line.startswith("left out: what 4 file(s) import after sub/conftest.py:2") for line in lines
    ), lines
    assert project.pool.probe(tasks).choices()["pytest"].sets == ()


def test_under_coverage_each_file_imports_what_is_measured(project: Project, tmp_path: Path) -> None:
    project.use(structs.replace(project.settings, coverage_dir=tmp_path))

    assert project.start_servers().choices()["pytest"].sets == ()
