"""Watches what keeps the processors busy while files run, for as long as somebody waits to hear of idle ones.

`worker.budget.memory_governor` owns one and asks it at its looks; `passmuster.model.oversubscription` decides
by what it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.host.cpu_use import CpuMeter, machine_cpu_s, tree_cpu_s, usable_cpus
from passmuster.host.host_resources import PROC
from passmuster.model.oversubscription import SATURATED_CPUS

ASKED_S = 1.0
"""Seconds for which a question counts: a pool with waiting files asks ten times as often."""


class MachineLoad(Struct, frozen=True, kw_only=True):
    """What else keeps processors busy.

    Args:
        other_cpus: processors that are not to be had for files: busy with something else.
        is_saturated: whether none was idle.
    """

    other_cpus: float = 0.0
    is_saturated: bool = False


class CpuWatch:
    """Reads how busy processors are. Not thread-safe: the governor's sampling thread owns it.

    Args:
        cpus: how many there are for files; None: nobody will ever want to know.
        proc: where procfs is mounted.
    """

    def __init__(self, *, cpus: int | None, proc: Path = PROC) -> None:
        self._cpus = cpus
        self._proc = proc
        self._usable = usable_cpus() if cpus is not None else frozenset()
        self._asked_at_s: float | None = None
        self._machine = CpuMeter()
        self._last = MachineLoad()
        self._ended = 0

    def ask(self, *, now_s: float) -> None:
        """Take note that a file waits."""
        self._asked_at_s = now_s

    def read(self, meter: CpuMeter, pids: Sequence[int], *, now_s: float) -> float | None:
        """Return the processor seconds of a file's processes; None: nobody wants to know now, or can."""
        if not self._is_wanted(now_s) or not meter.is_due(now_s):
            return None
        return tree_cpu_s(pids, proc=self._proc)

    def read_machine(self, *, now_s: float) -> bool:
        """Measure the whole machine; False: nobody wants to know now, or not yet."""
        if not self._is_wanted(now_s) or not self._machine.is_due(now_s):
            return False
        self._machine.record(machine_cpu_s(proc=self._proc, cpus=self._usable), now_s=now_s)
        return True

    def load(self, *, files_cpus: float, ended: int) -> MachineLoad:
        """Return what else keeps the processors busy by the last measurement of the machine.

        Args:
            files_cpus: how many of them are busy with running files.
            ended: how many files have ended since the start. What one of them used shortly before seems to
                be used by something else.
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
    """Return what the machine's other work leaves of the processors.

    Args:
        cpus: how many may be used at once; a quota may make it fewer than we can be put on.
        seen: how many `busy_cpus` is about.
        busy_cpus: how many of those are busy; None: unknown, and then only files count.
        files_cpus: how many of them are busy with files.
    """
    idle_cpus = cpus - files_cpus
    if busy_cpus is not None:
        idle_cpus = min(idle_cpus, seen - max(busy_cpus, files_cpus))
    return MachineLoad(
        other_cpus=max(0.0, cpus - files_cpus - idle_cpus), is_saturated=idle_cpus < SATURATED_CPUS
    )
