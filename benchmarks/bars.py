"""Bar charts as SVG: groups of rows, one below the other, each with panels side by side. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

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
        mark: a bound, drawn as a line; None: there is none.
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
        bars: one for each row of its group.
        digits: of the numbers beside the bars.
    """

    title: str
    bars: Sequence[Bar]
    digits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows under one title.

    Args:
        title: what the rows have in common.
        rows: the name of each row, and whether it is one of Passmuster.
        panels: its columns.
    """

    title: str
    rows: Sequence[tuple[str, bool]]
    panels: Sequence[Panel]


def exact(value: float) -> Bar:
    """Return a bar without a range."""
    return Bar(value=value, least=value, most=value)


def draw(groups: Sequence[Group]) -> str:
    """Return the text of an SVG file."""
    width = NAMES_PX + PANEL_PX * max((len(group.panels) for group in groups), default=0)
    parts: list[str] = []
    top = 10
    for group in groups:
        parts += _group(group, top)
        top += HEAD_PX + ROW_PX * len(group.rows) + GAP_PX
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
    )
    background = f'<rect width="{width}" height="{top}" fill="#ffffff"/>'
    return "\n".join([opening, f"<style>{STYLE}</style>", background, *parts, "</svg>", ""])


def _group(group: Group, top: int) -> list[str]:
    parts = [_text(8, top + 14, group.title, "title")]
    for number, (name, _) in enumerate(group.rows):
        parts.append(_text(8, top + HEAD_PX + ROW_PX * number + BAR_PX - 2, name))
    for number, panel in enumerate(group.panels):
        left = NAMES_PX + PANEL_PX * number
        parts.append(_text(left, top + 34, panel.title, "head"))
        parts += _panel(panel, [is_ours for _, is_ours in group.rows], left, top + HEAD_PX)
    return parts


def _panel(panel: Panel, are_ours: Sequence[bool], left: int, top: int) -> list[str]:
    longest = max((max(bar.most, bar.mark or 0.0) for bar in panel.bars), default=0.0) or 1.0
    scale = (PANEL_PX - VALUE_PX) / longest
    parts: list[str] = []
    for number, (is_ours, bar) in enumerate(zip(are_ours, panel.bars, strict=True)):
        y = top + ROW_PX * number
        colour = OUR_COLOUR if is_ours else PEER_COLOUR
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


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{named}>{escape(text)}</text>'
