"""One running file in the books of `worker.memory_ledger`."""

from __future__ import annotations

from msgspec import Struct, field

from passmuster.status import StopReason
from passmuster.task import TestTask
from worker.cpu_use import CpuMeter
from worker.cpu_watch import MachineLoad
from worker.inherited import Inherited, own_peak_bytes
from worker.memory_policy import Breach, RunningFile
from worker.memory_probe import TreeMemory, TreeProbe

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


class Entry(Struct, kw_only=True):
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

    def as_running(self, *, now_s: float) -> RunningFile:
        """Return it as the rules see it."""
        return RunningFile(
            attempt_id=self.task.attempt_id,
            started=self.started,
            predicted_bytes=self.predicted_bytes,
            used_bytes=self.used_bytes,
            growth_bytes_per_s=self.growth_bytes_per_s,
            spurt_bytes_per_s=max(self.latest_bytes_per_s, self.earlier_bytes_per_s),
            limit_bytes=self.limit_bytes,
            doomed_s=None if self.doomed_at_s is None else now_s - self.doomed_at_s,
        )
