"""The reservations of `memory_governor`: which files run, in which slot, with how much memory.

Not thread-safe: the governor locks. Reads no processes and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct, field

from passmuster.host.cpu_use import CpuMeter
from passmuster.host.host_budget_policy import Holding
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
"""Seconds that growth is measured over at least. Shorter, and what grows in steps seems to stand still
between two of them, as does a tree of many processes whose estimate was just corrected downwards."""


class Measured(Struct, frozen=True, kw_only=True):
    """What was learned about a file's memory.

    Args:
        peak_bytes: the most its process tree used; None when it was never measured.
        was_alone: whether no other file of this run ran at any time beside it.
        was_extra: whether as many files as usual ran already when it started.
    """

    peak_bytes: int | None
    was_alone: bool
    was_extra: bool = False


class Reservation(Struct, kw_only=True):
    """One admitted file; the only mutable record here, changed under the governor's lock.

    Args:
        task: what was admitted.
        slot: its slot, from 0.
        started: how many files had been admitted before it.
        admitted_at_s: when, on the governor's clock.
        predicted_bytes: what was reserved for it then.
        limit_bytes: its own limit; None: only the budget bounds it.
        probe: measures its tree.
        inherited: what its process shares with a server; None: it was executed.
        was_alone: whether no other file has run beside it so far.
        was_extra: whether as many files as usual ran already when it started.
        attached_at_s: when its process existed; None: not yet.
        cpu: how many processors it keeps busy.
        memory: the last measurement; None: none yet.
        measured_at_s: when that was.
        start_bytes: what it used when the last window of growth began.
        start_at_s: when that was.
        base_bytes: what it used when that window ended and the present one began.
        base_at_s: when that was.
        latest_bytes_per_s: how fast it grew in the last window.
        earlier_bytes_per_s: how fast it grew in the window before.
        peak_bytes: the most that was measured; None: it never was.
        breach: why it was told to end; None: it was not.
        doomed_at_s: when it was told so first; None: it was not.
        told_at_s: when it was told so last.
    """

    task: TestTask
    slot: int
    started: int
    admitted_at_s: float
    predicted_bytes: int
    limit_bytes: int | None
    probe: TreeProbe
    was_alone: bool
    was_extra: bool = False
    inherited: Inherited | None = None
    attached_at_s: float | None = None
    cpu: CpuMeter = field(default_factory=CpuMeter)
    memory: TreeMemory | None = None
    measured_at_s: float = 0.0
    start_bytes: int = 0
    start_at_s: float = 0.0
    base_bytes: int = 0
    base_at_s: float = 0.0
    latest_bytes_per_s: float = 0.0
    earlier_bytes_per_s: float = 0.0
    peak_bytes: int | None = None
    breach: Breach | None = None
    doomed_at_s: float | None = None
    told_at_s: float = 0.0

    @property
    def used_bytes(self) -> int:
        """What it was last measured to use."""
        return self.memory.used_bytes if self.memory is not None else 0

    @property
    def is_guilty(self) -> bool:
        """Whether it was stopped for what it did itself: a leak says nothing about what others need."""
        return self.breach is not None and self.breach.reason is StopReason.MEMORY_LIMIT

    @property
    def growth_bytes_per_s(self) -> float:
        """How fast it grows and may be expected to go on: what both of the last two windows saw.

        A file that takes much at once and stops, as most do at their start, must not be taken for a leak.
        """
        return min(self.latest_bytes_per_s, self.earlier_bytes_per_s)

    def used_cpus(self, load: MachineLoad) -> float:
        """Return how many processors it keeps busy; before that was measured, what its history says.

        On a machine on which no processor is idle nobody is believed to wait who was not seen to.
        """
        if self.cpu.cpus is not None:
            return self.cpu.cpus
        return 1.0 if load.is_saturated else self.task.predicted_cpus

    def record(self, memory: TreeMemory, *, now_s: float, replaces_last: bool = False) -> None:
        """Take note of a measurement.

        Args:
            memory: what was measured.
            now_s: when.
            replaces_last: it only corrects the one before, made a moment ago; growth since that moment
                would be noise.
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
        """Return its peak from what was measured and what the kernel said at its end; None: unknown."""
        if max_rss_bytes is not None and self.inherited is not None:
            is_measured = self.memory is not None
            max_rss_bytes = own_peak_bytes(max_rss_bytes, self.inherited, was_measured=is_measured)
        if self.memory is None:
            # It ended before the first look: the kernel's figure is too high rather than too low.
            return max_rss_bytes
        if max_rss_bytes is None:
            return self.peak_bytes
        # Files on disk count in the kernel's figure and not in ours.
        file_bytes = self.memory.file_bytes if self.inherited is None else 0
        return max(self.peak_bytes or 0, max_rss_bytes - file_bytes)

    def as_running(self, *, now_s: float) -> FileMemory:
        """Return it as the rules see it."""
        return FileMemory(
            attempt_id=self.task.attempt_id,
            started=self.started,
            predicted_bytes=self.predicted_bytes,
            used_bytes=self.used_bytes,
            growth_bytes_per_s=self.growth_bytes_per_s,
            spurt_bytes_per_s=max(self.latest_bytes_per_s, self.earlier_bytes_per_s),
            limit_bytes=self.limit_bytes,
            doomed_s=None if self.doomed_at_s is None else now_s - self.doomed_at_s,
        )


REMEMBERED_PEAKS = 200
"""Peaks of finished files that the prediction for unknown ones is drawn from: the recent past of the run."""

RIPE_S = 5.0
"""Seconds after its start at which a file has shown what it needs, as far as another run's first file waits
for it."""

WORKS_CPUS = 0.2
"""Processors that a file must use to count as one that works, where so many share them that each gets
little."""


class MemoryLedger:
    """What runs and what is reserved for it.

    Args:
        slots: how many files run at once usually.
        budget_bytes: what all files together may use.
        limit_bytes: what one file may use where its task says nothing; None: the budget.
        cpus: processors for which further files may start while they are idle; None: for none.
        usual_bytes: what files of other projects usually need on this machine; None: not known.
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
        self.held_bytes = 0
        """What is taken whatever runs: fork servers, counted once for all the processes that share them."""
        self.peak_bytes = 0
        self._limit_bytes = limit_bytes
        self._cpus = cpus
        self._entries: dict[str, Reservation] = {}
        self._free_slots = set(range(max_slots(slots, cpus=cpus)))
        self._admitted = 0
        self._peaks_bytes: deque[int] = deque(maxlen=REMEMBERED_PEAKS)
        self._usual_bytes = usual_bytes

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Take what earlier runs know of the files that will come as what the unknown among them need."""
        known_bytes = [task.predicted_bytes for task in tasks if task.predicted_bytes is not None]
        self._usual_bytes = usual_file_bytes(known_bytes) or self._usual_bytes

    @property
    def peaks_bytes(self) -> tuple[int, ...]:
        """The peaks of the files that ended last and were not guilty."""
        return tuple(self._peaks_bytes)

    @property
    def entries(self) -> tuple[Reservation, ...]:
        """The running files in the order of their start."""
        return tuple(self._entries.values())

    @property
    def budget_bytes(self) -> int:
        """What is left for all files together beside what is held."""
        return max(1, self.total_bytes - self.held_bytes)

    @property
    def reserved_bytes(self) -> int:
        """What is reserved for all of them."""
        unknown_bytes = self.unknown_bytes()
        return sum(self._reserved_for(entry, unknown_bytes=unknown_bytes) for entry in self._entries.values())

    @property
    def predicted_bytes(self) -> int:
        """What was reserved for all of them when they started."""
        return sum(entry.predicted_bytes for entry in self._entries.values())

    @property
    def used_bytes(self) -> int:
        """What all of them were last measured to use."""
        return sum(entry.used_bytes for entry in self._entries.values())

    @property
    def taken_bytes(self) -> int:
        """What they use, and what is held."""
        return self.held_bytes + self.used_bytes

    def holding(self, *, now_s: float) -> Holding:
        """Return what the running files hold of what runs on this machine share.

        Nothing while no file runs, whatever the fork servers take: a run that waits for its first file must
        count as one that has nothing, or two of them could wait for each other.
        """
        if not self._entries:
            return Holding()
        unknown_bytes, load = self.unknown_bytes(), self.load or MachineLoad()
        reserved_bytes = firm_bytes = self.held_bytes
        cpus = 0.0
        for entry in self._entries.values():
            reserved = self._reserved_for(entry, unknown_bytes=unknown_bytes)
            is_ripe = now_s - entry.admitted_at_s > RIPE_S
            reserved_bytes += reserved
            firm_bytes += min(reserved, int(entry.used_bytes * UNKNOWN_MARGIN)) if is_ripe else reserved
            used_cpus = entry.used_cpus(load)
            cpus += max(1.0, used_cpus) if load.is_saturated and used_cpus >= WORKS_CPUS else used_cpus
        return Holding(
            files=len(self._entries),
            reserved_bytes=min(self.total_bytes, reserved_bytes),
            firm_bytes=min(self.total_bytes, firm_bytes),
            used_bytes=self.taken_bytes,
            cpus=cpus,
        )

    @property
    def used_cpus(self) -> float:
        """How many processors all of them keep busy, or are thought to."""
        return sum(entry.used_cpus(self.load or MachineLoad()) for entry in self._entries.values())

    def unknown_bytes(self) -> int:
        """Return what a file without a prediction is taken to need."""
        running = (entry.peak_bytes for entry in self._entries.values() if not entry.is_guilty)
        return unknown_file_bytes(
            budget_bytes=self.budget_bytes,
            slots=self.slots,
            peaks_bytes=self._peaks_bytes,
            usual_bytes=self._usual_bytes,
            running_bytes=[peak for peak in running if peak is not None],
        )

    def _reserved_for(self, entry: Reservation, *, unknown_bytes: int) -> int:
        """Return what is reserved for a file: what it really takes, if that is more than was predicted.

        What the run has learned since an unknown file started holds for that file as well.
        """
        predicted_bytes = entry.predicted_bytes
        if entry.task.predicted_bytes is None:
            predicted_bytes = min(unknown_bytes, entry.limit_bytes or unknown_bytes)
        return max(predicted_bytes, entry.used_bytes)

    def need_bytes(self, task: TestTask) -> int:
        """Return what would be reserved for `task`: never more than the budget, or than it may use."""
        need_bytes = self.unknown_bytes() if task.predicted_bytes is None else task.predicted_bytes
        return min(need_bytes, self.limit_of(task) or self.budget_bytes, self.budget_bytes)

    def asked_bytes(self, task: TestTask) -> int:
        """Return what more must be had of the memory that runs share, for `task` to start."""
        return self.need_bytes(task) + (0 if self._entries else self.held_bytes)

    def limit_of(self, task: TestTask) -> int | None:
        """Return what `task` may use by itself; None: only the budget bounds it."""
        return self._limit_bytes if task.limits.memory_bytes is None else task.limits.memory_bytes

    def room(self) -> FreeCapacity:
        """Return what could start now, as far as this run alone decides."""
        places = self._places()
        return FreeCapacity(
            slots=places.slots,
            waiting_slots=places.waiting_slots,
            free_bytes=max(0, self.budget_bytes - self.reserved_bytes),
            unknown_bytes=self.unknown_bytes(),
            is_idle=not self._entries,
        )

    def _places(self) -> FreeSlots:
        """Return how many further files may start, whatever memory they need."""
        if any(entry.task.alone for entry in self._entries.values()):
            return FreeSlots(slots=0, waiting_slots=0)
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
        """Return whether `task` may start now, as far as this run alone decides."""
        room = self.room()
        if room.is_idle:
            return True
        return room.takes(task) and not task.alone and self.need_bytes(task) <= room.free_bytes

    def add(self, task: TestTask, *, probe: TreeProbe, now_s: float) -> Reservation:
        """Give `task` the lowest free slot and reserve its memory; it must fit."""
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
        """Return a running file; None when it does not run (any more)."""
        return self._entries.get(attempt_id)

    def remove(self, attempt_id: str) -> Reservation | None:
        """Give slot and memory of a file back; None when it did not run."""
        entry = self._entries.pop(attempt_id, None)
        if entry is not None:
            self._free_slots.add(entry.slot)
            self.ended += 1
        return entry

    def learn(self, peak_bytes: int) -> None:
        """Take note of the peak of a file that ended and was not guilty."""
        self._peaks_bytes.append(peak_bytes)

    def note_peak(self, alone_bytes: int = 0) -> None:
        """Take note of what all files use together, after a round of measurements.

        Args:
            alone_bytes: what one of them was found to have used, perhaps between two rounds.
        """
        # An estimate that counts new children in full is for caution, not for the record.
        known_bytes = sum(
            entry.used_bytes
            if entry.memory is not None and entry.memory.is_settled
            else entry.peak_bytes or 0
            for entry in self._entries.values()
        )
        self.peak_bytes = max(self.peak_bytes, self.held_bytes + max(known_bytes, alone_bytes))

    def usage(self, *, now_s: float) -> Usage:
        """Return what the running files use."""
        places = self._places()
        return Usage(
            slots=len(self._entries) + places.slots + places.waiting_slots,
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
