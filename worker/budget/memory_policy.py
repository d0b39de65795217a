"""The memory rules: which file may start, when to sample next, and which file to kill. Pure arithmetic.

`worker.budget.memory_governor` measures, applies these rules, and acts on them:

- A file that exceeds its own limit, or the whole budget by itself, is killed for that (`MEMORY_LIMIT`).
- When the files together exceed 95 % of the budget, or are about to, files are evicted (`MEMORY_BUDGET`)
  until the rest fits. Each time, the victim is the file that exceeds its prediction most. The oldest file is
  never evicted, so at any moment at least one file is certain to finish.
- A file whose kill was requested is *doomed*. Its memory does not count against the other files, unless the
  kill takes longer than `KILL_PATIENCE_S`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from passmuster.model.status import StopReason
from passmuster.model.units import format_bytes

MIN_TICK_S = 0.01
"""Seconds between two samples near the budget; more frequent samples cost a visible share of a CPU."""

MAX_TICK_S = 0.2
"""Seconds between two samples far from the budget: short enough to measure a peak for every file."""

COST_RATIO = 4
"""Minimum ratio of the wait to the duration of the sample before it: sampling takes at most 1/5 of a CPU."""

HURRY_COST_RATIO = 1
"""The same ratio when the budget could be exceeded before the next sample: at most half a CPU."""

FIRST_SAMPLE_S = 0.03
"""Age in seconds at which a process is first measured; each further sample comes at twice its age."""

WORST_GROWTH_BYTES_PER_S = 4 * 1024**3
"""Worst-case growth: twice the rate at which one core can touch fresh pages."""

REACTION_S = 0.015
"""Seconds from the decision to kill a tree until it stops growing: signal, wake-up, and exit."""

EVICTION_THRESHOLD = 0.95
"""Share of the budget above which files are evicted. Files keep growing between a sample and the end of the
killed process: on two busy cores, hostile files reached 4 % above the threshold."""

NEAR_SHARE = 0.85
"""Share of the budget above which the last burst of a single file is expected to continue: fifty processes
that grow by 2.6 GB/s together were seen to exceed the rest of a 2 GiB budget between two samples."""

KILL_PATIENCE_S = 2.0
"""Seconds for which the memory of a doomed file counts as free; far longer than any kill takes."""

UNKNOWN_SAMPLE = 10
"""Number of peaks from which on the largest ones may be treated as exceptions."""

UNKNOWN_SHARE = 0.8
"""Share of the known peaks that the prediction for an unknown file covers."""

UNKNOWN_FEW = 4
"""Number of finished files from which on their peaks predict those of unknown files."""

UNKNOWN_BYTES = 256 * 1024**2
"""Prediction for an unknown file when no other peak is known either: the peak of a file with heavy
imports."""

UNKNOWN_PARTS = 16
"""Maximum number of parts into which a small budget is divided for such files."""

UNKNOWN_MARGIN = 1.15
"""Factor on a peak that predicts other files; the margin that the history adds to its peaks."""


class FileMemory(Struct, frozen=True, kw_only=True):
    """The memory figures of one running file, as the rules need them."""

    attempt_id: str
    started: int
    """Number of files admitted before it; the lowest is the oldest."""
    predicted_bytes: int
    """The reservation made when it started."""
    used_bytes: int
    growth_bytes_per_s: float = 0.0
    """Growth that is expected to continue; never negative."""
    burst_bytes_per_s: float = 0.0
    """Fastest recent growth; it may have stopped since."""
    limit_bytes: int | None = None
    """None: only the budget bounds it."""
    kill_pending_s: float | None = None
    """Seconds since its kill was requested; None: it was not."""

    @property
    def overshoot_bytes(self) -> int:
        """Bytes above its prediction; negative if below."""
        return self.used_bytes - self.predicted_bytes

    def used_in(self, seconds: float) -> int:
        """Return the bytes it will use in `seconds` if its growth continues."""
        return self.used_bytes + int(min(self.growth_bytes_per_s, WORST_GROWTH_BYTES_PER_S) * seconds)


class Breach(Struct, frozen=True, kw_only=True):
    """A file that must be killed because of memory, and the reason."""

    attempt_id: str
    reason: StopReason
    """`MEMORY_LIMIT`: it exceeded its own limit; `MEMORY_BUDGET`: it is evicted, and reruns."""
    used_bytes: int
    limit_bytes: int
    """The exceeded limit: its own, or that of all files together."""
    total_bytes: int
    """Use of all files together."""
    detail: str
    """One line for the user."""


def find_breaches(
    files: Sequence[FileMemory],
    *,
    budget_bytes: int,
    allowance_bytes: int,
    horizon_s: float,
    spares_last: bool = True,
) -> tuple[Breach, ...]:
    """Return the files to kill now: those that exceed their own limit, or else the victims of an eviction.

    Args:
        files: all running files, including doomed ones.
        budget_bytes: bound for all files together, and therefore for each one.
        allowance_bytes: the part of the budget that other runs on this machine leave. A file that runs by
            itself may exceed the allowance, but never the budget.
        horizon_s: how far ahead to predict growth, because acting takes time.
        spares_last: whether a file that runs by itself may exceed the allowance. It may not if files of other
            runs have filled the machine's memory and this run is the one that must free some.
    """
    total_bytes = sum(file.used_bytes for file in files)
    # A file whose process has not started yet uses no memory: it exceeds nothing, and killing it frees
    # nothing.
    alive = [file for file in files if file.kill_pending_s is None and file.used_bytes > 0]
    guilty = [file for file in alive if file.used_bytes > min(file.limit_bytes or budget_bytes, budget_bytes)]
    if guilty:
        return tuple(
            _own_limit_breach(file, budget_bytes=budget_bytes, total_bytes=total_bytes) for file in guilty
        )
    lingering_bytes = sum(
        file.used_bytes
        for file in files
        if file.kill_pending_s is not None and file.kill_pending_s > KILL_PATIENCE_S
    )
    limit_bytes = min(int(budget_bytes * EVICTION_THRESHOLD), allowance_bytes)
    breaches: list[Breach] = []
    while lingering_bytes + sum(file.used_in(horizon_s) for file in alive) > limit_bytes:
        victim = choose_victim(alive, spares_last=spares_last)
        if victim is None:
            break
        alive.remove(victim)
        breaches.append(_eviction_breach(victim, limit_bytes=limit_bytes, total_bytes=total_bytes))
    if len(alive) == 1 and _used_alone_in(alive[0], horizon_s, budget_bytes=budget_bytes) > budget_bytes:
        breaches.append(_own_limit_breach(alive[0], budget_bytes=budget_bytes, total_bytes=total_bytes))
    return tuple(breaches)


def _used_alone_in(file: FileMemory, seconds: float, *, budget_bytes: int) -> int:
    """Return the bytes that a single running file will use in `seconds`.

    Far from the budget, one burst of growth does not predict another. Near the budget it must be assumed,
    because the next sample could come too late.
    """
    if file.used_bytes <= budget_bytes * NEAR_SHARE:
        return file.used_in(seconds)
    return file.used_bytes + int(min(file.burst_bytes_per_s, WORST_GROWTH_BYTES_PER_S) * seconds)


def choose_victim(alive: Sequence[FileMemory], *, spares_last: bool = True) -> FileMemory | None:
    """Return the file to evict: the one furthest above its prediction; of equal ones, the youngest.

    The oldest file is chosen only if it is the last one and `spares_last` is False. Return None if there is
    no candidate.
    """
    if len(alive) < 2:
        return None if spares_last or not alive else alive[0]
    oldest = min(file.started for file in alive)
    candidates = [file for file in alive if file.started != oldest]
    return max(candidates, key=lambda file: (file.overshoot_bytes, file.started))


def next_sample_s(
    *, spare_bytes: int, growth_bytes_per_s: float, youngest_s: float, cost_s: float, lag_s: float = 0.0
) -> float:
    """Return the seconds until the next sample.

    The wait is short enough that even worst-case growth cannot use up `spare_bytes`, which are left of the
    budget or of the file limit that is closest. It is also short while the last started file is young, so
    that short files get a peak. Sampling never takes more than 1/5 of a CPU, or 1/2 near the budget.

    `cost_s` is the CPU time of the last sample. `lag_s` is by how much the figures of the next sample will be
    outdated, beyond the wait.
    """
    speed = max(WORST_GROWTH_BYTES_PER_S, 2 * growth_bytes_per_s)
    wanted_s = min(MAX_TICK_S, max(0, spare_bytes) / speed - lag_s, max(FIRST_SAMPLE_S, youngest_s))
    # When even the earliest sample could come too late, sampling may use half a CPU.
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
    """Return the predicted peak of a file without history, running or queued; at most `budget_bytes`.

    The prediction starts with the usual peak of the project's files, else of this machine's, else
    `UNKNOWN_BYTES`; a larger peak seen in this run replaces it. After `UNKNOWN_FEW` files have finished,
    their largest peak counts; after `UNKNOWN_SAMPLE`, the peak that four of five stay below. A single very
    large file therefore does not serialize all others. A file that outgrows the prediction is evicted and
    reruns.

    In simulated first runs of a suite with one very large file in fifteen, a quantile of 0.9 took up to 1.6
    times as long as 0.8, at which 2 of 700 files were evicted.

    `peaks_bytes` are the peaks of files that finished in this run, without those that exceeded a limit of
    their own; `running_bytes` the peaks so far of running files. `usual_bytes` is the usual peak in earlier
    runs of this project, else of this machine; None: unknown.
    """
    if len(peaks_bytes) < UNKNOWN_FEW:
        seen_bytes = max([*peaks_bytes, *running_bytes, 0])
        if usual_bytes is None:
            usual_bytes = min(UNKNOWN_BYTES, budget_bytes // min(slots, UNKNOWN_PARTS))
        estimate_bytes = max(usual_bytes, _with_margin(seen_bytes))
    else:
        is_many = len(peaks_bytes) >= UNKNOWN_SAMPLE
        estimate_bytes = _with_margin(_usual_peak(peaks_bytes) if is_many else max(peaks_bytes))
    return min(estimate_bytes, budget_bytes)


def usual_file_bytes(known_bytes: Sequence[int]) -> int | None:
    """Return the peak that most known files of a project stay below; None if too few are known."""
    return _usual_peak(known_bytes) if len(known_bytes) >= UNKNOWN_FEW else None


def usual_machine_bytes(peaks_bytes: Sequence[int]) -> int | None:
    """Return the reservation for a file of an unknown project, from this machine's peaks; None if too few."""
    return _with_margin(_usual_peak(peaks_bytes)) if len(peaks_bytes) >= UNKNOWN_FEW else None


def _usual_peak(peaks_bytes: Sequence[int]) -> int:
    """Return the peak that four of five files stay below."""
    return sorted(peaks_bytes)[math.ceil(len(peaks_bytes) * UNKNOWN_SHARE) - 1]


def _with_margin(peak_bytes: int) -> int:
    """Return the reservation for a file like one with this peak."""
    return math.ceil(peak_bytes * UNKNOWN_MARGIN)


def _own_limit_breach(file: FileMemory, *, budget_bytes: int, total_bytes: int) -> Breach:
    """Return the breach of a file that exceeds its own limit, or the whole budget by itself."""
    limit_bytes = min(file.limit_bytes or budget_bytes, budget_bytes)
    name = "its limit" if file.limit_bytes else "the whole memory budget"
    growth = ""
    if file.used_bytes <= limit_bytes:
        rate = max(file.growth_bytes_per_s, file.burst_bytes_per_s)
        growth = f" and growing by {format_bytes(int(rate))}/s"
    return Breach(
        attempt_id=file.attempt_id,
        reason=StopReason.MEMORY_LIMIT,
        used_bytes=file.used_bytes,
        limit_bytes=limit_bytes,
        total_bytes=total_bytes,
        detail=f"used {format_bytes(file.used_bytes)}{growth}, allowed are {format_bytes(limit_bytes)} "
        f"({name}); killed by the runner",
    )


def _eviction_breach(file: FileMemory, *, limit_bytes: int, total_bytes: int) -> Breach:
    """Return the breach of a file that is evicted."""
    return Breach(
        attempt_id=file.attempt_id,
        reason=StopReason.MEMORY_BUDGET,
        used_bytes=file.used_bytes,
        limit_bytes=limit_bytes,
        total_bytes=total_bytes,
        detail=f"used {format_bytes(file.used_bytes)}, predicted were {format_bytes(file.predicted_bytes)}; "
        f"all files together {format_bytes(total_bytes)} of {format_bytes(limit_bytes)}; "
        "evicted to free memory; will rerun",
    )
