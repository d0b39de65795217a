"""Medians, spreads, ratios and lower bounds of measured runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bed.model import BedRun, Counts, Ledger
from benchmarks.bed.verdicts import differences, reference_run
from benchmarks.tables import median

OURS = "ours-"
"""What the names of our own runners begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Some values of the same thing.

    Args:
        median: the median.
        least: the smallest.
        most: the largest.
    """

    median: float
    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the runs of one suite by one runner come to.

    Args:
        runner: its name.
        files: how many files it had to run.
        rounds: how many runs there are.
        wall_s: seconds.
        ratio: of the median of the wall time to the base's median; None: the base was not measured.
        ratio_of_rounds: the same of single rounds, for the spread; None: no round has both.
        cpu_s: CPU seconds.
        own_cpu_ms: CPU milliseconds for each file that the runner itself took; None: it does not tell.
        bound_s: the lower bound of the wall time, the median over the runs.
        of_bound: wall time as a multiple of its own run's lower bound, the median.
        peak_bytes: the most memory, the median.
        processes: the most processes at once.
        total: what was counted in the last run.
        bad_files: the most files that did not end well; None: it does not tell.
        covered_lines: of the last run; None: not measured.
        differing: how many of its runs had another outcome than the reference.
    """

    runner: str
    files: int
    rounds: int
    wall_s: Spread
    ratio: float | None
    ratio_of_rounds: Spread | None
    cpu_s: Spread
    own_cpu_ms: float | None
    bound_s: float
    of_bound: float
    peak_bytes: float
    processes: int
    total: Counts
    bad_files: int | None
    covered_lines: int | None
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSummary:
    """What all runs of one suite come to.

    Args:
        suite: its name.
        files: how many files it has.
        base: the runner to which the ratios are; empty: none of its runs is there.
        rows: one for each runner, in the order in which they first ran.
        differences: every outcome that is not the reference's, for people.
    """

    suite: str
    files: int
    base: str
    rows: tuple[Row, ...]
    differences: tuple[str, ...]


def lower_bound_s(*, cpu_s: float, cores: int, longest_s: float | None) -> float:
    """Return the least seconds that a run with this work can take.

    Args:
        cpu_s: CPU seconds of the whole run.
        cores: CPUs that it may use.
        longest_s: seconds of its longest file, where a file cannot be split; None: not known, or it can.
    """
    return max(cpu_s / cores, longest_s or 0.0)


def summarise(ledger: Ledger, *, base: str | None) -> tuple[SuiteSummary, ...]:
    """Return what the runs come to, suite by suite.

    Args:
        ledger: the runs.
        base: the runner to which ratios are; None, or one without runs of a suite: that suite's first.
    """
    found: list[SuiteSummary] = []
    for suite in dict.fromkeys(run.suite for run in ledger.runs):
        runs = [run for run in ledger.runs if run.suite == suite]
        names = list(dict.fromkeys(run.runner for run in runs))
        chosen = base if base in names else names[0]
        reference = reference_run(runs)
        rows = tuple(_row(name, runs, chosen, reference, ledger.machine.cores) for name in names)
        found.append(
            SuiteSummary(
                suite=suite,
                files=runs[-1].files,
                base=chosen,
                rows=rows,
                differences=_differences(runs, reference),
            )
        )
    return tuple(found)


def faster_peers(summary: SuiteSummary) -> tuple[str, ...]:
    """Return for each runner of ours which peers had a shorter median with the same outcome, for people."""
    found: list[str] = []
    peers = [row for row in summary.rows if not row.runner.startswith(OURS) and not row.differing]
    for row in summary.rows:
        faster = [peer for peer in peers if peer.wall_s.median < row.wall_s.median]
        if not row.runner.startswith(OURS) or not faster:
            continue
        faster.sort(key=lambda peer: peer.wall_s.median)
        words = [f"{peer.runner} ({_multiples(row, peer)})" for peer in faster]
        found.append(f"{summary.suite}: {row.runner} took longer than {', '.join(words)}")
    return tuple(found)


def _multiples(row: Row, peer: Row) -> str:
    """Return how much more time and memory a runner took than another, for people."""
    time = f"{row.wall_s.median / peer.wall_s.median:.2f} x"
    return f"{time}, {row.peak_bytes / peer.peak_bytes:.2f} x memory" if peer.peak_bytes else time


def spread_of(values: Sequence[float]) -> Spread:
    """Return median and range of at least one value."""
    return Spread(median=median(values), least=min(values), most=max(values))


def _row(name: str, runs: Sequence[BedRun], base: str, reference: BedRun | None, cores: int) -> Row:
    mine = [run for run in runs if run.runner == name]
    bases = [run for run in runs if run.runner == base]
    base_by_round = {run.round: run.wall_s for run in bases}
    of_rounds = [run.wall_s / base_by_round[run.round] for run in mine if run.round in base_by_round]
    longest_s = _longest_s(mine, runs)
    bounds = [lower_bound_s(cpu_s=run.cpu_s, cores=cores, longest_s=longest_s) for run in mine]
    wall_s = spread_of([run.wall_s for run in mine])
    base_s = median([run.wall_s for run in bases])
    own = [
        (run.cpu_s - run.verdict.files_cpu_s, run.files)
        for run in mine
        if run.verdict.files_cpu_s is not None
    ]
    bad = [len(run.verdict.bad_files) for run in mine if run.verdict.bad_files is not None]
    return Row(
        runner=name,
        files=mine[-1].files,
        rounds=len(mine),
        wall_s=wall_s,
        ratio=wall_s.median / base_s if base_s else None,
        ratio_of_rounds=spread_of(of_rounds) if of_rounds else None,
        cpu_s=spread_of([run.cpu_s for run in mine]),
        own_cpu_ms=median([1000 * cpu_s / files for cpu_s, files in own]) if own else None,
        bound_s=median(bounds),
        of_bound=median([run.wall_s / bound_s for run, bound_s in zip(mine, bounds, strict=True) if bound_s]),
        peak_bytes=median([run.peak_bytes for run in mine]),
        processes=max(run.processes for run in mine),
        total=mine[-1].verdict.total,
        bad_files=max(bad) if bad else None,
        covered_lines=mine[-1].verdict.covered_lines,
        differing=sum(bool(reference is None or differences(run, reference)) for run in mine),
    )


def _longest_s(mine: Sequence[BedRun], all_runs: Sequence[BedRun]) -> float | None:
    """Return the seconds of the longest file for the bound of a runner that gives each a process.

    It is the least that any run of the suite tells: other files beside it slow a file down, and what is
    not the least is no bound.
    """
    if not all(run.isolates for run in mine):
        return None
    told = [run.verdict.longest_s for run in all_runs if run.verdict.longest_s is not None]
    return min(told, default=None)


def _differences(runs: Sequence[BedRun], reference: BedRun | None) -> tuple[str, ...]:
    if reference is None:
        return tuple(f"{run.suite}: {run.runner}: {run.verdict.problem or 'no test ran'}" for run in runs)
    return tuple(
        f"{run.suite}: {run.runner}, round {run.round}: {difference}"
        for run in runs
        for difference in differences(run, reference)
    )
