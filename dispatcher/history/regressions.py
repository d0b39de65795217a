"""Finds the files of a run that took much more time or memory than they used to. Pure.

A file is compared with itself, as it was where it ran in the same way, forked or spawned. Only a pass says
what a file takes; and a figure drawn from a run or two is no habit yet.

What a machine, or the files beside it, do to a file's time must not count as its own:

- It is compared with about the most that it took in its last runs. What a forked file takes goes up and down:
  while its server has not imported what it needs it imports that itself.
- Processor time is compared where it is known, since waiting for a processor adds nothing to it. Wall-clock
  time is compared beside it for files that leave the processor alone most of the time, before or now: a file
  that begins to wait for something takes no more of the processor.
- The growth that is common to the files that ran on one machine, their *pace*, is taken off each: where a
  machine is half as fast, or crowded, none stands out. It is the lower median over all that are compared, so
  at least half of them would have to grow by themselves to hide it. It needs `MIN_PACE` files; fewer go by
  the pace of the whole run, and a single one is compared as it is. Files that all became quicker make none
  slower: the pace is never below 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from dispatcher.model.plan import PlannedFile
from dispatcher.model.results import FileAttempts, Measure, Regression
from dispatcher.model.usage_stats import UsageStats
from passmuster.model.task import MOSTLY_WAITS_SHARE

MIN_RUNS = 3
"""Runs that a baseline is drawn from at least."""

MIN_PACE = 2
"""Files that a pace is taken from at least: of two, what both grew by is common."""

MIN_S = 1.0
"""Seconds that a time grows by at least: what lies below is how a machine's load differs from run to run."""

MIN_BYTES = 32 * 1024 * 1024
"""Bytes that a peak grows by at least: a library more is loaded, and nothing has happened."""

_SMALLEST_S = 0.01
"""What a time of nothing is taken for: a processor clock ticks a hundred times a second."""

_Times = tuple[float, float]
"""Seconds that something used to take, and that it took."""


class _Pair(Struct, frozen=True, kw_only=True):
    """What a file took, and what it used to take."""

    record: FileAttempts
    usual: UsageStats
    is_changed: bool

    @property
    def worker(self) -> str:
        """Where it ran."""
        return self.record.final.worker

    @property
    def cpu_s(self) -> _Times | None:
        """The processor time that it used to take, and what it took; None: unknown."""
        usual_s, now_s = self.usual.cpu_s, self.record.final.cpu_s
        if usual_s is None or now_s is None:
            return None
        return max(usual_s, self.usual.most_cpu_s or 0.0, _SMALLEST_S), now_s

    @property
    def wall_s(self) -> _Times:
        """The same of wall-clock time."""
        return max(self.usual.duration_s, self.usual.most_s, _SMALLEST_S), self.record.final.duration

    @property
    def waits(self) -> bool:
        """Whether it left the processor alone most of the time, before or now, as far as anybody knows."""
        cpu, wall = self.cpu_s, self.wall_s
        return cpu is None or any(
            part < MOSTLY_WAITS_SHARE * whole for part, whole in zip(cpu, wall, strict=True)
        )


def find_regressions(
    planned: Sequence[PlannedFile], records: Iterable[FileAttempts], *, factor: float
) -> tuple[Regression, ...]:
    """Return what grew beyond `factor` times its usual, the largest factors first.

    Args:
        planned: the files of the run with what they took before.
        records: what the run came to; of a run in parts, of all of them, so that there is one pace.
        factor: above 1.
    """
    pairs = list(_pairs(planned, records))
    cpu_pace = _paces((pair.worker, pair.cpu_s) for pair in pairs)
    wall_pace = _paces((pair.worker, pair.wall_s) for pair in pairs)
    found: list[Regression] = []
    for pair in pairs:
        slower = _slower(pair, Measure.CPU, pair.cpu_s, cpu_pace)
        if pair.waits and (slower is None or slower.factor <= factor):
            slower = _slower(pair, Measure.TIME, pair.wall_s, wall_pace)
        found += [one for one in (slower, _larger(pair)) if one is not None and one.factor > factor]
    return tuple(sorted(found, key=lambda one: (-one.factor, one.file.path, one.what)))


def _pairs(planned: Sequence[PlannedFile], records: Iterable[FileAttempts]) -> Iterator[_Pair]:
    baselines = {item.file.path: item.baseline for item in planned}
    for record in records:
        baseline = baselines.get(record.file.path)
        if baseline is None or not record.status.is_pass:
            continue
        usual = baseline.of(record.final.isolation)
        if usual.runs >= MIN_RUNS:
            yield _Pair(record=record, usual=usual, is_changed=baseline.is_changed)


def _paces(times: Iterable[tuple[str, _Times | None]]) -> Callable[[str], float]:
    """Return what gives the pace of a machine by its worker's name."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for worker, pair in times:
        if pair is not None:
            ratios[worker].append(pair[1] / pair[0])
    of_all = _pace([ratio for some in ratios.values() for ratio in some])
    paces = {worker: _pace(some) for worker, some in ratios.items() if len(some) >= MIN_PACE}
    return lambda worker: paces.get(worker, of_all)


def _pace(ratios: Sequence[float]) -> float:
    # By hand: the module `statistics` takes longer to import than a small test to run.
    return max(1.0, sorted(ratios)[(len(ratios) - 1) // 2]) if len(ratios) >= MIN_PACE else 1.0


def _slower(
    pair: _Pair, what: Measure, times: _Times | None, pace_of: Callable[[str], float]
) -> Regression | None:
    pace = pace_of(pair.worker)
    if times is None or times[1] / pace - times[0] < MIN_S:
        return None
    return _regression(pair, what, *times, pace)


def _larger(pair: _Pair) -> Regression | None:
    usual, now = pair.usual.peak_bytes, pair.record.final.peak_bytes
    if not usual or now is None or now - usual < MIN_BYTES:
        return None
    return _regression(pair, Measure.MEMORY, usual, now, 1.0)


def _regression(pair: _Pair, what: Measure, baseline: float, now: float, pace: float) -> Regression:
    return Regression(
        file=pair.record.file,
        what=what,
        baseline=baseline,
        now=now,
        pace=pace,
        is_changed=pair.is_changed,
    )
