"""A project whose pytest files say whether a server has loaded the module that they use."""

from __future__ import annotations

from msgspec import structs

from passmuster.model.status import Isolation, RunnerKind, Status
from passmuster.model.task import TestTask
from tests.unit.worker.workbench import Workbench
from worker.forkserver.explain import explain
from worker.forkserver.fork_advice import ForkAdvisor
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

    def start_servers(self, *names: str) -> ForkAdvisor:
        """Start every server that files need (all files by default), as a run does in time."""
        return self.pool.probe([self.pytest_task(name) for name in names or NAMES])

    def write_below(self, folder: str) -> list[str]:
        """Write files in a folder, which use the conftest there."""
        names = [f"{folder}/test_{number}.py" for number in range(6)]
        for name in names:
            self.write(name, USES.format(module="conftest"))
        return names

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

    def explanation(self, *names: str) -> list[str]:
        return list(explain(self.pool, [self.pytest_task(name) for name in names or NAMES]))

    def begin_again(self) -> None:
        """Start anew with what was learned."""
        self.use(self.settings)
