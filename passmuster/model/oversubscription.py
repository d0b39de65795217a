"""How many files may run at once beyond the usual number, while those that run leave processors idle.

Pure. Both sides must decide alike: a worker by what it measures, a forecast by what is remembered. The rules:

- The usual number of files may always run.
- Where at least half a processor is idle, one more may start, up to twice the usual number. Where processors
  were all busy a moment ago, three quarters must have become free: files that share a processor use half of
  one each, and would otherwise keep that company for ever.
- A file that mostly waits by its history may start likewise up to four times the usual number, as soon as it
  was seen that processors really are idle: on a busy machine any file seems to wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

MAX_TIMES = 2
"""How many times the usual number of files may run when processors are idle."""

MAX_WAITING_TIMES = 4
"""The same for files that mostly wait: each holds memory, a process, and whatever it waits for."""

IDLE_CPUS = 0.5
"""Processors that must be idle for a further file to start: less is idle between two files anyway."""

IDLE_AFTER_SATURATION_CPUS = 0.75
"""The same where none was idle when it was last measured."""

SATURATED_CPUS = 0.1
"""With fewer idle processors than this they are all busy: a clock of 10 ms ticks tells no better."""


class FreeSlots(Struct, frozen=True, kw_only=True):
    """How many further files may start.

    Args:
        slots: any files.
        waiting_slots: beyond these, files that mostly wait.
    """

    slots: int
    waiting_slots: int


def max_slots(slots: int, *, cpus: int | None) -> int:
    """Return how many files may ever run at once; `cpus` is None where no more than usual may."""
    return slots if cpus is None else slots * MAX_WAITING_TIMES


def free_slots(
    *,
    slots: int,
    cpus: int | None,
    used_cpus: Sequence[float],
    other_cpus: float = 0.0,
    is_saturated: bool = False,
    is_measured: bool = True,
) -> FreeSlots:
    """Return how many further files may start now.

    Args:
        slots: how many run at once usually.
        cpus: processors there are; None: never more than `slots`.
        used_cpus: for each running file how many processors it keeps busy, or is thought to.
        other_cpus: processors that something else keeps busy.
        is_saturated: whether no processor was idle when that was measured.
        is_measured: whether that was measured yet.
    """
    running = len(used_cpus)
    usual = max(0, slots - running)
    if cpus is None:
        return FreeSlots(slots=usual, waiting_slots=0)
    needed_cpus = IDLE_AFTER_SATURATION_CPUS if is_saturated else IDLE_CPUS
    idle_cpus = cpus - sum(used_cpus) - other_cpus
    # Each start changes what is idle: after one the question is asked anew.
    more = 1 if idle_cpus >= needed_cpus else 0
    free = max(usual, min(more, slots * MAX_TIMES - running))
    most_waiting_times = MAX_WAITING_TIMES if is_measured else MAX_TIMES
    free_if_waiting = max(usual, min(more, slots * most_waiting_times - running))
    return FreeSlots(slots=free, waiting_slots=free_if_waiting - free)
