"""The fork servers of consecutive runs of one project: each run uses them, and none of them stops them.

A run treats them as its `ServerPool`. `watch` keeps them, so that a file that runs after a change is forked
at once. They hold no state of a run: a server whose files have changed is replaced, and what a run found out
about a file is forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from passmuster.model.task import TestTask
from worker.forkserver.server_pool import ServerPool
from worker.process.settings import WorkerSettings
from worker.process.supervisor_client import SupervisorClient


class KeptServers:
    """A `ServerPool` that its runs leave open. Thread-safe.

    Args:
        settings: those of the first run; the others may differ in CPUs, memory, and limits only.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._pool = ServerPool(settings)

    def renew(self) -> None:
        """Prepare for the next run."""
        self._pool.renew()

    def announce(self, tasks: Sequence[TestTask]) -> None:
        """Choose what servers preload, in the background, for all files that coming runs may run."""
        self._pool.expect(tasks)

    def stop(self) -> None:
        """Stop all servers and supervisors, and remove their temporary files."""
        self._pool.close()

    @property
    def held_bytes(self) -> int:
        """Memory of all servers and their supervisors."""
        return self._pool.held_bytes

    def of(self, _task: TestTask) -> ServerPool:
        """Return the pool from which a file is started."""
        return self._pool

    def why_no_fork(self) -> str:
        """Return why no file can be forked here, or "" if files can."""
        return self._pool.why_no_fork()

    def warm_up(self, slots: int, *, base: str) -> None:
        """Start the processes that the first files need."""
        self._pool.warm_up(slots, base=base)

    def expect(self, _tasks: Sequence[TestTask]) -> None:
        """Do nothing: the files of one run must not decide what is preloaded for all."""

    def discard(self, slot: int, supervisor: SupervisorClient) -> None:
        """Discard a supervisor that a test killed."""
        self._pool.discard(slot, supervisor)

    def release(self, *, used_slots: Collection[int]) -> None:
        """Stop the supervisors of all other slots."""
        self._pool.release(used_slots=used_slots)

    def give_up(self) -> None:
        """Create no further server until the next run, so that no file waits for one."""
        self._pool.give_up()

    def close(self) -> None:
        """End a run: the servers stay for the next one."""
