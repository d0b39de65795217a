"""Oversubscription: decides how many files may run beyond the number of slots while CPUs are idle.

Pure. A worker applies the rules to measurements, a simulation to the history, and both must decide the same:

- As many files as there are slots may always run.
- If at least half a CPU is idle, one more file may start, until twice as many files as there are slots work.
  If all CPUs were busy a moment ago, three quarters of a CPU must be idle: two files that share a CPU use
  half of it each, and would otherwise keep sharing it.
- A file that only waits takes no slot from files that work: with such files, up to four times as many as
  there are slots run, once a measurement has shown that CPUs are idle. On a busy machine, any file seems to
  wait.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from passmuster.model.task import IO_BOUND_CPU_SHARE

MAX_TIMES = 2
"""Maximum multiple of the slots that files which work may use while CPUs are idle."""

MAX_WAITING_TIMES = 4
"""The same with I/O-bound files, each of which holds memory, a process and the resource that it waits for."""

IDLE_CPUS = 0.5
"""CPUs that must be idle for an extra file to start; less than this is idle between two files anyway."""

IDLE_AFTER_SATURATION_CPUS = 0.75
"""The same if no CPU was idle in the last measurement."""

SATURATED_CPUS = 0.1
"""Idle CPUs below which all count as busy: the resolution of a clock with 10 ms ticks."""


class FreeSlots(Struct, frozen=True, kw_only=True):
    """The number of further files that may start."""

    slots: int
    io_bound_slots: int  # number of I/O-bound files beyond `slots`


def max_slots(slots: int, *, cpus: int | None) -> int:
    """Return how many files may ever run at once; `cpus` is None without oversubscription."""
    return slots if cpus is None else slots * MAX_WAITING_TIMES


def free_slots(
    *,
    slots: int,
    cpus: int | None,
    used_cpus: Collection[float],
    other_cpus: float = 0.0,
    is_saturated: bool = False,
    is_measured: bool = True,
) -> FreeSlots:
    """Return how many further files may start now.

    Args:
        cpus: available CPUs; None: no oversubscription.
        used_cpus: CPUs that each running file keeps busy, measured or predicted.
        is_saturated: whether no CPU was idle in the last measurement.
    """
    running = len(used_cpus)
    usual = max(0, slots - running)
    if cpus is None:
        return FreeSlots(slots=usual, io_bound_slots=0)
    needed_cpus = IDLE_AFTER_SATURATION_CPUS if is_saturated else IDLE_CPUS
    idle_cpus = cpus - sum(used_cpus) - other_cpus
    # Each start changes the load, so only one more file may start before the next measurement.
    more = 1 if idle_cpus >= needed_cpus else 0
    most = slots * (MAX_WAITING_TIMES if is_measured else MAX_TIMES)
    working = sum(1 for cpus_used in used_cpus if cpus_used >= IO_BOUND_CPU_SHARE)
    free = max(usual, min(more, slots * MAX_TIMES - working, most - running))
    free_if_waiting = max(usual, min(more, most - running))
    return FreeSlots(slots=free, io_bound_slots=free_if_waiting - free)
