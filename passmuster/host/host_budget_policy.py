"""Decides which of several runs on one machine may start a file, and which must stop one.

Pure: `passmuster.host.host_budget` exchanges the claims between processes. The rules guarantee the following:

- A run without a running file may start one that needs up to `FIRST_FILE_BYTES`, whatever the other runs
  hold. A larger one starts as soon as its memory is actually free, before any run starts a further file.
- Beyond its first file, a run stays within the memory that all reservations leave, and starts files only
  while a CPU is idle.
- Memory and CPUs are divided max-min fair: no run exceeds its fair share while another run waits below its
  own.
- Some run can always proceed: the waiting run that holds least is never refused in favor of another.
- If the running files outgrow the machine's memory, all runs agree on which of them stop files: first those
  with more than one running file, then those that started their file last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum

from msgspec import Struct

from passmuster.model.oversubscription import IDLE_CPUS

FIRST_FILE_BYTES = 256 * 1024**2
"""Maximum need of a first file that starts immediately: the peak of a file with heavy imports."""

GROWTH_SHARE = 0.95
"""Share of the machine's memory at which a file is killed; it keeps growing until the kill takes effect."""


class Shortage(StrEnum):
    """The resource of other runs that a run waits for."""

    MEMORY = "memory"
    PROCESSORS = "processors"


class HeldResources(Struct, frozen=True, kw_only=True):
    """The resources that the running files of one run hold."""

    files: int = 0
    reserved_bytes: int = 0
    firm_bytes: int = 0
    """The part of the reservation that is certainly needed: a file that has run for a while counts with its
    use."""
    used_bytes: int = 0
    cpus: float = 0.0
    """CPUs that they keep busy, measured or predicted."""

    def with_one_more(self, need: FileNeed) -> HeldResources:
        """Return the holding after one more file has started."""
        return HeldResources(
            files=self.files + 1,
            reserved_bytes=self.reserved_bytes + need.memory_bytes,
            firm_bytes=self.firm_bytes + need.memory_bytes,
            used_bytes=self.used_bytes,
            cpus=self.cpus + need.cpus,
        )


class FileNeed(Struct, frozen=True, kw_only=True):
    """What a file is expected to need.

    Args:
        may_intrude: whether a first file that needs little starts whatever the other runs hold. Not one that
            had to be stopped after it did so.
    """

    memory_bytes: int
    cpus: float = 1.0
    may_intrude: bool = True


class BudgetRequest(Struct, frozen=True, kw_only=True):
    """What one run holds, may hold, and waits for.

    Args:
        run: a name that no other run has; it breaks ties.
        busy_since_s: since when it has had a file running, on a clock that all runs share; only the order
            counts.
        wanted: what the file needs that it waits with; None: it does not wait.
        waiting_since_s: when that wait began, on the same clock.
    """

    run: str
    busy_since_s: float = 0.0
    budget_bytes: int = 1 << 62
    slots: int = 1
    is_nice: bool = False
    held: HeldResources = HeldResources()
    wanted: FileNeed | None = None
    waiting_since_s: float = 0.0

    @property
    def waits_for_first_file(self) -> bool:
        """Whether it waits and has nothing running."""
        return self.wanted is not None and self.held.files == 0

    @property
    def wanted_bytes(self) -> int:
        """Memory that it waits for; 0 where it does not wait."""
        return self.wanted.memory_bytes if self.wanted is not None else 0


class SharedResources(Struct, frozen=True, kw_only=True):
    """Memory and processors that some runs share: those of the machine, or of a control group.

    Args:
        cpus: processors; None: not shared here.
    """

    others: tuple[BudgetRequest, ...]
    memory_bytes: int
    cpus: int | None


def find_shortage(own: BudgetRequest, need: FileNeed, arena: SharedResources) -> Shortage | None:
    """Return what keeps `own` from starting a file now; None: it may start."""
    if own.held.files == 0:
        return None if _may_start_first(own, need, arena) else Shortage.MEMORY
    if not _has_memory(own, need, arena):
        return Shortage.MEMORY
    if not _has_processors(own, need, arena):
        return Shortage.PROCESSORS
    return None


def further_bytes(own: BudgetRequest, arena: SharedResources) -> int:
    """Return the memory that all reservations, and the first files that wait, leave for files of `own`."""
    left_bytes = arena.memory_bytes - own.held.reserved_bytes
    for other in arena.others:
        left_bytes -= other.held.reserved_bytes
        if other.waits_for_first_file:
            left_bytes -= other.wanted_bytes
    return max(0, left_bytes)


def first_bytes(own: BudgetRequest, arena: SharedResources, *, may_intrude: bool = True) -> int:
    """Return what the first file of `own` may need; it has none running."""
    if not any(other.held.files or _goes_first_with_first_file(other, own) for other in arena.others):
        return max(arena.memory_bytes, own.budget_bytes)
    left_bytes = arena.memory_bytes
    for other in arena.others:
        is_guaranteed = other.held.files == 1 and other.held.firm_bytes <= FIRST_FILE_BYTES
        left_bytes -= 0 if is_guaranteed else other.held.firm_bytes
        if _goes_first_with_first_file(other, own):
            left_bytes -= other.wanted_bytes
    return max(left_bytes, FIRST_FILE_BYTES if may_intrude else 0)


def surplus_bytes(own: BudgetRequest, arena: SharedResources) -> int:
    """Return by how many bytes `own` must reduce what its files use, because all together use too much.

    Runs with more than one file give up the further ones first, those that use most before the others. Only
    if that is not enough, runs give up their last file too, those that started it last before the others; the
    one that has been running a file for longest never does.
    """
    runs = [run for run in (own, *arena.others) if run.held.files]
    surplus = sum(run.held.used_bytes for run in runs) - int(arena.memory_bytes * GROWTH_SHARE)
    gives = dict.fromkeys((run.run for run in runs), 0)
    for run in sorted(runs, key=lambda run: (run.is_nice, run.held.used_bytes, run.run), reverse=True):
        further_bytes = run.held.used_bytes * (run.held.files - 1) // run.held.files
        gives[run.run] = min(max(0, surplus), further_bytes)
        surplus -= gives[run.run]
    by_age = sorted(runs, key=lambda run: (run.is_nice, run.busy_since_s, run.run))
    for run in reversed(by_age[1:]):
        more_bytes = min(max(0, surplus), run.held.used_bytes - gives[run.run])
        gives[run.run] += more_bytes
        surplus -= more_bytes
    return gives.get(own.run, 0)


def fair_level(demands: Sequence[float], capacity: float) -> float:
    """Return the max-min fair share: what each gets at most, so that all get what they demand or as much.

    Infinite where everybody can have what they demand.
    """
    left, rest = capacity, sorted(demands)
    while rest:
        level = max(0.0, left / len(rest))
        if rest[0] > level:
            return level
        left -= rest.pop(0)
    return math.inf


def _may_start_first(own: BudgetRequest, need: FileNeed, arena: SharedResources) -> bool:
    return need.memory_bytes <= first_bytes(own, arena, may_intrude=need.may_intrude)


def _goes_first_with_first_file(other: BudgetRequest, own: BudgetRequest) -> bool:
    """Return whether another run that waits for its first file goes before the first file of `own`."""
    if not other.waits_for_first_file or (other.is_nice and not own.is_nice):
        return False
    if own.wanted is None or (own.is_nice and not other.is_nice):
        return True
    return (other.waiting_since_s, other.run) < (own.waiting_since_s, own.run)


def _has_memory(own: BudgetRequest, need: FileNeed, arena: SharedResources) -> bool:
    if need.memory_bytes > further_bytes(own, arena):
        return False
    return not _must_leave_it(
        own,
        need.memory_bytes,
        arena.others,
        capacity=arena.memory_bytes,
        held=lambda claim: claim.held.reserved_bytes,
        most=lambda claim: claim.budget_bytes,
        least=1,
    )


def _has_processors(own: BudgetRequest, need: FileNeed, arena: SharedResources) -> bool:
    busy = [other for other in arena.others if other.held.files or other.wanted is not None]
    if arena.cpus is None or not busy:
        return True
    idle_cpus = arena.cpus - own.held.cpus - sum(other.held.cpus for other in busy)
    if idle_cpus < IDLE_CPUS:
        return False
    return not _must_leave_it(
        own,
        need.cpus,
        arena.others,
        capacity=arena.cpus,
        held=lambda claim: claim.held.cpus,
        most=lambda claim: claim.slots,
        least=IDLE_CPUS,
    )


def _must_leave_it(
    own: BudgetRequest,
    need: float,
    others: Sequence[BudgetRequest],
    *,
    capacity: float,
    held: Callable[[BudgetRequest], float],
    most: Callable[[BudgetRequest], float],
    least: float,
) -> bool:
    """Return whether `own` must leave what is free to another run that waits.

    Args:
        held: returns what a run holds of it.
        most: returns what a run may hold at most.
        least: how far a run must be below its share to count as below.
    """
    rivals = [other for other in others if other.wanted is not None and other.is_nice <= own.is_nice]
    if own.is_nice and any(not rival.is_nice for rival in rivals):
        return True
    waiting = {rival.run for rival in rivals}
    demands = [max(most(other), held(other)) if other.run in waiting else held(other) for other in others]
    level = fair_level([max(most(own), held(own)), *demands], capacity)
    if held(own) + need <= level:
        return False
    mine = (_halves(held(own), least), own.waiting_since_s if own.wanted is not None else math.inf, own.run)
    return any(
        held(rival) + least <= level
        and (_halves(held(rival), least), rival.waiting_since_s, rival.run) < mine
        for rival in rivals
    )


def _halves(amount: float, unit: float) -> int:
    """Return an amount in whole units: measured figures that differ by less are the same."""
    return round(amount / unit)
