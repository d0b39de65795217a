"""Two server pools, for a worker that serves runs with coverage and runs without.

Processes inherit coverage measurement from their fork server, so files with and without coverage need
different servers. The second pool is created when the first file needs it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from passmuster.model.task import TestTask
from worker.forkserver.server_pool import ServerPool
from worker.process.settings import WorkerSettings
from worker.process.supervisor_client import SupervisorClient


class CoveragePools:
    """Two `ServerPool`s: one for files that are measured, one for all others. Thread-safe.

    Args:
        settings: with a directory for coverage data.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._plain = ServerPool(replace(settings, coverage_dir=None))
        self._measuring: ServerPool | None = None
        self._is_over = False

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment that the servers were started with."""
        return self._plain.environment

    @property
    def held_bytes(self) -> int:
        """Memory of all servers and their supervisors."""
        return sum(pool.held_bytes for pool in self._pools())

    def of(self, task: TestTask) -> ServerPool:
        """Return the pool from which a file is started."""
        if task.coverage is None:
            return self._plain
        with self._lock:
            if self._measuring is None:
                self._measuring = ServerPool(self._settings)
                if self._is_over:
                    self._measuring.give_up()
            return self._measuring

    def why_no_fork(self) -> str:
        """Return why no file can be forked here, or "" if files can."""
        return self._plain.why_no_fork()

    def warm_up(self, slots: int) -> None:
        """Start the processes that the first files need, assuming that they are not measured."""
        self._plain.warm_up(slots)

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Announce the files that will be started."""
        for is_measured in (False, True):
            some = [task for task in tasks if (task.coverage is not None) == is_measured]
            if some:
                self.of(some[0]).expect(some)

    def discard(self, slot: int, supervisor: SupervisorClient) -> None:
        """Discard a supervisor that a test killed."""
        for pool in self._pools():
            pool.discard(slot, supervisor)

    def release(self, *, used_slots: Collection[int]) -> None:
        """Stop the supervisors of all other slots."""
        for pool in self._pools():
            pool.release(used_slots=used_slots)

    def give_up(self) -> None:
        """Create no further server."""
        self._is_over = True
        for pool in self._pools():
            pool.give_up()

    def close(self) -> None:
        """Stop all supervisors and all servers."""
        with contextlib.ExitStack() as stack:
            for pool in self._pools():
                stack.callback(pool.close)

    def _pools(self) -> tuple[ServerPool, ...]:
        with self._lock:
            return (self._plain,) if self._measuring is None else (self._plain, self._measuring)
