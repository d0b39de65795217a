"""Measures how busy the CPUs are while files run, as long as a queued file waits for idle ones.

`worker.budget.memory_governor` owns one watch and reads it with each sample;
`passmuster.model.oversubscription` decides by the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.host.cpu_use import CpuMeter, machine_cpu_s, tree_cpu_s
from passmuster.host.host_resources import PROC, usable_cpus
from passmuster.model.oversubscription import SATURATED_CPUS

ASKED_S = 1.0
"""Seconds for which a request to measure stays valid; an executor with queued files repeats it each 0.1 s."""


class MachineLoad(Struct, frozen=True, kw_only=True):
    """The load on this machine's CPUs."""

    other_cpus: float = 0.0
    """CPUs that are busy with work other than this run's files."""
    is_saturated: bool = False
    """Whether no CPU was idle."""


class CpuWatch:
    """Measures CPU load. Not thread-safe: the governor's sampling thread owns it."""

    def __init__(self, *, cpus: int | None, proc: Path = PROC) -> None:
        """`cpus`: CPUs available to files; None: never measure."""
        self._cpus = cpus
        self._proc = proc
        self._usable = usable_cpus() if cpus is not None else frozenset()
        self._asked_at_s: float | None = None
        self._machine = CpuMeter()
        self._last = MachineLoad()
        self._ended = 0

    def ask(self, *, now_s: float) -> None:
        """Request measurements, because a file is queued."""
        self._asked_at_s = now_s

    def read(self, meter: CpuMeter, pids: Sequence[int], *, now_s: float) -> float | None:
        """Return the CPU seconds of a file's processes; None if not requested, not due, or not measurable."""
        if not self._is_wanted(now_s) or not meter.is_due(now_s):
            return None
        return tree_cpu_s(pids, proc=self._proc)

    def read_machine(self, *, now_s: float) -> bool:
        """Measure the whole machine; return False if that is not requested or not due."""
        if not self._is_wanted(now_s) or not self._machine.is_due(now_s):
            return False
        self._machine.record(machine_cpu_s(proc=self._proc, cpus=self._usable), now_s=now_s)
        return True

    def load(self, *, files_cpus: float, ended: int) -> MachineLoad:
        """Return the last measured load that does not come from running files, which keep `files_cpus` busy.

        The CPU time that a file used shortly before its end would count as other load. Therefore a rise is
        ignored when `ended`, the number of finished files, has changed.
        """
        load = load_of(
            cpus=self._cpus or 0,
            seen=len(self._usable),
            busy_cpus=self._machine.cpus,
            files_cpus=files_cpus,
        )
        if ended != self._ended and load.other_cpus > self._last.other_cpus:
            load = MachineLoad(other_cpus=self._last.other_cpus, is_saturated=load.is_saturated)
        self._last, self._ended = load, ended
        return load

    def _is_wanted(self, now_s: float) -> bool:
        return self._cpus is not None and self._asked_at_s is not None and now_s - self._asked_at_s <= ASKED_S


def load_of(*, cpus: int, seen: int, busy_cpus: float | None, files_cpus: float) -> MachineLoad:
    """Return the load that other work puts on the `cpus` that may be used at once.

    `busy_cpus` of the `seen` CPUs are busy; None: unknown, so only files count. A quota can make `cpus` fewer
    than `seen`.
    """
    idle_cpus = cpus - files_cpus
    if busy_cpus is not None:
        idle_cpus = min(idle_cpus, seen - max(busy_cpus, files_cpus))
    return MachineLoad(
        other_cpus=max(0.0, cpus - files_cpus - idle_cpus), is_saturated=idle_cpus < SATURATED_CPUS
    )
