"""What the live footer looks like: progress in, something `rich` can render out.

The only module that imports rich; `live` loads it when the first footer is drawn, while tests already run.
"""

from __future__ import annotations

import io

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dispatcher.report.plain_text import one_line
from dispatcher.report.progress import Progress, RunningFile
from passmuster.units import format_bytes, format_seconds

MAX_RUNNING_ROWS = 8
"""Running files shown at most: as many as a machine runs by default."""

_BAR_CELLS = 24
_NARROW_CELLS = 50
"""Below this width there is no room for the bar."""


def footer(progress: Progress, *, columns: int, rows: int) -> RenderableType:
    """Return the footer for a terminal of that size; at most half of its rows are used.

    Args:
        progress: how far the run is.
        columns: width in cells.
        rows: height in lines.
    """
    head = _headline(progress)
    usage = progress.usage
    room = min(MAX_RUNNING_ROWS + 3, rows // 2) - 1
    parts: list[RenderableType] = [head]
    if usage is not None and usage.budget_bytes > 0 and room > 0:
        parts.append(_memory(usage.used_bytes, usage.budget_bytes, columns=columns))
        room -= 1
    running = progress.running()
    if running and room > 0:
        shown = (
            running
            if len(running) <= min(room, MAX_RUNNING_ROWS)
            else running[: min(room, MAX_RUNNING_ROWS) - 1]
        )
        if shown:
            parts.append(_running_table(shown))
        if len(running) > len(shown):
            parts.append(_line(f"  and {len(running) - len(shown)} more", style="dim"))
    return Group(*parts)


def footer_lines(progress: Progress, *, columns: int, rows: int, color: bool) -> tuple[str, ...]:
    """Return the footer as lines for the terminal, none wider than `columns` cells."""
    console = Console(
        file=io.StringIO(),
        width=columns,
        height=rows,
        force_terminal=True,
        color_system="standard" if color else None,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    with console.capture() as capture:
        console.print(footer(progress, columns=columns, rows=rows))
    return tuple(capture.get().removesuffix("\n").split("\n"))


def _headline(progress: Progress) -> Text:
    text = _line(f"{progress.done}/{progress.total} done", style="bold")
    if progress.failed:
        text.append(f", {progress.failed} failed", style="bold red")
    running = len(progress.running())
    if running:
        text.append(f", {running} running")
    left_s = progress.left_s()
    if left_s is not None and progress.done < progress.total:
        text.append(f", about {format_seconds(max(1.0, left_s))} left", style="cyan")
    return text


def _memory(used_bytes: int, budget_bytes: int, *, columns: int) -> RenderableType:
    text = _line(f"memory {format_bytes(used_bytes)} of {format_bytes(budget_bytes)}")
    if columns < _NARROW_CELLS:
        return text
    share = used_bytes / budget_bytes
    style = "red" if share >= 0.95 else "yellow" if share >= 0.8 else "green"
    bar = ProgressBar(
        total=budget_bytes,
        completed=min(used_bytes, budget_bytes),
        width=_BAR_CELLS,
        complete_style=style,
        finished_style="red",
    )
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row(text, bar)
    return table


def _running_table(files: tuple[RunningFile, ...]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    for file in files:
        used = "" if file.used_bytes is None else format_bytes(file.used_bytes)
        table.add_row(_line(f"  {one_line(file.label)}"), Text(format_seconds(file.seconds)), Text(used))
    return table


def _line(text: str, *, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
