"""Measures how many CPUs are busy, with one file's processes and with everything on this machine.

Times come from procfs in clock ticks, which are 10 ms on nearly all systems. `worker.budget.memory_governor`
reads them when it samples memory, a few times a second. A reading takes about 20 µs for each process and 100
µs for the machine.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from passmuster.host.host_resources import PROC, usable_cpus
from passmuster.host.subprocesses import stat_fields

WINDOW_S = 0.08
"""Minimum seconds of a measurement: eight ticks, enough to distinguish waiting from working."""

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM, _CHILDREN_USER, _CHILDREN_SYSTEM = 11, 12, 13, 14
"""Positions in /proc/PID/stat after the name of the program, proc(5)."""

_BUSY = (0, 1, 2, 5, 6, 7)
"""Positions in a line of /proc/stat: user, nice, system, irq, softirq, steal; not idle and iowait."""


class CpuMeter(Struct):
    """Turns readings of CPU seconds into CPUs in use.

    Args:
        cpu_s: CPU seconds at that time; None: unknown, so the next reading starts a window.
        cpus: CPUs in use during the last window; None: none has ended yet.
    """

    at_s: float = 0.0
    cpu_s: float | None = None
    cpus: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Return whether a reading would end the present window."""
        return self.cpu_s is None or now_s - self.at_s >= WINDOW_S

    def record(self, cpu_s: float | None, *, now_s: float) -> None:
        """Record a reading of CPU seconds; None: it failed."""
        if cpu_s is not None and self.cpu_s is not None and now_s > self.at_s:
            # The sum falls when a process ends.
            self.cpus = max(0.0, cpu_s - self.cpu_s) / (now_s - self.at_s)
        elif cpu_s is None:
            self.cpus = None
        self.at_s, self.cpu_s = now_s, cpu_s


def tree_cpu_s(pids: Sequence[int], *, proc: Path = PROC) -> float | None:
    """Return the processor seconds of some processes and of the children they have reaped.

    Args:
        pids: which; ones that are gone count nothing.

    Returns:
        None where none of them could be read.
    """
    ticks: int | None = None
    for pid in pids:
        fields = stat_fields(pid, proc=proc)
        if len(fields) > _CHILDREN_SYSTEM:
            used = sum(int(fields[place]) for place in range(_USER, _CHILDREN_SYSTEM + 1))
            ticks = used + (ticks or 0)
    return None if ticks is None else ticks * _TICK_S


def run_cpu_s(*, proc: Path = PROC) -> float | None:
    """Return the processor seconds of this process and of everything that it started, since they began.

    Returns:
        None where there is no procfs: what still runs could not be counted.
    """
    below = _below(os.getpid(), proc)
    times = os.times()
    mine = times.user + times.system + times.children_user + times.children_system
    return None if below is None else mine + (tree_cpu_s(below, proc=proc) or 0.0)


def machine_cpu_s(*, proc: Path = PROC, cpus: frozenset[int] | None = None) -> float | None:
    """Return the seconds for which the CPUs that this process may use were busy, in sum.

    Args:
        cpus: their numbers; None: ask the kernel.

    Returns:
        None where the kernel does not tell.
    """
    usable = usable_cpus() if cpus is None else cpus
    ticks, found = 0, 0
    try:
        with open(proc / "stat", "rb") as file:
            for line in file:
                if not line.startswith(b"cpu"):
                    break  # What follows is long, and costs time to read.
                name, *numbers = line.split()
                if name[3:].isdigit() and int(name[3:]) in usable and len(numbers) > _BUSY[-1]:
                    ticks += sum(int(numbers[place]) for place in _BUSY)
                    found += 1
    except (OSError, ValueError):
        return None
    return ticks * _TICK_S if found == len(usable) else None


def _below(pid: int, proc: Path) -> list[int] | None:
    """Return the pids of all processes below a process; None where the kernel does not tell."""
    found = [pid]
    for one in found:  # The list grows while it is walked, a generation at a time.
        lists = []
        with suppress(OSError):
            for thread in (proc / str(one) / "task").iterdir():
                with suppress(OSError):  # The thread has ended since.
                    lists.append((thread / "children").read_text())
        if one == pid and not lists:
            return None
        found += map(int, " ".join(lists).split())
    return found[1:]
