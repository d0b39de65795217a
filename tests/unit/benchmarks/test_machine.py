"""The figures of several runs at once: what is made of them, and that chart and page are made of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.machine.chart import CHART, RECORDED, draw_chart
from benchmarks.machine.model import OURS, XDIST, AtOnce, Beside, Figures, read_figures
from benchmarks.machine.summary import misses, page
from benchmarks.tables import write_json

PAGE = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- machine: begin -->\n\n", "\n\n<!-- machine: end -->"

GIB = 1024**3

AT_ONCE = AtOnce(
    runner=OURS,
    suite="click",
    runs=4,
    wall_s=20.0,
    serial_s=20.0,
    mean_s=15.0,
    cpu_s=44.0,
    alone_cpu_s=10.0,
    fairness=0.9,
    peak_bytes=GIB,
    budget_bytes=2 * GIB,
    limit_bytes=None,
    runnable=2.0,
    load=1.0,
    oom_kills=0,
    failed=0,
)
BESIDE = Beside(
    runner=OURS,
    long_runs=3,
    wall_s=3.0,
    alone_s=1.0,
    alone_cpu_s=0.75,
    busy_cpus=2.0,
    start_s=0.3,
    first_file_s=0.2,
    load=1.0,
    failed=False,
)


def figures_of(*records: AtOnce | Beside) -> Figures:
    return Figures(
        at="2026-01-02T03:04:05+00:00",
        python="3.11.7",
        cpus=2,
        memory_bytes=8 * GIB,
        at_once=tuple(one for one in records if isinstance(one, AtOnce)),
        beside=tuple(one for one in records if isinstance(one, Beside)),
    )


@pytest.mark.parametrize(
    ("cpu_s", "long_runs", "busy_cpus", "fair_s"),
    [(0.75, 1, 2, 1.0), (0.75, 3, 2, 1.5), (0.75, 7, 2, 3.0), (0.1, 7, 2, 1.0), (0.75, 3, 1, 3.0)],
)
def test_the_fair_time_is_that_of_the_share_of_the_processors(
    cpu_s: float, long_runs: int, busy_cpus: float, fair_s: float
) -> None:
    one = dataclasses.replace(BESIDE, alone_cpu_s=cpu_s, long_runs=long_runs, busy_cpus=busy_cpus)
    assert one.fair_s == pytest.approx(fair_s)


def test_processor_time_is_that_of_a_run_against_that_of_a_run_alone() -> None:
    assert AT_ONCE.cpu_ratio == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (AT_ONCE, ""),
        (dataclasses.replace(AT_ONCE, wall_s=23.0), "1.15 times as long as one after the other"),
        (dataclasses.replace(AT_ONCE, wall_s=23.0, runner=XDIST), ""),
        (dataclasses.replace(AT_ONCE, peak_bytes=3 * GIB), "over the machine's budget"),
        (dataclasses.replace(AT_ONCE, oom_kills=1), "1 processes were killed"),
        (dataclasses.replace(AT_ONCE, failed=2), "2 runs failed"),
        (BESIDE, ""),
        (dataclasses.replace(BESIDE, wall_s=3.3), "2.20 times its fair time"),
        (dataclasses.replace(BESIDE, first_file_s=1.5), "first file after 1.50 s"),
    ],
)
def test_what_ours_must_keep_is_judged(record: AtOnce | Beside, said: str) -> None:
    found = misses(figures_of(record))
    assert (said in found[0] and len(found) == 1) if said else found == []


def test_the_median_of_the_rounds_is_judged() -> None:
    slow, fast = dataclasses.replace(AT_ONCE, wall_s=30.0), dataclasses.replace(AT_ONCE, wall_s=19.0)
    assert misses(figures_of(slow, fast, AT_ONCE)) == []
    assert len(misses(figures_of(slow, fast, slow))) == 1


def test_recorded_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_json(tmp_path / "machine.json", "machine", [AT_ONCE, BESIDE])
    figures = read_figures(tmp_path / "machine.json")
    assert (figures.at_once, figures.beside) == ((AT_ONCE,), (BESIDE,))


def test_the_chart_is_drawn_from_the_recorded_figures() -> None:
    assert CHART.read_text() == draw_chart(read_figures(RECORDED)), (
        "make it anew: .venv/bin/python -m benchmarks.machine.chart"
    )


def test_the_page_shows_the_recorded_figures() -> None:
    shown = PAGE.read_text().split(BEGIN)[1].split(END)[0]
    assert shown == page(read_figures(RECORDED)), (
        "put in what this prints: .venv/bin/python -m benchmarks.machine.chart"
    )
