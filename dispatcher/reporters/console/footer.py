"""Renders the live footer from the run's progress with `rich`.

The only module that imports rich; `live` loads it when the first footer is drawn, while tests already run.
"""

from __future__ import annotations

import io

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dispatcher.reporters.console.progress import FooterRow, RunProgress
from dispatcher.reporters.console.rows import cells, clipped, shortened_path
from passmuster.model.executor import WorkerUsage
from passmuster.model.text import one_line
from passmuster.model.units import format_bytes, format_seconds

MAX_RUNNING_ROWS = 8
"""The maximum number of running files shown: as many as a machine runs by default."""

MAX_WORKER_ROWS = 4
"""The maximum number of workers shown: `run-tests status` shows all."""

MAX_WORKER_CELLS = 20
"""Columns of a worker's name in the row of a file."""

MIN_LABEL_CELLS = 12
"""Columns of a path, at least: on a very narrow terminal the other cells are cut instead."""

_NEAR_BUDGET = 0.8
"""Share of its budget from which a worker is shown before those that are merely busy."""

_BAR_CELLS = 24
_NARROW_CELLS = 50
"""The minimum width for a progress bar."""


def footer(progress: RunProgress, *, columns: int, rows: int) -> RenderableType:
    """Return the footer for a terminal of that many cells and lines; it uses at most half of the lines."""
    usage = progress.usage
    room = rows // 2 - 1
    parts: list[RenderableType] = [_headline(progress)]
    if usage is not None and usage.budget_bytes > 0 and room > 0:
        parts.append(_memory(usage.used_bytes, usage.budget_bytes, columns=columns))
        room -= 1
    if usage is not None and usage.other_runs is not None and room > 0:
        parts.append(_line(f"  {one_line(str(usage.other_runs))}", style="yellow"))
        room -= 1
    workers = () if usage is None else usage.workers
    # The running files matter more than the workers.
    worker_rows = min(len(workers), MAX_WORKER_ROWS, room // 2)
    if worker_rows > 0:
        shown_workers = _most_loaded(workers, worker_rows)
        parts.append(_workers_table(shown_workers))
        if len(workers) > len(shown_workers):
            parts.append(_line(_further_workers(workers, shown_workers), style="dim"))
        room -= worker_rows
    running, file_rows = progress.running(), min(room, MAX_RUNNING_ROWS)
    if running and file_rows > 0:
        shown = running if len(running) <= file_rows else running[: file_rows - 1]
        if shown:
            parts.append(_running_table(shown, columns=columns))
        if len(running) > len(shown):
            parts.append(_line(f"  and {len(running) - len(shown)} more", style="dim"))
    return Group(*parts)


def footer_lines(progress: RunProgress, *, columns: int, rows: int, color: bool) -> tuple[str, ...]:
    """Return the footer as lines for the terminal, each at most `columns` cells wide."""
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


def _headline(progress: RunProgress) -> Text:
    text = _line(f"{progress.done:,}/{progress.total:,} done", style="bold")
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
    table = _table("left", "left")
    table.add_row(text, bar)
    return table


def _table(*justify: JustifyMethod) -> Table:
    """Return a table without lines and headings, with a column for each alignment."""
    table = Table.grid(padding=(0, 1))
    for one in justify:
        table.add_column(no_wrap=True, overflow="ellipsis", justify=one)
    return table


def _running_table(files: tuple[FooterRow, ...], *, columns: int) -> Table:
    """Return a row for each file. A long path is shortened in its middle: the other cells stay."""
    table = _table("left", "right", "right", "left")
    rows = [
        (
            format_seconds(file.seconds),
            "" if file.used_bytes is None else format_bytes(file.used_bytes),
            " ".join(
                filter(None, (file.purpose, file.parts, clipped(one_line(file.worker), MAX_WORKER_CELLS)))
            ),
        )
        for file in files
    ]
    others = sum(max(map(cells, column)) for column in zip(*rows, strict=True))
    room = max(MIN_LABEL_CELLS, columns - len("  ") - others - len(rows[0]))
    for file, (time, memory, note) in zip(files, rows, strict=True):
        label = shortened_path(one_line(file.label), room)
        table.add_row(_line(f"  {label}"), Text(time), Text(memory), _line(note, style="dim"))
    return table


def _most_loaded(workers: tuple[WorkerUsage, ...], rows: int) -> tuple[WorkerUsage, ...]:
    """Return the workers with a row of their own, by name; one row is left for all others."""
    if len(workers) <= rows:
        return workers

    def urgency(worker: WorkerUsage) -> tuple[float, int, str]:
        share = worker.used_bytes / worker.budget_bytes if worker.budget_bytes else 0.0
        return (-share if share >= _NEAR_BUDGET else 0.0, -worker.busy, worker.name)

    return tuple(sorted(sorted(workers, key=urgency)[: rows - 1], key=lambda worker: worker.name))


def _further_workers(workers: tuple[WorkerUsage, ...], shown: tuple[WorkerUsage, ...]) -> str:
    others = [worker for worker in workers if worker not in shown]
    busy, slots = sum(worker.busy for worker in others), sum(worker.slots for worker in others)
    head = f"and {len(others)} more workers" if shown else f"{len(others)} workers"
    return f"  {head}, {busy}/{slots} slots"


def _workers_table(workers: tuple[WorkerUsage, ...]) -> Table:
    table = _table("left", "right", "left")
    for worker in workers:
        used, budget = format_bytes(worker.used_bytes), format_bytes(worker.budget_bytes)
        is_near = worker.used_bytes >= _NEAR_BUDGET * worker.budget_bytes
        table.add_row(
            _line(f"  {one_line(worker.name)}"),
            Text(f"{worker.busy}/{worker.slots} slots"),
            _line(f"{used} of {budget}", style="yellow" if is_near else ""),
        )
    return table


def _line(text: str, *, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
