"""Finds the files of a run that used much more time or memory than usual. Pure.

A file is compared with its own earlier runs with the same start method, forked or spawned. Only a pass shows
what a file uses, and a value from one or two runs is not yet a baseline.

The influence of the machine, or of the files that run at the same time, must not count as the file's own:

- The time is compared with about the highest of its last runs. A forked file varies: while its fork server
  lacks an import, the file imports the module itself.
- CPU time is compared if it is known, since waiting for a CPU adds nothing to it. Wall-clock time is compared
  in addition for files that are I/O-bound, before or now: a file that starts to wait for something uses no
  more CPU.
- The growth that is common to the files on one machine, their *pace*, is divided out: if a machine is half as
  fast, or busy, no file stands out. The pace is the lower median over all compared files, so at least half of
  them would have to grow by themselves to hide a regression. It needs `MIN_PACE` files; with fewer, the pace
  of the whole run applies, and a single file is compared directly. The pace is never below 1, so files that
  all became quicker make none slower.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from dispatcher.model.plan import PlannedFile
from dispatcher.model.results import FileAttempts, Measure, Regression
from dispatcher.model.usage_stats import UsageStats
from passmuster.model.task import IO_BOUND_CPU_SHARE

MIN_RUNS = 3
"""The minimum number of runs behind a baseline."""

MIN_PACE = 2
"""The minimum number of files behind a pace: of two, the growth that both share is the common one."""

MIN_S = 1.0
"""The minimum growth in seconds; smaller differences come from the varying load of a machine."""

MIN_BYTES = 32 * 1024 * 1024
"""The minimum growth in bytes; smaller differences come from one more loaded library."""

_SMALLEST_S = 0.01
"""The value that replaces a time of zero: a CPU clock ticks a hundred times a second."""

_Times = tuple[float, float]
"""Seconds: the baseline, and the value in this run."""


class _Pair(Struct, frozen=True, kw_only=True):
    """What a file used, and its baseline."""

    record: FileAttempts
    usual: UsageStats
    is_changed: bool

    @property
    def worker(self) -> str:
        """The worker that ran it."""
        return self.record.final.worker

    @property
    def cpu_s(self) -> _Times | None:
        """Baseline and current CPU time; None: unknown."""
        usual_s, now_s = self.usual.cpu_s, self.record.final.cpu_s
        if usual_s is None or now_s is None:
            return None
        return max(usual_s, self.usual.max_cpu_s or 0.0, _SMALLEST_S), now_s

    @property
    def wall_s(self) -> _Times:
        """Baseline and current wall-clock time."""
        return max(self.usual.duration_s, self.usual.max_s, _SMALLEST_S), self.record.final.duration

    @property
    def waits(self) -> bool:
        """Whether it was or is I/O-bound, as far as is known."""
        cpu, wall = self.cpu_s, self.wall_s
        return cpu is None or any(
            part < IO_BOUND_CPU_SHARE * whole for part, whole in zip(cpu, wall, strict=True)
        )


def find_regressions(
    planned: Sequence[PlannedFile], records: Iterable[FileAttempts], *, factor: float
) -> tuple[Regression, ...]:
    """Return the values beyond `factor` times their baselines, the largest factors first.

    Args:
        records: the results of the run; for a sharded run those of all shards, so that one pace applies.
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
    return tuple(sorted(found, key=lambda one: (-one.factor, one.file.path, one.measure)))


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
    """Return a function that gives the pace of a machine by its worker's name."""
    ratios: dict[str, list[float]] = defaultdict(list)
    for worker, pair in times:
        if pair is not None:
            ratios[worker].append(pair[1] / pair[0])
    of_all = _pace([ratio for some in ratios.values() for ratio in some])
    paces = {worker: _pace(some) for worker, some in ratios.items() if len(some) >= MIN_PACE}
    return lambda worker: paces.get(worker, of_all)


def _pace(ratios: Sequence[float]) -> float:
    # Computed by hand: importing `statistics` takes longer than a small test runs.
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
        measure=what,
        baseline=baseline,
        now=now,
        run_slowdown=pace,
        is_changed=pair.is_changed,
    )
