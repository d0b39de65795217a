"""The seam between who decides and who executes: what a dispatcher may ask of one machine's executor.

The worker package implements `Executor`; the local backend and the queue's worker drive it. Scripted
versions of it serve the tests. Every method may be called from any thread.
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
    """What could start now.

    Args:
        slots: how many more files may start.
        waiting_slots: how many beyond these, of files that are known to wait mostly.
        free_bytes: memory that is not reserved for anything yet.
        unknown_bytes: what a file without a prediction is taken to need.
        is_idle: nothing runs, so any file may start, however much it is predicted to need.
        must_fit: although nothing runs, a file that fits `free_bytes` goes before one that does not: other
            runs on this machine hold the rest.
    """

    slots: int
    free_bytes: int
    unknown_bytes: int
    is_idle: bool
    waiting_slots: int = 0
    must_fit: bool = False

    def takes(self, task: TestTask) -> bool:
        """Return whether there is a place for `task`, whatever memory it needs."""
        return self.slots > 0 or (self.waiting_slots > 0 and task.mostly_waits)

    @property
    def is_full(self) -> bool:
        """Whether there is a place for nobody."""
        return self.slots <= 0 and self.waiting_slots <= 0


class FileUsage(Struct, frozen=True, kw_only=True):
    """What one running file uses at this moment.

    Args:
        attempt_id: which attempt at it.
        file_path: the file.
        slot: the place it has; 0 where only its worker knows.
        seconds: wall-clock seconds since its start.
        used_bytes: memory of its processes; 0: not measured yet.
        worker: who runs it, where there are several.
    """

    attempt_id: str
    file_path: str
    slot: int
    seconds: float
    used_bytes: int
    worker: str = ""


class WorkerUsage(Struct, frozen=True, kw_only=True):
    """What one worker of several has, and uses of it, as it last said.

    Args:
        name: which.
        slots: files it runs at once.
        busy: files it runs now.
        budget_bytes: memory for them.
        used_bytes: what they use.
    """

    name: str
    slots: int
    busy: int
    budget_bytes: int
    used_bytes: int


class OtherRuns(Struct, frozen=True, kw_only=True):
    """What a file waits for that other runs on this machine hold.

    Args:
        what: `memory` or `processors`.
        seconds: for how long it has been waiting.
        needed_bytes: memory that it needs.
        held_by: which runs hold it, and how much, for people; may be empty.
    """

    what: str
    seconds: float
    needed_bytes: int
    held_by: str

    def __str__(self) -> str:
        needed = f"{format_bytes(self.needed_bytes)} of memory" if self.what == "memory" else "a processor"
        held_by = f", held by {self.held_by}" if self.held_by else ""
        return f"has waited {format_seconds(self.seconds)} for {needed}{held_by}"


class Usage(Struct, frozen=True, kw_only=True):
    """What all running files use at this moment.

    Args:
        slots: how many files may run at once at this moment.
        budget_bytes: what all files together may use.
        used_bytes: what they use.
        peak_bytes: the most they used together since the executor was made.
        files: each running file, in the order of their start.
        workers: each worker, where there are several machines or processes.
        other_runs: what a file waits for that other runs on this machine hold; None: it waits for none of
            that.
    """

    slots: int
    budget_bytes: int
    used_bytes: int
    peak_bytes: int
    files: tuple[FileUsage, ...]
    workers: tuple[WorkerUsage, ...] = ()
    other_runs: OtherRuns | None = None


class SlotRange(Struct, frozen=True, kw_only=True):
    """The numbers that the slots of one worker have in a run: no two workers of a run share one.

    Args:
        first: the number of its first slot.
        total: greater than every number that the run has given out so far.
    """

    first: int
    total: int


class Limit(Struct, frozen=True, kw_only=True):
    """One limit of the machine and where it came from, for people to read.

    Args:
        name: what is limited (`slots`, `memory budget`).
        value: the limit as a person writes it.
        source: where it came from (`cgroup v2 memory.max`, `the default of 4 GiB`).
    """

    name: str
    value: str
    source: str


class Stoppable(Protocol):
    """What can be ended, whatever runs it."""

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """End whatever runs: SIGTERM, and SIGKILL after `grace_s` seconds. Does not wait.

        A second call with a shorter grace shortens the first one's. Tasks admitted later end at once,
        as cancelled.
        """

    def end(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """End only these attempts, running or admitted, as `stop` does; others go on. Does not wait.

        Args:
            attempt_ids: whose; those that are not here are passed over.
            reason: why.
            grace_s: seconds between SIGTERM and SIGKILL; 0: SIGKILL at once.
        """


class Executor(Stoppable, Protocol):
    """Runs files on this machine within its slots and its memory budget."""

    def limits(self) -> tuple[Limit, ...]:
        """Return the limits in force, each with its source."""

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Tell which tasks will come, so that what several of them need can be prepared once."""

    def room(self) -> FreeCapacity:
        """Return what could start now."""

    def admit(self, task: TestTask) -> bool:
        """Reserve a slot and memory for `task`; False when it does not fit now.

        After True, `run_single_test` or `dismiss` must be called for it, once.
        """

    def dismiss(self, task: TestTask) -> None:
        """Give the slot and the memory of an admitted task back: it is not to run after all."""

    def run_single_test(self, task: TestTask) -> TestResult:
        """Run an admitted task to its end, and give its slot and memory back. Never raises."""

    def usage(self) -> Usage:
        """Return what the running files use, as last measured."""

    def check(self) -> None:
        """Make sure that the memory of running files is still measured.

        Raises:
            InfrastructureError: it no longer is: whatever runs could break the budget unseen.
        """

    def close(self) -> None:
        """End whatever still runs, and give back what the executor holds."""
