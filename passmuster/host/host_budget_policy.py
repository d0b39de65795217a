"""Decides which of several runs on one machine may start a file, and which must stop one.

Pure: `passmuster.host.host_budget` exchanges the claims between processes. The rules guarantee the following:

- A run without a running file may start one that needs up to `FIRST_FILE_BYTES`, regardless of the other
  runs. A larger one starts as soon as its memory is actually free, before any run starts a further file.
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

from passmuster.host.machine_claims import RunClaim
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
        may_intrude: whether a small first file starts regardless of the other runs; not after it had to be
            killed for that.
    """

    memory_bytes: int
    cpus: float = 1.0
    may_intrude: bool = True


class SharedResources(Struct, frozen=True, kw_only=True):
    """Memory and processors that some runs share: those of the machine, or of a control group.

    Args:
        cpus: processors; None: not shared here.
    """

    others: tuple[RunClaim, ...]
    memory_bytes: int
    cpus: int | None


def find_shortage(own: RunClaim, need: FileNeed, shared: SharedResources) -> Shortage | None:
    """Return the resource that `own` lacks to start a file now; None: it may start."""
    if own.files == 0:
        is_room = need.memory_bytes <= first_bytes(own, shared, may_intrude=need.may_intrude)
        return None if is_room else Shortage.MEMORY
    if not _has_memory(own, need, shared):
        return Shortage.MEMORY
    if not _has_processors(own, need, shared):
        return Shortage.PROCESSORS
    return None


def further_bytes(own: RunClaim, shared: SharedResources) -> int:
    """Return the memory that all reservations, and the first files that wait, leave for files of `own`."""
    left_bytes = shared.memory_bytes - own.reserved_bytes
    for other in shared.others:
        left_bytes -= other.reserved_bytes
        if other.waits_for_first_file:
            left_bytes -= other.wanted_bytes
    return max(0, left_bytes)


def first_bytes(own: RunClaim, shared: SharedResources, *, may_intrude: bool = True) -> int:
    """Return what the first file of `own` may need; it has none running."""
    if not any(other.files or _goes_first_with_first_file(other, own) for other in shared.others):
        return max(shared.memory_bytes, own.budget_bytes)
    left_bytes = shared.memory_bytes
    for other in shared.others:
        is_guaranteed = other.files == 1 and other.firm_bytes <= FIRST_FILE_BYTES
        left_bytes -= 0 if is_guaranteed else other.firm_bytes
        if _goes_first_with_first_file(other, own):
            left_bytes -= other.wanted_bytes
    return max(left_bytes, FIRST_FILE_BYTES if may_intrude else 0)


def surplus_bytes(own: RunClaim, shared: SharedResources) -> int:
    """Return by how many bytes `own` must reduce its use, because all runs together use too much.

    Runs with more than one file stop all but one of them first, those that use most before the others. If
    that is not enough, runs stop their last file too, those that started it last before the others; the run
    that has been running a file for longest never does.
    """
    runs = [run for run in (own, *shared.others) if run.files]
    surplus = sum(run.used_bytes for run in runs) - int(shared.memory_bytes * GROWTH_SHARE)
    gives = dict.fromkeys((run.run for run in runs), 0)
    for run in sorted(runs, key=lambda run: (run.nice, run.used_bytes, run.run), reverse=True):
        further_bytes = run.used_bytes * (run.files - 1) // run.files
        gives[run.run] = min(max(0, surplus), further_bytes)
        surplus -= gives[run.run]
    by_age = sorted(runs, key=lambda run: (run.nice, run.busy_since_s, run.run))
    for run in reversed(by_age[1:]):
        more_bytes = min(max(0, surplus), run.used_bytes - gives[run.run])
        gives[run.run] += more_bytes
        surplus -= more_bytes
    return gives.get(own.run, 0)


def fair_level(demands: Sequence[float], capacity: float) -> float:
    """Return the max-min fair share: the most that each may hold so that no smaller demand is cut.

    Infinite if the capacity satisfies all demands.
    """
    left, rest = capacity, sorted(demands)
    while rest:
        level = max(0.0, left / len(rest))
        if rest[0] > level:
            return level
        left -= rest.pop(0)
    return math.inf


def _goes_first_with_first_file(other: RunClaim, own: RunClaim) -> bool:
    """Return whether another run that waits for its first file goes before the first file of `own`."""
    if not other.waits_for_first_file or (other.nice and not own.nice):
        return False
    if not own.waits_for or (own.nice and not other.nice):
        return True
    return (other.waiting_since_s, other.run) < (own.waiting_since_s, own.run)


def _has_memory(own: RunClaim, need: FileNeed, shared: SharedResources) -> bool:
    if need.memory_bytes > further_bytes(own, shared):
        return False
    return not _must_yield(
        own,
        need.memory_bytes,
        shared.others,
        capacity=shared.memory_bytes,
        held=lambda claim: claim.reserved_bytes,
        maximum=lambda claim: claim.budget_bytes,
        margin=1,
    )


def _has_processors(own: RunClaim, need: FileNeed, shared: SharedResources) -> bool:
    busy = [other for other in shared.others if other.files or other.waits_for]
    if shared.cpus is None or not busy:
        return True
    idle_cpus = shared.cpus - own.cpus - sum(other.cpus for other in busy)
    if idle_cpus < IDLE_CPUS:
        return False
    return not _must_yield(
        own,
        need.cpus,
        shared.others,
        capacity=shared.cpus,
        held=lambda claim: claim.cpus,
        maximum=lambda claim: claim.slots,
        margin=IDLE_CPUS,
    )


def _must_yield(
    own: RunClaim,
    need: float,
    others: Sequence[RunClaim],
    *,
    capacity: float,
    held: Callable[[RunClaim], float],
    maximum: Callable[[RunClaim], float],
    margin: float,
) -> bool:
    """Return whether `own` must leave the free amount to another run that waits.

    Args:
        held: returns what a run holds of it.
        maximum: returns the most that a run may hold.
        margin: how far a run must be below its share to count as below.
    """
    rivals = [other for other in others if other.waits_for and other.nice <= own.nice]
    if own.nice and any(not rival.nice for rival in rivals):
        return True
    waiting = {rival.run for rival in rivals}
    demands = [max(maximum(other), held(other)) if other.run in waiting else held(other) for other in others]
    level = fair_level([max(maximum(own), held(own)), *demands], capacity)
    if held(own) + need <= level:
        return False
    mine = (_whole_units(held(own), margin), own.waiting_since_s if own.waits_for else math.inf, own.run)
    return any(
        held(rival) + margin <= level
        and (_whole_units(held(rival), margin), rival.waiting_since_s, rival.run) < mine
        for rival in rivals
    )


def _whole_units(amount: float, unit: float) -> int:
    """Return an amount in whole units: measured figures that differ by less are the same."""
    return round(amount / unit)
