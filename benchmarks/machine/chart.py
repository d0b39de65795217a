"""The chart of several runs at once: `python -m benchmarks.machine.chart [RECORDED.json CHART.svg]`.

Without arguments it makes the chart of the documents from the figures that are recorded beside it, and
prints the tables that stand in the page.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.bars import Bar, Group, Panel, draw, exact
from benchmarks.machine.model import OURS, RUNNERS, AtOnce, Beside, Figures, read_figures
from benchmarks.machine.summary import MIB, beside_rows, page, series
from benchmarks.tables import median

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
RECORDED, CHART = IMAGES / "machine.json", IMAGES / "machine.svg"

MOST_RATIO = 1.1
"""Times one run after the other, within which runs at once should all have ended."""

MOST_OF_FAIR = 2.0
"""Times its fair share within which a small suite should end beside long runs."""


def draw_chart(figures: Figures) -> str:
    """Return the text of the SVG file."""
    suites = dict.fromkeys(one.suite for one in figures.at_once if one.limit_bytes is None)
    groups = [_at_once(figures, suite) for suite in suites]
    limited = [one for one in figures.at_once if one.limit_bytes is not None]
    if limited:
        groups.append(_limited(limited))
    groups.append(_beside(figures))
    return draw(groups)


def _at_once(figures: Figures, suite: str) -> Group:
    own = [one for one in series(figures) if one.suite == suite]
    counts = sorted({runs for one in own for runs, _ in one.by_runs})
    measured = [
        (runs, one.runner, rounds)
        for runs in counts
        for one in own
        for count, rounds in one.by_runs
        if count == runs
    ]
    rounds_of = [rounds for _, _, rounds in measured]
    return Group(
        title=f"{suite}: runs that start together",
        rows=[(f"{runs} × {runner}", runner == OURS) for runs, runner, _ in measured],
        panels=(
            Panel(
                title="until all ended / one by one (line: 1.1)",
                bars=[_bar([one.ratio or 0.0 for one in rounds], mark=MOST_RATIO) for rounds in rounds_of],
                digits=2,
            ),
            _panel("mean until a run ended, s", rounds_of, lambda one: one.mean_s, digits=1),
            _panel("peak memory of all, MiB", rounds_of, lambda one: one.peak_bytes / MIB, digits=0),
            _panel("fairness (Jain's index)", rounds_of, lambda one: one.fairness, digits=2),
        ),
    )


def _limited(records: Sequence[AtOnce]) -> Group:
    runners = [runner for runner in RUNNERS if any(one.runner == runner for one in records)]
    rounds_of = [tuple(one for one in records if one.runner == runner) for runner in runners]
    first = records[0]
    limit_mib = (first.limit_bytes or 0) / MIB
    return Group(
        title=f"{first.suite}: {first.runs} runs in a control group of {limit_mib:.0f} MiB",
        rows=[(f"{first.runs} × {runner}", runner == OURS) for runner in runners],
        panels=(
            Panel(
                title="peak memory, MiB (line: limit)",
                bars=[_bar([one.peak_bytes / MIB for one in rounds], mark=limit_mib) for rounds in rounds_of],
                digits=0,
            ),
            _panel("killed by the kernel", rounds_of, lambda one: float(one.oom_kills or 0), digits=0),
            _panel("failed runs", rounds_of, lambda one: float(one.failed), digits=0),
            _panel("until all ended, s", rounds_of, lambda one: one.wall_s, digits=0),
        ),
    )


def _beside(figures: Figures) -> Group:
    measured = [
        (long_runs, runner, rounds)
        for long_runs in sorted({one.long_runs for one in figures.beside})
        for runner in RUNNERS
        for count, rounds in beside_rows(figures, runner)
        if count == long_runs
    ]

    def bars(value: Callable[[Beside], float], *, mark: float | None = None) -> list[Bar]:
        return [_bar([value(one) for one in rounds], mark=mark) for _, _, rounds in measured]

    return Group(
        title="11 small files beside long runs",
        rows=[(f"{long_runs} long, {runner}", runner == OURS) for long_runs, runner, _ in measured],
        panels=(
            Panel(
                title="time / fair time (line: 2)",
                bars=bars(lambda one: one.wall_s / one.fair_s, mark=MOST_OF_FAIR),
                digits=2,
            ),
            Panel(title="time beside them, s", bars=bars(lambda one: one.wall_s), digits=1),
            Panel(title="time alone, s", bars=bars(lambda one: one.alone_s), digits=1),
        ),
    )


def _panel(
    title: str, rounds_of: Sequence[Sequence[AtOnce]], value: Callable[[AtOnce], float], *, digits: int
) -> Panel:
    return Panel(
        title=title, bars=[_bar([value(one) for one in rounds]) for rounds in rounds_of], digits=digits
    )


def _bar(values: Sequence[float], *, mark: float | None = None) -> Bar:
    """Return the median of the rounds with their range."""
    if not values:
        return exact(0.0)
    return Bar(value=median(values), least=min(values), most=max(values), mark=mark)


def main(argv: Sequence[str]) -> None:
    """Draw the chart of a file of figures, and print the page's tables."""
    recorded, chart = (Path(word) for word in argv) if argv else (RECORDED, CHART)
    figures = read_figures(recorded)
    chart.write_text(draw_chart(figures))
    print(page(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
