"""What to do about memory: who may start, how soon to look again, and who must go. Arithmetic only.

Pure: `worker.budget.memory_governor` measures, asks here, and acts. The rules:

- A file over its own limit, or by itself over the whole budget, is stopped for that (`MEMORY_LIMIT`).
- The files together over 95 % of the budget, or about to be: as many as it takes, each time
  the one that overshot its own prediction most is stopped to make room (`MEMORY_BUDGET`), never the oldest,
  so that at every moment at least one file is sure to get to its end.
- Who has been told to end is *doomed*. Its memory is on its way out and does not count against the others,
  unless it takes longer than `DOOM_PATIENCE_S`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from passmuster.model.status import StopReason
from passmuster.model.units import format_bytes

MIN_TICK_S = 0.01
"""Seconds between two looks near the budget; looking more often would cost a visible share of a CPU."""

MAX_TICK_S = 0.2
"""Seconds between two looks when nothing can happen: short enough to give every file a peak."""

COST_RATIO = 4
"""How many times as long as a look took the wait after it must be: looking takes a fifth of a CPU at most."""

HURRY_COST_RATIO = 1
"""The same where the budget may be broken before the next look."""

FIRST_SAMPLE_S = 0.03
"""Seconds after its start at which a process is first measured; the next looks come at twice its age."""

WORST_GROWTH_BYTES_PER_S = 4 * 1024**3
"""How fast memory may be taken at worst: what one core needs for touching fresh pages, times two."""

REACTION_S = 0.015
"""Seconds from the decision to stop a tree until it takes no more memory: signal, wake-up, exit."""

EVICTION_THRESHOLD = 0.95
"""Share of the budget at which several files must make room. Between a look and the end of a killed process
some go on growing: on two busy cores hostile files got 4 % over the mark at which they were stopped."""

NEAR_SHARE = 0.85
"""Share of the budget from which a lone file's last spurt is expected to go on: fifty processes that take
2.6 GB/s between them were seen to pass the rest of a budget of 2 GiB between two looks."""

DOOM_PATIENCE_S = 2.0
"""Seconds for which a stopped file's memory is taken for as good as free; far longer than any kill takes."""

UNKNOWN_SAMPLE = 10
"""Peaks that must be known before the largest may be taken for an exception."""

UNKNOWN_SHARE = 0.8
"""Share of the known peaks that the prediction for an unknown file covers."""

UNKNOWN_FEW = 4
"""Files that must have ended before what they needed stands for the others."""

UNKNOWN_BYTES = 256 * 1024**2
"""What a file is taken to need of which nothing is known, nor of any other: a file with heavy imports takes
it."""

UNKNOWN_PARTS = 16
"""Into how many parts a small budget is divided at most for such files."""

UNKNOWN_MARGIN = 1.15
"""What a peak is multiplied with that stands for other files: the margin of remembered peaks."""


class FileMemory(Struct, frozen=True, kw_only=True):
    """One running file as the rules see it.

    Args:
        attempt_id: whose it is.
        started: how many files had been admitted before it; the lowest is the oldest.
        predicted_bytes: what was reserved for it when it started.
        used_bytes: what it was last measured to use.
        growth_bytes_per_s: how fast it may be expected to go on growing; never negative.
        spurt_bytes_per_s: how fast it has grown at most lately; it may have stopped since.
        limit_bytes: its own limit; None: only the budget bounds it.
        doomed_s: seconds since it was told to end; None: it was not.
    """

    attempt_id: str
    started: int
    predicted_bytes: int
    used_bytes: int
    growth_bytes_per_s: float = 0.0
    spurt_bytes_per_s: float = 0.0
    limit_bytes: int | None = None
    doomed_s: float | None = None

    @property
    def overshoot_bytes(self) -> int:
        """How far it is above its prediction; negative below."""
        return self.used_bytes - self.predicted_bytes

    def used_in(self, seconds: float) -> int:
        """Return the bytes it will use `seconds` from now if it goes on growing."""
        return self.used_bytes + int(min(self.growth_bytes_per_s, WORST_GROWTH_BYTES_PER_S) * seconds)


class Breach(Struct, frozen=True, kw_only=True):
    """A file that must be stopped for memory, and why.

    Args:
        attempt_id: whose it is.
        reason: `MEMORY_LIMIT`: its own doing; `MEMORY_BUDGET`: only to make room, so it runs again.
        used_bytes: what it used.
        limit_bytes: what was broken: its own limit, or the budget.
        total_bytes: what all files used together.
        detail: one line for people: its peak, the limit, and who stopped it.
    """

    attempt_id: str
    reason: StopReason
    used_bytes: int
    limit_bytes: int
    total_bytes: int
    detail: str


def find_breaches(
    files: Sequence[FileMemory],
    *,
    budget_bytes: int,
    allowance_bytes: int,
    horizon_s: float,
    spares_last: bool = True,
) -> tuple[Breach, ...]:
    """Return which files must be stopped now: the guilty, or else who makes room for the rest.

    Args:
        files: all that run, the doomed included.
        budget_bytes: what all files together may use, and so what any file alone may.
        allowance_bytes: what other runs on this machine leave of it. A file that runs alone may exceed
            this, but never the budget.
        horizon_s: seconds to look ahead, because acting takes time.
        spares_last: whether a file that runs alone may exceed the allowance. It may not where files of other
            runs have filled the machine's memory, and this run is the one to make room for them.
    """
    total_bytes = sum(file.used_bytes for file in files)
    # Who has taken nothing yet, because its process is about to start, can neither be guilty nor make room.
    alive = [file for file in files if file.doomed_s is None and file.used_bytes > 0]
    guilty = [file for file in alive if file.used_bytes > min(file.limit_bytes or budget_bytes, budget_bytes)]
    if guilty:
        return tuple(_own_doing(file, budget_bytes=budget_bytes, total_bytes=total_bytes) for file in guilty)
    lingering_bytes = sum(
        file.used_bytes for file in files if file.doomed_s is not None and file.doomed_s > DOOM_PATIENCE_S
    )
    limit_bytes = min(int(budget_bytes * EVICTION_THRESHOLD), allowance_bytes)
    breaches: list[Breach] = []
    while lingering_bytes + sum(file.used_in(horizon_s) for file in alive) > limit_bytes:
        victim = choose_victim(alive, spares_last=spares_last)
        if victim is None:
            break
        alive.remove(victim)
        breaches.append(_make_room(victim, limit_bytes=limit_bytes, total_bytes=total_bytes))
    if len(alive) == 1 and _used_alone_in(alive[0], horizon_s, budget_bytes=budget_bytes) > budget_bytes:
        breaches.append(_own_doing(alive[0], budget_bytes=budget_bytes, total_bytes=total_bytes))
    return tuple(breaches)


def _used_alone_in(file: FileMemory, seconds: float, *, budget_bytes: int) -> int:
    """Return the bytes that a lone file will use `seconds` from now.

    Far from the budget one spurt is no reason to expect another. So near that one more would break it,
    it is: the next look could be too late.
    """
    if file.used_bytes <= budget_bytes * NEAR_SHARE:
        return file.used_in(seconds)
    return file.used_bytes + int(min(file.spurt_bytes_per_s, WORST_GROWTH_BYTES_PER_S) * seconds)


def choose_victim(alive: Sequence[FileMemory], *, spares_last: bool = True) -> FileMemory | None:
    """Return the file that makes room: the furthest above its prediction, the youngest of equals.

    Never the oldest, but where it is the last and not to be spared; None when there is no other.
    """
    if len(alive) < 2:
        return None if spares_last or not alive else alive[0]
    oldest = min(file.started for file in alive)
    candidates = [file for file in alive if file.started != oldest]
    return max(candidates, key=lambda file: (file.overshoot_bytes, file.started))


def next_sample_s(
    *, spare_bytes: int, growth_bytes_per_s: float, youngest_s: float, cost_s: float, lag_s: float = 0.0
) -> float:
    """Return the seconds until memory must be measured again.

    Soon enough that even the worst growth cannot eat what is left; soon after a start, so that short files
    get a peak; never so often that measuring takes more than a fifth of a CPU, or half of one in need.

    Args:
        spare_bytes: what is left, of the budget or of the limit that is nearest to be broken.
        growth_bytes_per_s: how fast all files together grew lately.
        youngest_s: age of the file that started last.
        cost_s: CPU seconds the last look took.
        lag_s: seconds between what was measured and what can be known at the next look, beyond the wait.
    """
    speed = max(WORST_GROWTH_BYTES_PER_S, 2 * growth_bytes_per_s)
    wanted_s = min(MAX_TICK_S, max(0, spare_bytes) / speed - lag_s, max(FIRST_SAMPLE_S, youngest_s))
    # Where even the soonest look may be too late, half a CPU may go into looking.
    cost_ratio = COST_RATIO if wanted_s > MIN_TICK_S else HURRY_COST_RATIO
    return max(MIN_TICK_S, cost_ratio * cost_s, wanted_s)


def unknown_file_bytes(
    *,
    budget_bytes: int,
    slots: int,
    peaks_bytes: Sequence[int],
    running_bytes: Sequence[int] = (),
    usual_bytes: int | None = None,
) -> int:
    """Return what a file without history is taken to need, one that runs as well as one that waits.

    At first what files of its project, else of this machine, usually need, else `UNKNOWN_BYTES`, or the
    largest peak seen if that is more. Once some files have ended, what they needed says more: the largest of
    a few, and of many the peak that four of five stay below. A running file counts with what it takes once
    that is more than this. Therefore one giant does not make all others run one after another; a file that
    grows into what is not there is stopped and runs again.

    In simulated first runs of a suite with one giant among fifteen files, a quantile of 0.9 took up to 1.6
    times as long as this one, which two files in 700 had to make room for.

    Args:
        budget_bytes: what all files together may use; the answer is never above it.
        slots: how many files run at once usually.
        peaks_bytes: peaks of files that ended in this run, but for those that broke a limit themselves.
        running_bytes: peaks of files that still run, so far.
        usual_bytes: what files of the same project, else of this machine, usually need, by earlier runs;
            None: not known.
    """
    if len(peaks_bytes) < UNKNOWN_FEW:
        seen_bytes = max([*peaks_bytes, *running_bytes, 0])
        if usual_bytes is None:
            usual_bytes = min(UNKNOWN_BYTES, budget_bytes // min(slots, UNKNOWN_PARTS))
        estimate_bytes = max(usual_bytes, _with_margin(seen_bytes))
    else:
        is_many = len(peaks_bytes) >= UNKNOWN_SAMPLE
        estimate_bytes = _with_margin(_most_need(peaks_bytes) if is_many else max(peaks_bytes))
    return min(estimate_bytes, budget_bytes)


def usual_file_bytes(known_bytes: Sequence[int]) -> int | None:
    """Return what most of the known files of a project need; None: too few are known."""
    return _most_need(known_bytes) if len(known_bytes) >= UNKNOWN_FEW else None


def usual_machine_bytes(peaks_bytes: Sequence[int]) -> int | None:
    """Return what to reserve for a file of an unknown project, by what files of others took on this machine;
    None: too few are known."""
    return _with_margin(_most_need(peaks_bytes)) if len(peaks_bytes) >= UNKNOWN_FEW else None


def _most_need(peaks_bytes: Sequence[int]) -> int:
    """Return what four of five files stay below."""
    return sorted(peaks_bytes)[math.ceil(len(peaks_bytes) * UNKNOWN_SHARE) - 1]


def _with_margin(peak_bytes: int) -> int:
    """Return what to reserve for a file like one that had this peak."""
    return math.ceil(peak_bytes * UNKNOWN_MARGIN)


def _own_doing(file: FileMemory, *, budget_bytes: int, total_bytes: int) -> Breach:
    """Return the breach of a file over its own limit, or over the whole budget by itself."""
    limit_bytes = min(file.limit_bytes or budget_bytes, budget_bytes)
    name = "its limit" if file.limit_bytes else "the whole memory budget"
    growth = ""
    if file.used_bytes <= limit_bytes:
        rate = max(file.growth_bytes_per_s, file.spurt_bytes_per_s)
        growth = f" and growing by {format_bytes(int(rate))}/s"
    return Breach(
        attempt_id=file.attempt_id,
        reason=StopReason.MEMORY_LIMIT,
        used_bytes=file.used_bytes,
        limit_bytes=limit_bytes,
        total_bytes=total_bytes,
        detail=f"used {format_bytes(file.used_bytes)}{growth}, allowed are {format_bytes(limit_bytes)} "
        f"({name}); stopped by the runner",
    )


def _make_room(file: FileMemory, *, limit_bytes: int, total_bytes: int) -> Breach:
    """Return the breach of a file that is stopped only to make room."""
    return Breach(
        attempt_id=file.attempt_id,
        reason=StopReason.MEMORY_BUDGET,
        used_bytes=file.used_bytes,
        limit_bytes=limit_bytes,
        total_bytes=total_bytes,
        detail=f"used {format_bytes(file.used_bytes)}, expected were {format_bytes(file.predicted_bytes)}; "
        f"all files together {format_bytes(total_bytes)} of {format_bytes(limit_bytes)}; "
        "stopped by the runner to make room, runs again",
    )
