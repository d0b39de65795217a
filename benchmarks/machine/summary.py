"""Medians of what was measured, and the tables of the page. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.machine.model import OURS, RUNNERS, AtOnce, Beside, Figures
from benchmarks.tables import median

MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The medians of one suite and runner, in the order of the numbers of runs.

    Args:
        suite: its name.
        runner: which.
        by_runs: the rounds of each number of runs.
    """

    suite: str
    runner: str
    by_runs: tuple[tuple[int, tuple[AtOnce, ...]], ...]


def series(figures: Figures, *, is_limited: bool = False) -> list[Series]:
    """Return each suite's measurements, of both runners; those under a hard limit are apart."""
    records = [one for one in figures.at_once if (one.limit_bytes is not None) == is_limited]
    found = []
    for suite in dict.fromkeys(one.suite for one in records):
        for runner in RUNNERS:
            own = [one for one in records if (one.suite, one.runner) == (suite, runner)]
            counts = sorted({one.runs for one in own})
            by_runs = tuple((count, tuple(one for one in own if one.runs == count)) for count in counts)
            found.append(Series(suite=suite, runner=runner, by_runs=by_runs))
    return found


def middle(rounds: Sequence[AtOnce], value: Callable[[AtOnce], float | None]) -> float:
    """Return the median of one value over the rounds; NaN where it was not measured."""
    found = [one for one in map(value, rounds) if one is not None]
    return median(found) if found else math.nan


def beside_rows(figures: Figures, runner: str) -> list[tuple[int, tuple[Beside, ...]]]:
    """Return a runner's measurements of the small suite by the number of long runs."""
    own = [one for one in figures.beside if one.runner == runner]
    return [
        (count, tuple(one for one in own if one.long_runs == count))
        for count in sorted({one.long_runs for one in own})
    ]


def misses(figures: Figures) -> list[str]:
    """Return what of ours does not hold, a line each."""
    found = []
    for one in series(figures):
        for runs, rounds in one.by_runs:
            ratio = middle(rounds, lambda record: record.ratio)
            if one.runner == OURS and runs > 1 and ratio > 1.1:
                found.append(f"{one.suite}, {runs} runs: {ratio:.2f} times as long as one after the other")
    ours = [one for one in figures.at_once if one.runner == OURS]
    found += [f"{one.suite}: {one.failed} runs failed" for one in ours if one.failed]
    found += [f"{one.suite}: {one.oom_kills} processes were killed" for one in ours if one.oom_kills]
    found += [
        f"{one.suite}, {one.runs} runs: over the machine's budget"
        for one in ours
        if one.peak_bytes > one.budget_bytes
    ]
    for long_runs, measured in beside_rows(figures, OURS):
        times = median([one.wall_s / one.fair_s for one in measured])
        if times > 2:
            found.append(f"the small suite beside {long_runs} long runs: {times:.2f} times its fair time")
        late_s = median([one.first_file_s or 0.0 for one in measured])
        if late_s > 1:
            found.append(f"the small suite beside {long_runs} long runs: first file after {late_s:.2f} s")
    return found


def page(figures: Figures) -> str:
    """Return the tables as Markdown, for docs/performance.md."""
    loads = sorted([one.load for one in figures.at_once] + [one.load for one in figures.beside])
    memory_gib = figures.memory_bytes / MIB / 1024
    opening = (
        f"Measured on {figures.at[:10]} with Python {figures.python} on {figures.cpus} processors and "
        f"{memory_gib:.0f} GiB, with a load average of {loads[0]:.0f} to {loads[-1]:.0f} "
        f"(median {median(loads):.0f}) before each measurement. Medians of the rounds."
    )
    return "\n\n".join(
        (
            opening,
            _markdown(*_at_once_table(figures)),
            _markdown(*_limited_table(figures)),
            _markdown(*_beside_table(figures)),
        )
    )


def _at_once_table(figures: Figures) -> tuple[list[str], list[list[str]]]:
    head = [
        "suite",
        "runner",
        "runs",
        "all ended, s",
        "one after the other, s",
        "ratio",
        "CPU ratio",
        "mean end, s",
    ]
    rows = [
        [
            one.suite,
            one.runner,
            str(runs),
            f"{middle(rounds, lambda record: record.wall_s):.1f}",
            f"{middle(rounds, lambda record: record.serial_s):.1f}",
            f"{middle(rounds, lambda record: record.ratio):.2f}",
            f"{middle(rounds, lambda record: record.cpu_ratio):.2f}",
            f"{middle(rounds, lambda record: record.mean_s):.1f}",
            f"{middle(rounds, lambda record: record.fairness):.2f}",
            f"{max(record.peak_bytes for record in rounds) / MIB:.0f}",
            f"{middle(rounds, lambda record: record.runnable):.1f}",
            str(sum(record.failed for record in rounds)),
        ]
        for one in series(figures)
        for runs, rounds in one.by_runs
    ]
    return [*head, "fairness", "peak, MiB", "runnable", "failed runs"], rows


def _limited_table(figures: Figures) -> tuple[list[str], list[list[str]]]:
    head = ["suite", "runner", "runs", "limit, MiB", "budget, MiB", "peak, MiB"]
    rows = [
        [
            one.suite,
            one.runner,
            str(runs),
            f"{(rounds[0].limit_bytes or 0) / MIB:.0f}",
            f"{rounds[0].budget_bytes / MIB:.0f}" if one.runner == OURS else "-",
            f"{max(record.peak_bytes for record in rounds) / MIB:.0f}",
            str(sum(record.oom_kills or 0 for record in rounds)),
            f"{sum(record.failed for record in rounds)} of {runs * len(rounds)}",
            f"{middle(rounds, lambda record: record.wall_s):.0f}",
            f"{middle(rounds, lambda record: record.fairness):.2f}",
        ]
        for one in series(figures, is_limited=True)
        for runs, rounds in one.by_runs
    ]
    return [*head, "killed by the kernel", "failed runs", "all ended, s", "fairness"], rows


def _beside_table(figures: Figures) -> tuple[list[str], list[list[str]]]:
    head = ["runner", "long runs", "CPUs had", "alone, s", "fair, s", "beside them, s", "of fair"]
    rows = []
    for runner in RUNNERS:
        for long_runs, rounds in beside_rows(figures, runner):
            starts = [one.start_s for one in rounds if one.start_s is not None]
            firsts = [one.first_file_s for one in rounds if one.first_file_s is not None]
            rows.append(
                [
                    runner,
                    str(long_runs),
                    _seconds(one.busy_cpus for one in rounds),
                    _seconds(one.alone_s for one in rounds),
                    _seconds(one.fair_s for one in rounds),
                    _seconds(one.wall_s for one in rounds),
                    _seconds(one.wall_s / one.fair_s for one in rounds),
                    _seconds(starts) if starts else "-",
                    _seconds(firsts) if firsts else "-",
                ]
            )
    return [*head, "start-up, s", "first file after that, s"], rows


def _seconds(values: Iterable[float]) -> str:
    return f"{median(list(values)):.2f}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
