"""The bed's chart: for each suite four columns of bars (wall, CPU, memory, processes), as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bars import Bar, Group, Panel, draw, exact
from benchmarks.bed.summary import OURS, Row, SuiteSummary
from benchmarks.tables import MB


def draw_chart(summaries: Sequence[SuiteSummary]) -> str:
    """Return the chart of some suites, one below the other, as the text of an SVG file."""
    return draw([_suite(summary) for summary in summaries])


def _suite(summary: SuiteSummary) -> Group:
    rows = summary.rows
    return Group(
        title=f"{summary.suite}: {summary.files} files",
        rows=[
            (f"{row.runner} ≠" if row.differing else row.runner, row.runner.startswith(OURS)) for row in rows
        ],
        panels=(
            Panel(title="wall s (line: lower bound)", bars=[_wall(row) for row in rows], digits=2),
            Panel(title="CPU s", bars=[_cpu(row) for row in rows], digits=2),
            Panel(title="peak memory, MB", bars=[exact(row.peak_bytes / MB) for row in rows], digits=0),
            Panel(title="processes at once", bars=[exact(row.processes) for row in rows], digits=0),
        ),
    )


def _wall(row: Row) -> Bar:
    return Bar(value=row.wall_s.median, least=row.wall_s.least, most=row.wall_s.most, mark=row.bound_s)


def _cpu(row: Row) -> Bar:
    return Bar(value=row.cpu_s.median, least=row.cpu_s.least, most=row.cpu_s.most)
