"""The bed's chart: for each suite four columns of bars (wall, CPU, memory, processes), as SVG. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.bed.summary import OURS, Row, SuiteSummary
from benchmarks.tables import MB

NAMES_PX = 170
PANEL_PX = 230
ROW_PX = 18
HEAD_PX = 44
GAP_PX = 26
BAR_PX = 12
VALUE_PX = 62
"""Kept free to the right of the longest bar, for its number."""

OUR_COLOUR = "#1f6feb"
PEER_COLOUR = "#9aa4b2"
BOUND_COLOUR = "#d1242f"
STYLE = "text{font:11px sans-serif;fill:#1f2328}.title{font-weight:bold;font-size:13px}.head{fill:#57606a}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar.

    Args:
        value: its length, in its panel's unit.
        least: where its range begins.
        most: where its range ends.
        mark: a lower bound, drawn as a line; None: there is none.
    """

    value: float
    least: float
    most: float
    mark: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One column of bars.

    Args:
        title: what it shows, with the unit.
        bar: the bar of a row.
        digits: of the numbers beside the bars.
    """

    title: str
    bar: Callable[[Row], Bar]
    digits: int


PANELS = (
    Panel(
        title="wall s (line: lower bound)",
        bar=lambda row: Bar(
            value=row.wall_s.median, least=row.wall_s.least, most=row.wall_s.most, mark=row.bound_s
        ),
        digits=2,
    ),
    Panel(
        title="CPU s",
        bar=lambda row: Bar(value=row.cpu_s.median, least=row.cpu_s.least, most=row.cpu_s.most),
        digits=2,
    ),
    Panel(title="peak memory, MB", bar=lambda row: _exact(row.peak_bytes / MB), digits=0),
    Panel(title="processes at once", bar=lambda row: _exact(row.processes), digits=0),
)


def draw_chart(summaries: Sequence[SuiteSummary]) -> str:
    """Return the chart of some suites, one below the other, as the text of an SVG file."""
    width = NAMES_PX + PANEL_PX * len(PANELS)
    parts: list[str] = []
    top = 10
    for summary in summaries:
        parts += _suite(summary, top)
        top += HEAD_PX + ROW_PX * len(summary.rows) + GAP_PX
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
    )
    background = f'<rect width="{width}" height="{top}" fill="#ffffff"/>'
    return "\n".join([opening, f"<style>{STYLE}</style>", background, *parts, "</svg>", ""])


def _suite(summary: SuiteSummary, top: int) -> list[str]:
    parts = [_text(8, top + 14, f"{summary.suite}: {summary.files} files", "title")]
    for number, row in enumerate(summary.rows):
        name = f"{row.runner} ≠" if row.differing else row.runner
        parts.append(_text(8, top + HEAD_PX + ROW_PX * number + BAR_PX - 2, name))
    for number, panel in enumerate(PANELS):
        left = NAMES_PX + PANEL_PX * number
        parts.append(_text(left, top + 34, panel.title, "head"))
        parts += _panel(panel, summary.rows, left, top + HEAD_PX)
    return parts


def _panel(panel: Panel, rows: Sequence[Row], left: int, top: int) -> list[str]:
    bars = [panel.bar(row) for row in rows]
    longest = max((max(bar.most, bar.mark or 0.0) for bar in bars), default=0.0) or 1.0
    scale = (PANEL_PX - VALUE_PX) / longest
    parts: list[str] = []
    for number, (row, bar) in enumerate(zip(rows, bars, strict=True)):
        y = top + ROW_PX * number
        colour = OUR_COLOUR if row.runner.startswith(OURS) else PEER_COLOUR
        parts.append(
            f'<rect x="{left}" y="{y}" width="{bar.value * scale:.1f}" height="{BAR_PX}" fill="{colour}"/>'
        )
        if bar.most > bar.least:
            start, end, middle = left + bar.least * scale, left + bar.most * scale, y + BAR_PX / 2
            parts.append(f'<path d="M{start:.1f} {middle}H{end:.1f}" stroke="#1f2328" fill="none"/>')
        if bar.mark is not None:
            at = left + bar.mark * scale
            parts.append(
                f'<path d="M{at:.1f} {y - 1}v{BAR_PX + 2}" stroke="{BOUND_COLOUR}" stroke-width="2"/>'
            )
        number_at = left + max(bar.most, bar.mark or 0.0) * scale + 5
        parts.append(_text(round(number_at, 1), y + BAR_PX - 2, f"{bar.value:,.{panel.digits}f}"))
    return parts


def _exact(value: float) -> Bar:
    return Bar(value=value, least=value, most=value)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{named}>{escape(text)}</text>'
