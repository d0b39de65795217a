"""The timeline: a row for each slot of each machine, a bar for each attempt. Pure.

The bars stand in percent of the width, so the drawing fits a phone and is zoomed by being made wider. The
details of a bar are in the page's data, in the order of the bars.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dispatcher.reporters.html.axis import percent, time_label, time_ticks
from dispatcher.reporters.html.markup import counted, line, look
from dispatcher.reporters.html.report_model import Bar, ReportModel
from passmuster.model.status import Status
from passmuster.model.text import JsonValue
from passmuster.model.units import format_seconds

NAME_HEIGHT = 26
"""Pixels of the row with a machine's name."""

MANY_ROWS = 60
"""Rows beyond which they are drawn low, so that the whole still fits a look."""

MAX_BARS = 50_000
"""Bars drawn: what a browser still scrolls without stuttering. The longest are."""

_LOOKS = (
    ("pass", "passed"),
    ("fail", "failed"),
    ("timeout", "timed out"),
    ("memory", "over its memory"),
    ("trouble", "could not be run"),
    ("room", "stopped to make room"),
    ("stopped", "stopped with the run"),
)


class Row(Struct, frozen=True, kw_only=True):
    """One slot, and where its row begins, in pixels from the top."""

    worker: str
    slot: int
    top: int


class Rows(Struct, frozen=True, kw_only=True):
    """All rows, with the tops of the names above them and the height of everything."""

    rows: tuple[Row, ...]
    names: tuple[tuple[str, int], ...]
    row_height: int
    height: int


def drawn_bars(told: ReportModel) -> tuple[Bar, ...]:
    """Return the bars that are drawn, in their order: of very many the longest."""
    if len(told.bars) <= MAX_BARS:
        return told.bars
    chosen = sorted(range(len(told.bars)), key=lambda at: told.bars[at].start_s - told.bars[at].end_s)
    return tuple(told.bars[at] for at in sorted(chosen[:MAX_BARS]))


def lay_out(told: ReportModel) -> Rows:
    """Return where each slot's row is."""
    machines = told.machines
    count = sum(map(len, machines.values()))
    row_height = 20 if count <= MANY_ROWS else 9
    rows: list[Row] = []
    names: list[tuple[str, int]] = []
    top = 0
    for worker, slots in sorted(machines.items()):
        names.append((worker, top))
        top += NAME_HEIGHT
        for slot in sorted(slots):
            rows.append(Row(worker=worker, slot=slot, top=top))
            top += row_height
        top += 8
    return Rows(rows=tuple(rows), names=tuple(names), row_height=row_height, height=top)


def timeline_section(told: ReportModel) -> Iterator[str]:
    """Yield the section."""
    yield '<section id="timeline" aria-labelledby="timeline-h"><h2 id="timeline-h">Timeline</h2>\n'
    bars = drawn_bars(told)
    if not bars:
        yield '<p class="quiet">Nothing ran in this run.</p></section>\n'
        return
    yield f'<p class="quiet">{_described(told)}</p>\n'
    yield from _legend(bars)
    layout = lay_out(told)
    yield (
        '<div class="tools" hidden><button type="button" id="zoom-out" aria-label="Zoom out">−</button>'
        '<button type="button" id="zoom-in" aria-label="Zoom in">+</button>'
        '<button type="button" id="zoom-fit">Fit</button>'
        '<span class="quiet keys">Arrow keys go from bar to bar, Enter to the file, + and − zoom.</span>'
        '</div>\n<p id="bar-details" class="readout" role="status" hidden>'
        "Point at a bar, or go to the first with Tab.</p>\n"
        '<div class="scroller" id="time-scroller"><div class="canvas" id="time-canvas">'
        '<div class="corner"></div>\n'
    )
    yield from _axis(told)
    yield from _gutter(layout)
    yield from _drawing(told, bars, layout)
    yield "</div></div>\n"
    yield from _footnotes(told, bars)
    yield "</section>\n"


def bar_data(told: ReportModel) -> list[JsonValue]:
    """Return the details of each bar: file, attempt, status, start, length, memory, machine, slot, counts."""
    statuses = {status: number for number, status in enumerate(Status)}
    workers = {worker: number for number, worker in enumerate(sorted(told.machines))}
    return [
        [
            bar.file,
            bar.result.attempt,
            statuses[bar.result.status],
            round(bar.start_s, 3),
            round(bar.end_s - bar.start_s, 3),
            bar.result.peak_bytes or 0,
            workers[bar.result.worker],
            bar.result.slot,
            int(bar.stands),
        ]
        for bar in drawn_bars(told)
    ]


def _described(told: ReportModel) -> str:
    busy_s = sum(bar.end_s - bar.start_s for bar in told.bars)
    slots = sum(map(len, told.machines.values()))
    machines = f" of {counted(len(told.machines), 'machine')}" if len(told.machines) > 1 else ""
    return (
        f"{counted(len(told.bars), 'attempt')} on {counted(slots, 'slot')}{machines}: "
        f"{format_seconds(busy_s)} of tests in {format_seconds(told.results.duration_s)}, "
        f"{busy_s / max(told.results.duration_s, 0.001):.1f} files at a time on average."
    )


def _legend(bars: tuple[Bar, ...]) -> Iterator[str]:
    found = {_look(bar) for bar in bars}
    yield '<ul class="legend">'
    for name, words in _LOOKS:
        if name in found:
            yield f'<li><span class="key is-{name}" aria-hidden="true"></span>{words}</li>'
    yield "</ul>\n"


def _axis(told: ReportModel) -> Iterator[str]:
    start_s, end_s = told.start_s, told.end_s
    ticks = time_ticks(start_s, end_s)
    step_s = ticks[1] - ticks[0] if len(ticks) > 1 else end_s - start_s
    yield '<svg class="axis" id="time-axis" width="100%" height="24" aria-hidden="true">'
    for at_s in ticks:
        x = percent(at_s, start_s, end_s)
        if float(x[:-1]) < 97:
            yield f'<text x="{x}" y="16" dx="3">{time_label(at_s, step_s)}</text>'
        yield f'<line x1="{x}" x2="{x}" y1="4" y2="24"/>'
    yield "</svg>\n"


def _gutter(layout: Rows) -> Iterator[str]:
    yield f'<svg class="gutter" width="28" height="{layout.height}" aria-hidden="true">'
    for worker, top in layout.names:
        yield f'<text class="machine" x="0" y="{top + 18}">{line(worker or "this machine")}</text>'
    if layout.row_height >= 14:
        for row in layout.rows:
            yield f'<text class="slot" x="20" y="{row.top + 14}">{row.slot + 1}</text>'
    yield "</svg>\n"


def _drawing(told: ReportModel, bars: tuple[Bar, ...], layout: Rows) -> Iterator[str]:
    tops = {(row.worker, row.slot): row.top for row in layout.rows}
    yield (
        f'<svg class="bars" id="time-bars" width="100%" height="{layout.height}" role="group" '
        'aria-label="Attempts by machine, slot and time; the table of files has the same figures">'
    )
    for row in layout.rows:
        middle = row.top + layout.row_height / 2
        yield f'<line class="lane" x1="0" x2="100%" y1="{middle:g}" y2="{middle:g}"/>'
    yield "\n"
    start_s, end_s = told.start_s, told.end_s
    full = layout.row_height - (4 if layout.row_height >= 14 else 2)
    for bar in bars:
        name = _look(bar)
        # What went wrong is taller, so that it is seen without colours too.
        height = full if name != "pass" else full - (4 if layout.row_height >= 14 else 2)
        top = tops[bar.result.worker, bar.result.slot] + (layout.row_height - height) / 2
        x = percent(bar.start_s, start_s, end_s)
        width = percent(bar.end_s - bar.start_s, 0, end_s - start_s)
        yield f'<rect class="is-{name}" x="{x}" y="{top:g}" width="{width}" height="{height}"/>\n'
    yield "</svg>\n"


def _footnotes(told: ReportModel, bars: tuple[Bar, ...]) -> Iterator[str]:
    if len(bars) < len(told.bars):
        hidden = counted(len(told.bars) - len(bars), "shorter attempt")
        yield f'<p class="note">{hidden} of {len(told.bars):,} are not drawn.</p>\n'
    if told.earlier_bars:
        text = counted(told.earlier_bars, "attempt")
        yield f'<p class="note">{text} of before this run was gone on with: not drawn.</p>\n'


def _look(bar: Bar) -> str:
    return look(bar.result.status, is_evicted=bar.result.is_evicted)
