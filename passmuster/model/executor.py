"""The protocol between scheduling and execution: the calls that a dispatcher makes to one machine's executor.

The worker package implements `Executor`; the local backend and the queue worker call it, and tests use fakes
of it. Every method may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from passmuster.model.result import TestResult
from passmuster.model.status import StopReason
from passmuster.model.task import TestTask
from passmuster.model.units import format_bytes, format_seconds


class FreeCapacity(Struct, frozen=True, kw_only=True):
    """The slots and the memory that are free now."""

    slots: int  # number of further files that may start
    free_bytes: int  # memory that is not reserved
    unknown_bytes: int  # predicted peak of a file without history
    running: int  # number of files that hold a slot
    io_bound_slots: int = 0  # number of I/O-bound files that may start beyond `slots`
    must_fit: bool = False
    """Whether, although no file runs, a file that fits `free_bytes` precedes one that does not, because other
    runs on this machine hold the rest."""

    @property
    def is_idle(self) -> bool:
        """Whether no file runs, so that any file may start regardless of its prediction."""
        return self.running == 0

    def has_slot_for(self, task: TestTask) -> bool:
        """Whether there is a slot for `task`, regardless of memory."""
        return self.slots > 0 or (self.io_bound_slots > 0 and task.is_io_bound)

    @property
    def is_full(self) -> bool:
        """Whether no further file can start."""
        return self.slots <= 0 and self.io_bound_slots <= 0


class FileUsage(Struct, frozen=True, kw_only=True):
    """The current use of one running file."""

    attempt_id: str
    file_path: str
    slot: int  # 0 if only its worker knows the slot
    seconds: float  # wall-clock seconds since its start
    used_bytes: int  # 0: not measured yet
    worker: str = ""  # empty: the only worker
    parts: int = 0  # in how many parts the file runs; 0: as a whole
    finished_parts: int = 0


class WorkerUsage(Struct, frozen=True, kw_only=True):
    """The capacity and the use of one of several workers, as last published."""

    name: str
    slots: int
    busy: int  # number of running files
    budget_bytes: int
    used_bytes: int


class OtherRuns(Struct, frozen=True, kw_only=True):
    """The resource that a file waits for because other runs on this machine hold it."""

    what: str  # `memory` or `processors`
    seconds: float  # how long the file has waited
    needed_bytes: int
    held_by: str  # the runs that hold it and how much, as text for the user; may be empty

    def __str__(self) -> str:
        needed = f"{format_bytes(self.needed_bytes)} of memory" if self.what == "memory" else "a processor"
        held_by = f", held by {self.held_by}" if self.held_by else ""
        return f"has waited {format_seconds(self.seconds)} for {needed}{held_by}"


class Usage(Struct, frozen=True, kw_only=True):
    """The current use of all running files."""

    slots: int  # number of files that may run at once now
    budget_bytes: int
    used_bytes: int
    peak_bytes: int  # peak of all files together since the executor was created
    files: tuple[FileUsage, ...]  # the running files, oldest first
    workers: tuple[WorkerUsage, ...] = ()  # the workers, if there are several
    lost_workers: int = 0  # number of workers that disappeared while they ran a file
    other_runs: OtherRuns | None = None
    """The resource held by other runs that a file waits for; None: no file waits for them."""


class SlotRange(Struct, frozen=True, kw_only=True):
    """The slot numbers of one worker in a run; no two workers of a run share a number."""

    first: int
    total: int  # greater than every number that the run has assigned so far


class Limit(Struct, frozen=True, kw_only=True):
    """One limit of the machine and where it came from, for people to read."""

    name: str  # `slots`, `memory budget`
    value: str
    source: str  # `cgroup v2 memory.max`, `the default of 4 GiB`


class Stoppable(Protocol):
    """Anything whose running files can be stopped."""

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop all running files: SIGTERM, then SIGKILL after `grace_s` seconds. Does not wait.

        A second call can shorten the grace period. Tasks admitted later are cancelled immediately.
        """

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """Stop these attempts, running or admitted, as `stop_all` does. Ignores unknown ones; does not wait.

        `grace_s` 0: SIGKILL immediately.
        """


class Executor(Stoppable, Protocol):
    """Runs files on this machine within its slots and its memory budget."""

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force, each with its source."""

    def prefetch(self, tasks: Sequence[TestTask]) -> None:
        """Announce the tasks that will come, so that imports which several of them need can be preloaded."""

    def free_capacity(self) -> FreeCapacity:
        """Return the free capacity."""

    def admit(self, task: TestTask) -> bool:
        """Reserve a slot and memory for `task`; return False if it does not fit now.

        After True, `run_single_test` or `release` must be called for it, once.
        """

    def release(self, task: TestTask) -> None:
        """Release the slot and the reservation of an admitted task that will not run."""

    def run_single_test(self, task: TestTask) -> TestResult:
        """Run an admitted task, then release its slot and reservation. Never raises."""

    def usage(self) -> Usage:
        """Return the use of the running files, as last measured."""

    def check(self) -> None:
        """Check that the memory of running files is still measured.

        Raises:
            InfrastructureError: it is not, so running files could exceed the budget unnoticed.
        """

    def close(self) -> None:
        """Stop running files and release all resources of the executor."""
