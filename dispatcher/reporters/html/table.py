"""The table of all files: the slowest come in the page, the rest in its data for the script. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.model.results import FileAttempts
from dispatcher.reporters.html.markup import badge, counted, line
from dispatcher.reporters.html.report_model import ReportModel, file_group, group_counts
from passmuster.model.status import Status
from passmuster.model.text import JsonValue, one_line
from passmuster.model.units import format_bytes, format_seconds

FIRST_ROWS = 50
"""Rows in the page itself, and rows that the script adds at a time."""

MAX_LABEL_CHARS = 300
"""Characters of a path in the table, its end: that is where paths differ."""

_COLUMNS = (
    ("name", "File", "name"),
    ("status", "Status", "wide"),
    ("duration", "Duration", "num"),
    ("peak", "Peak memory", "num"),
    ("cpu", "CPU", "num wide"),
    ("attempts", "Attempts", "num wide"),
    ("machine", "Machine", "wide"),
)


def files_section(told: ReportModel, *, with_entry: frozenset[int]) -> Iterator[str]:
    """Yield the section.

    Args:
        told: the run.
        with_entry: the positions of the files that are shown with their attempts elsewhere in the page.
    """
    yield '<section id="files" aria-labelledby="files-h"><h2 id="files-h">Files</h2>\n'
    if not told.records:
        yield '<p class="quiet">No test files were run.</p></section>\n'
        return
    yield from _filters(told)
    by_duration = sorted(range(len(told.records)), key=lambda at: (-told.records[at].final.duration, at))
    first = by_duration[:FIRST_ROWS]
    total = counted(len(told.records), "file")
    shown = f"The {len(first)} slowest of {total}" if len(first) < len(told.records) else total
    yield f'<p class="quiet" id="files-count" role="status">{shown}.</p>\n'
    yield '<table class="files" id="files-table">'
    yield '<caption class="unseen">All files, the slowest first</caption>'
    yield "<thead><tr>"
    for key, title, classes in _columns(told):
        order = ' aria-sort="descending"' if key == "duration" else ""
        yield f'<th scope="col" class="{classes}" data-key="{key}"{order}>{title}</th>'
    yield "</tr></thead><tbody>\n"
    for at in first:
        yield _row(told, told.records[at], f"#file-{at}" if at in with_entry else "")
    yield "</tbody></table>\n"
    yield '<p><button type="button" id="files-more" hidden>Show more</button></p>\n'
    if len(first) < len(told.records):
        text = "The others are shown by the page's script, which is switched off."
        yield f'<noscript><p class="note">{text}</p></noscript>'
    yield "</section>\n"


def file_data(told: ReportModel, *, with_entry: frozenset[int]) -> list[JsonValue]:
    """Return the rows: path, group, status, seconds, memory, CPU, attempts, machine, 1 for an entry."""
    statuses = {status: number for number, status in enumerate(Status)}
    workers = {worker: number for number, worker in enumerate(sorted(told.machines))}
    return [
        [
            _label(record),
            file_group(record),
            statuses[record.status],
            record.final.duration,
            record.final.peak_bytes or 0,
            record.final.cpu_s,
            _attempts(record),
            workers.get(record.final.worker, -1),
            int(at in with_entry),
        ]
        for at, record in enumerate(told.records)
    ]


def _columns(told: ReportModel) -> Sequence[tuple[str, str, str]]:
    return _COLUMNS if len(told.machines) > 1 else _COLUMNS[:-1]


def _filters(told: ReportModel) -> Iterator[str]:
    """Yield the filters, which the script shows."""
    yield '<form class="filters" id="files-filters" hidden><label class="search"><span>Find</span>'
    yield '<input type="search" id="files-find" autocomplete="off" spellcheck="false"'
    yield ' placeholder="part of a path">'
    yield '</label><fieldset><legend class="unseen">Show</legend>'
    counts = {"all": len(told.records), **group_counts(told.records)}
    for name, count in counts.items():
        checked = " checked" if name == "all" else ""
        yield f'<label class="chip"><input type="radio" name="group" value="{name}"{checked}>'
        yield f"<span>{name} <b>{count:,}</b></span></label>"
    yield "</fieldset></form>\n"


def _label(record: FileAttempts) -> str:
    label = one_line(record.file.label)
    return label if len(label) <= MAX_LABEL_CHARS else f"...{label[-MAX_LABEL_CHARS:]}"


def _attempts(record: FileAttempts) -> int:
    """Return how often a file started; what stands for one that never did is no attempt."""
    return len(record.attempts) if record.started else 0


def _row(told: ReportModel, record: FileAttempts, link: str) -> str:
    """Return a row as the script builds it too."""
    final = record.final
    name = line(_label(record))
    linked = f'<a href="{link}">{name}</a>' if link else f"<span>{name}</span>"
    cpu = "" if final.cpu_s is None else format_seconds(final.cpu_s)
    several = len(told.machines) > 1
    status = (
        '<span class="badge is-again">flaky</span>' if file_group(record) == "flaky" else badge(record.status)
    )
    words = "flaky" if file_group(record) == "flaky" else record.status.value.replace("_", " ").lower()
    more = [
        words,
        counted(_attempts(record), "attempt") if _attempts(record) > 1 else "",
        f"{cpu} CPU" if cpu else "",
        line(final.worker) if several else "",
    ]
    cells = [
        f'<td class="name">{linked}<span class="more">{" · ".join(filter(None, more))}</span></td>',
        f'<td class="wide">{status}</td>',
        f'<td class="num">{format_seconds(final.duration) if record.started else ""}</td>',
        f'<td class="num">{format_bytes(final.peak_bytes) if final.peak_bytes else ""}</td>',
        f'<td class="num wide">{cpu}</td>',
        f'<td class="num wide">{_attempts(record)}</td>',
    ]
    if several:
        cells.append(f'<td class="wide">{line(final.worker)}</td>')
    return f"<tr>{''.join(cells)}</tr>\n"
