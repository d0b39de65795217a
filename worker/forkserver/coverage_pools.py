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
    """A `ServerPool` for each kind of file. Thread-safe.

    Args:
        settings: of the worker, with a folder for coverage data.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._plain = ServerPool(replace(settings, coverage_dir=None))
        self._measuring: ServerPool | None = None
        self._is_over = False

    @property
    def environment(self) -> Mapping[str, str]:
        """What the servers were started with."""
        return self._plain.environment

    @property
    def held_bytes(self) -> int:
        """What all servers and their supervisors take."""
        return sum(fleet.held_bytes for fleet in self._fleets())

    def of(self, task: TestTask) -> ServerPool:
        """Return the fleet that a file is started from."""
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
        """Start what the first files will need, if they are not measured."""
        self._plain.warm_up(slots)

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Tell which files will come."""
        for is_measured in (False, True):
            some = [task for task in tasks if (task.coverage is not None) == is_measured]
            if some:
                self.of(some[0]).expect(some)

    def discard(self, slot: int, supervisor: SupervisorClient) -> None:
        """Forget a supervisor that a test has killed."""
        for fleet in self._fleets():
            fleet.discard(slot, supervisor)

    def release(self, *, used_slots: Collection[int]) -> None:
        """End the supervisors of all other slots."""
        for fleet in self._fleets():
            fleet.release(used_slots=used_slots)

    def give_up(self) -> None:
        """Make no further server."""
        self._is_over = True
        for fleet in self._fleets():
            fleet.give_up()

    def close(self) -> None:
        """End all supervisors and all servers."""
        with contextlib.ExitStack() as stack:
            for fleet in self._fleets():
                stack.callback(fleet.close)

    def _fleets(self) -> tuple[ServerPool, ...]:
        with self._lock:
            return (self._plain,) if self._measuring is None else (self._plain, self._measuring)
