"""The reservations of `memory_governor`: which files run, in which slot, with how much memory.

Not thread-safe: the governor holds its lock. Measures nothing and reads no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct, field

from passmuster.host.cpu_use import CpuMeter
from passmuster.host.host_budget_policy import HeldResources
from passmuster.model.executor import FileUsage, FreeCapacity, Usage
from passmuster.model.oversubscription import FreeSlots, free_slots, max_slots
from passmuster.model.status import StopReason
from passmuster.model.task import TestTask
from worker.budget.cpu_watch import MachineLoad
from worker.budget.inherited import Inherited, own_peak_bytes
from worker.budget.memory_policy import (
    UNKNOWN_MARGIN,
    Breach,
    FileMemory,
    unknown_file_bytes,
    usual_file_bytes,
)
from worker.budget.memory_probe import TreeMemory, TreeProbe

GROWTH_WINDOW_S = 0.04
"""Minimum seconds over which growth is measured. In a shorter window, a file that grows in steps would seem
to stand still, as would a large tree whose estimate was just corrected downwards."""


class Measured(Struct, frozen=True, kw_only=True):
    """What the governor measured of a finished file."""

    peak_bytes: int | None
    """Peak of its process tree; None: it was never measured."""
    was_alone: bool
    """Whether no other file of this run ran at the same time."""
    was_extra: bool = False
    """Whether all slots were taken when it started, so that it used oversubscription."""


class Reservation(Struct, kw_only=True):
    """One admitted file, changed only under the governor's lock. Times are on the governor's clock."""

    task: TestTask
    slot: int
    started: int
    """Number of files admitted before it."""
    admitted_at_s: float
    predicted_bytes: int
    """Memory reserved at admission."""
    limit_bytes: int | None
    """None: only the budget bounds it."""
    probe: TreeProbe
    was_alone: bool
    """Whether no other file has run at the same time so far."""
    was_extra: bool = False
    """Whether all slots were taken when it started."""
    inherited: Inherited | None = None
    """Memory that its process shares with a fork server; None: it was spawned."""
    attached_at_s: float | None = None
    """When its process started to exist; None: not yet."""
    cpu: CpuMeter = field(default_factory=CpuMeter)
    memory: TreeMemory | None = None
    """The last measurement; None: none yet."""
    measured_at_s: float = 0.0
    # Growth is measured over two windows: [start, base] is finished, and the current one starts at base.
    start_bytes: int = 0
    start_at_s: float = 0.0
    base_bytes: int = 0
    base_at_s: float = 0.0
    latest_bytes_per_s: float = 0.0
    """Growth in the last finished window."""
    earlier_bytes_per_s: float = 0.0
    """Growth in the window before that."""
    peak_bytes: int | None = None
    """None: never measured."""
    breach: Breach | None = None
    """Why its kill was requested; None: it was not."""
    kill_requested_at_s: float | None = None
    """When its kill was first requested; None: it was not."""
    kill_repeated_at_s: float = 0.0
    """When its kill was last requested."""

    @property
    def used_bytes(self) -> int:
        """Bytes according to the last measurement."""
        return self.memory.used_bytes if self.memory is not None else 0

    @property
    def exceeded_own_limit(self) -> bool:
        """Whether it was killed for exceeding its own limit; its peak then predicts no other file."""
        return self.breach is not None and self.breach.reason is StopReason.MEMORY_LIMIT

    @property
    def growth_bytes_per_s(self) -> float:
        """The growth that is expected to continue: the lower of the last two windows.

        One burst, as most files have at their start, must not count as a leak.
        """
        return min(self.latest_bytes_per_s, self.earlier_bytes_per_s)

    def used_cpus(self, load: MachineLoad) -> float:
        """Return the CPUs that it keeps busy; before the first measurement, the prediction from its history.

        On a saturated machine, an unmeasured file counts as using a whole CPU.
        """
        if self.cpu.cpus is not None:
            return self.cpu.cpus
        return 1.0 if load.is_saturated else self.task.predicted_cpus

    def record(self, memory: TreeMemory, *, now_s: float, replaces_last: bool = False) -> None:
        """Record a measurement of `now_s`.

        With `replaces_last`, it corrects the measurement made a moment before: the difference is no growth.
        """
        if self.memory is None:
            self.base_at_s = self.attached_at_s or now_s
        corrects_window = replaces_last and self.measured_at_s == self.base_at_s
        if not corrects_window and now_s - self.base_at_s >= GROWTH_WINDOW_S:
            self.earlier_bytes_per_s = self.latest_bytes_per_s
            self.start_bytes, self.start_at_s = self.base_bytes, self.base_at_s
            self.base_at_s = now_s
            corrects_window = True
        if corrects_window:
            self.base_bytes = memory.used_bytes
            elapsed_s = self.base_at_s - self.start_at_s
            grown_bytes = self.base_bytes - self.start_bytes
            self.latest_bytes_per_s = max(0.0, grown_bytes / elapsed_s) if elapsed_s > 0 else 0.0
        self.memory = memory
        self.measured_at_s = self.base_at_s if corrects_window else now_s
        if memory.is_settled:
            self.peak_bytes = max(self.peak_bytes or 0, memory.used_bytes)

    def peak_at_end(self, *, max_rss_bytes: int | None) -> int | None:
        """Return its peak from the samples and the kernel's figure at its end; None if unknown."""
        if max_rss_bytes is not None and self.inherited is not None:
            is_measured = self.memory is not None
            max_rss_bytes = own_peak_bytes(max_rss_bytes, self.inherited, was_measured=is_measured)
        if self.memory is None:
            # It ended before the first sample: the kernel's figure is rather too high than too low.
            return max_rss_bytes
        if max_rss_bytes is None:
            return self.peak_bytes
        # The kernel's figure includes pages of files on disk; the samples do not.
        file_bytes = self.memory.file_bytes if self.inherited is None else 0
        return max(self.peak_bytes or 0, max_rss_bytes - file_bytes)

    def as_running(self, *, now_s: float) -> FileMemory:
        """Return the figures that the memory rules need."""
        return FileMemory(
            attempt_id=self.task.attempt_id,
            started=self.started,
            predicted_bytes=self.predicted_bytes,
            used_bytes=self.used_bytes,
            growth_bytes_per_s=self.growth_bytes_per_s,
            burst_bytes_per_s=max(self.latest_bytes_per_s, self.earlier_bytes_per_s),
            limit_bytes=self.limit_bytes,
            kill_pending_s=None if self.kill_requested_at_s is None else now_s - self.kill_requested_at_s,
        )


REMEMBERED_PEAKS = 200
"""Number of recent peaks from which the peak of unknown files is predicted."""

MATURE_AFTER_S = 5.0
"""Age in seconds from which a file's use, not its prediction, counts for the first file of another run."""

WORKS_CPUS = 0.2
"""CPUs that a file must use to count as busy on a saturated machine, where each file gets only a share."""


class MemoryLedger:
    """The running files and their reservations.

    Args:
        slots: usual number of concurrent files.
        budget_bytes: bound for all files together.
        limit_bytes: bound for one file whose task sets none; None: the budget.
        cpus: CPUs that extra files may use while they are idle; None: no extra files.
        usual_bytes: usual peak of files of other projects on this machine; None: unknown.
    """

    def __init__(
        self,
        *,
        slots: int,
        budget_bytes: int,
        limit_bytes: int | None,
        cpus: int | None = None,
        usual_bytes: int | None = None,
    ) -> None:
        self.slots = slots
        self.load: MachineLoad | None = None
        self.ended = 0
        self.total_bytes = budget_bytes
        self.server_bytes = 0
        """Memory of the fork servers, counted once for all processes that share it."""
        self.peak_bytes = 0
        self._limit_bytes = limit_bytes
        self._cpus = cpus
        self._entries: dict[str, Reservation] = {}
        self._free_slots = set(range(max_slots(slots, cpus=cpus)))
        self._admitted = 0
        self._peaks_bytes: deque[int] = deque(maxlen=REMEMBERED_PEAKS)
        self._usual_bytes = usual_bytes

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Predict unknown files from the history of the planned ones."""
        known_bytes = [task.predicted_bytes for task in tasks if task.predicted_bytes is not None]
        self._usual_bytes = usual_file_bytes(known_bytes) or self._usual_bytes

    @property
    def peaks_bytes(self) -> tuple[int, ...]:
        """The latest peaks of finished files that did not exceed a limit of their own."""
        return tuple(self._peaks_bytes)

    @property
    def entries(self) -> tuple[Reservation, ...]:
        """The running files in the order of their start."""
        return tuple(self._entries.values())

    @property
    def attached(self) -> tuple[Reservation, ...]:
        """The running files that have a process."""
        return tuple(entry for entry in self._entries.values() if entry.attached_at_s is not None)

    @property
    def budget_bytes(self) -> int:
        """The budget without the memory of the fork servers."""
        return max(1, self.total_bytes - self.server_bytes)

    @property
    def reserved_bytes(self) -> int:
        """The current reservations of all running files."""
        unknown_bytes = self.unknown_bytes()
        return sum(self._reserved_for(entry, unknown_bytes=unknown_bytes) for entry in self._entries.values())

    @property
    def predicted_bytes(self) -> int:
        """The reservations of all running files at their admission."""
        return sum(entry.predicted_bytes for entry in self._entries.values())

    @property
    def used_bytes(self) -> int:
        """Use of all running files according to their last measurements."""
        return sum(entry.used_bytes for entry in self._entries.values())

    @property
    def taken_bytes(self) -> int:
        """Use of all running files and of the fork servers."""
        return self.server_bytes + self.used_bytes

    def held_resources(self, *, now_s: float) -> HeldResources:
        """Return the share of the machine that the running files hold.

        While no file runs, the share is empty even if fork servers exist. Otherwise two runs that wait for
        their first file could wait for each other.
        """
        if not self._entries:
            return HeldResources()
        unknown_bytes, load = self.unknown_bytes(), self.load or MachineLoad()
        reserved_bytes = firm_bytes = self.server_bytes
        cpus = 0.0
        for entry in self._entries.values():
            reserved = self._reserved_for(entry, unknown_bytes=unknown_bytes)
            is_mature = now_s - entry.admitted_at_s > MATURE_AFTER_S
            reserved_bytes += reserved
            firm_bytes += min(reserved, int(entry.used_bytes * UNKNOWN_MARGIN)) if is_mature else reserved
            used_cpus = entry.used_cpus(load)
            cpus += max(1.0, used_cpus) if load.is_saturated and used_cpus >= WORKS_CPUS else used_cpus
        return HeldResources(
            files=len(self._entries),
            reserved_bytes=min(self.total_bytes, reserved_bytes),
            firm_bytes=min(self.total_bytes, firm_bytes),
            used_bytes=self.taken_bytes,
            cpus=cpus,
        )

    @property
    def used_cpus(self) -> float:
        """CPUs that all running files keep busy, measured or predicted."""
        return sum(entry.used_cpus(self.load or MachineLoad()) for entry in self._entries.values())

    def unknown_bytes(self) -> int:
        """Return the predicted peak of a file without history."""
        running = (entry.peak_bytes for entry in self._entries.values() if not entry.exceeded_own_limit)
        return unknown_file_bytes(
            budget_bytes=self.budget_bytes,
            slots=self.slots,
            peaks_bytes=self._peaks_bytes,
            usual_bytes=self._usual_bytes,
            running_bytes=[peak for peak in running if peak is not None],
        )

    def _reserved_for(self, entry: Reservation, *, unknown_bytes: int) -> int:
        """Return the reservation of a file: the larger of its prediction and its use.

        The prediction for an unknown file follows what the run has learned since that file started.
        """
        predicted_bytes = entry.predicted_bytes
        if entry.task.predicted_bytes is None:
            predicted_bytes = min(unknown_bytes, entry.limit_bytes or unknown_bytes)
        return max(predicted_bytes, entry.used_bytes)

    def need_bytes(self, task: TestTask) -> int:
        """Return the reservation for `task`, at most its limit and the budget."""
        need_bytes = self.unknown_bytes() if task.predicted_bytes is None else task.predicted_bytes
        return min(need_bytes, self.limit_of(task) or self.budget_bytes, self.budget_bytes)

    def asked_bytes(self, task: TestTask) -> int:
        """Return the memory that `task` needs of the machine's shared memory to start."""
        return self.need_bytes(task) + (0 if self._entries else self.server_bytes)

    def limit_of(self, task: TestTask) -> int | None:
        """Return the memory limit of `task`; None: only the budget bounds it."""
        return self._limit_bytes if task.limits.memory_bytes is None else task.limits.memory_bytes

    def free_capacity(self) -> FreeCapacity:
        """Return the free capacity, regardless of other runs."""
        available = self._available_slots()
        return FreeCapacity(
            slots=available.slots,
            io_bound_slots=available.io_bound_slots,
            free_bytes=max(0, self.budget_bytes - self.reserved_bytes),
            unknown_bytes=self.unknown_bytes(),
            running=len(self._entries),
        )

    def _available_slots(self) -> FreeSlots:
        """Return how many further files may start, regardless of memory."""
        if any(entry.task.exclusive for entry in self._entries.values()):
            return FreeSlots(slots=0, io_bound_slots=0)
        load = self.load or MachineLoad()
        return free_slots(
            slots=self.slots,
            cpus=self._cpus,
            used_cpus=[entry.used_cpus(load) for entry in self._entries.values()],
            other_cpus=load.other_cpus,
            is_saturated=load.is_saturated,
            is_measured=self.load is not None,
        )

    def fits(self, task: TestTask) -> bool:
        """Whether `task` may start now, regardless of other runs."""
        capacity = self.free_capacity()
        if capacity.is_idle:
            return True
        return (
            capacity.has_slot_for(task)
            and not task.exclusive
            and self.need_bytes(task) <= capacity.free_bytes
        )

    def add(self, task: TestTask, *, probe: TreeProbe, now_s: float) -> Reservation:
        """Reserve memory and the lowest free slot for `task`, which must fit."""
        for other in self._entries.values():
            other.was_alone = False
        entry = Reservation(
            task=task,
            slot=min(self._free_slots),
            started=self._admitted,
            admitted_at_s=now_s,
            predicted_bytes=self.need_bytes(task),
            limit_bytes=self.limit_of(task),
            probe=probe,
            was_alone=not self._entries,
            was_extra=len(self._entries) >= self.slots,
        )
        self._admitted += 1
        self._free_slots.remove(entry.slot)
        self._entries[task.attempt_id] = entry
        return entry

    def find(self, attempt_id: str) -> Reservation | None:
        """Return the reservation of a running file; None if it does not run."""
        return self._entries.get(attempt_id)

    def remove(self, attempt_id: str) -> Reservation | None:
        """Release the slot and the reservation of a file; return None if it did not run."""
        entry = self._entries.pop(attempt_id, None)
        if entry is not None:
            self._free_slots.add(entry.slot)
            self.ended += 1
        return entry

    def learn(self, peak_bytes: int) -> None:
        """Record the peak of a finished file that did not exceed a limit of its own."""
        self._peaks_bytes.append(peak_bytes)

    def note_peak(self, alone_bytes: int = 0) -> None:
        """Record the use of all files together after a sample, or the peak of one file between samples."""
        # An unsettled estimate counts new children in full: it protects the budget but is no peak.
        known_bytes = sum(
            entry.used_bytes
            if entry.memory is not None and entry.memory.is_settled
            else entry.peak_bytes or 0
            for entry in self._entries.values()
        )
        self.peak_bytes = max(self.peak_bytes, self.server_bytes + max(known_bytes, alone_bytes))

    def usage(self, *, now_s: float) -> Usage:
        """Return the slots and the memory that the running files use."""
        available = self._available_slots()
        return Usage(
            slots=len(self._entries) + available.slots + available.io_bound_slots,
            budget_bytes=self.total_bytes,
            used_bytes=self.taken_bytes,
            peak_bytes=self.peak_bytes,
            files=tuple(
                FileUsage(
                    attempt_id=entry.task.attempt_id,
                    file_path=entry.task.file_path,
                    slot=entry.slot,
                    seconds=now_s - entry.admitted_at_s,
                    used_bytes=entry.used_bytes,
                )
                for entry in self._entries.values()
            ),
        )
