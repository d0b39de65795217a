"""The tables of the bed, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bed.model import Ledger
from benchmarks.bed.summary import Row, Spread, SuiteSummary, faster_peers, summarise
from benchmarks.bed.targets import TARGET_HEAD, judge, target_cells
from benchmarks.tables import MB, format_table

HEAD = (
    "runner",
    "n",
    "wall s",
    "x base",
    "CPU s",
    "bound s",
    "x bound",
    "peak MB",
    "processes",
    "ran",
    "bad",
    "outcome",
)
MOST_DIFFERENCES = 40
"""How many differences are printed; the rest is counted."""


def text_report(ledger: Ledger, *, base: str | None) -> str:
    """Return the report for a terminal."""
    return "\n".join(_report(ledger, base, is_markdown=False))


def markdown_report(ledger: Ledger, *, base: str | None) -> str:
    """Return the report as Markdown."""
    return "\n".join(_report(ledger, base, is_markdown=True))


def _report(ledger: Ledger, base: str | None, *, is_markdown: bool) -> list[str]:
    machine = ledger.machine
    on = f"{machine.cores} cores, {machine.memory_bytes / 1e9:.0f} GB, Linux {machine.kernel}"
    how = "Medians, with the range in brackets."
    lines = [f"{on}, CPython {machine.python}; {_sources(ledger)}. {how}", ""]
    summaries = summarise(ledger, base=base)
    for summary in summaries:
        lines += _suite(summary, is_markdown=is_markdown)
    lines += _targets(summaries, is_markdown=is_markdown)
    different = [line for summary in summaries for line in summary.differences]
    faster = [line for summary in summaries for line in faster_peers(summary)]
    lines += _list("Outcomes that differ", different or ["none"], is_markdown=is_markdown)
    lines += _list("Where a peer was faster", faster or ["nowhere"], is_markdown=is_markdown)
    lines += _list("Not measured", _left_out(ledger) or ["nothing was left out"], is_markdown=is_markdown)
    return lines


def _targets(summaries: Sequence[SuiteSummary], *, is_markdown: bool) -> list[str]:
    """Return the lines of what is to be shown; nothing where none of it was measured."""
    judged = judge(summaries)
    if all(one.value is None for one in judged):
        return []
    rows = [target_cells(one) for one in judged]
    if is_markdown:
        return ["**Targets**", "", *markdown_table(TARGET_HEAD, rows), ""]
    return ["Targets", *format_table(TARGET_HEAD, rows), ""]


def _sources(ledger: Ledger) -> str:
    """Return where memory was read and when, over all runs."""
    sources = sorted({run.memory_source for run in ledger.runs})
    days = sorted({run.at[:10] for run in ledger.runs})
    when = "no runs" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{when}; memory: {', '.join(sources) or 'none'}"


def _suite(summary: SuiteSummary, *, is_markdown: bool) -> list[str]:
    title = f"{summary.suite}: {summary.files} files, base {summary.base}"
    rows = [_cells(row) for row in summary.rows]
    head = list(HEAD)
    for name, column in (("own ms a file", _own), ("covered lines", _covered)):
        cells = [column(row) for row in summary.rows]
        if any(cells):
            head.append(name)
            for row, cell in zip(rows, cells, strict=True):
                row.append(cell or "-")
    if is_markdown:
        return [f"**{title}**", "", *markdown_table(head, rows), ""]
    return [title, *format_table(head, rows), ""]


def _cells(row: Row) -> list[str]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    if row.ratio_of_rounds is not None and row.rounds > 1:
        ratio += f" ({row.ratio_of_rounds.least:.2f}-{row.ratio_of_rounds.most:.2f})"
    return [
        row.runner,
        str(row.rounds),
        _seconds(row.wall_s, row.rounds),
        ratio,
        _seconds(row.cpu_s, row.rounds),
        f"{row.bound_s:.2f}",
        f"{row.of_bound:.2f}",
        f"{row.peak_bytes / MB:,.0f}",
        str(row.processes),
        f"{row.total.ran:,}",
        "?" if row.bad_files is None else str(row.bad_files),
        "same" if not row.differing else f"DIFFERS in {row.differing}",
    ]


def _own(row: Row) -> str:
    return "" if row.own_cpu_ms is None else f"{row.own_cpu_ms:.1f}"


def _covered(row: Row) -> str:
    return "" if row.covered_lines is None else f"{row.covered_lines:,}"


def _seconds(spread: Spread, rounds: int) -> str:
    if rounds == 1:
        return f"{spread.median:.2f}"
    return f"{spread.median:.2f} ({spread.least:.2f}-{spread.most:.2f})"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    marks = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (head, marks, *rows)]


def _list(title: str, entries: Sequence[str], *, is_markdown: bool) -> list[str]:
    shown = list(entries[:MOST_DIFFERENCES])
    if len(entries) > MOST_DIFFERENCES:
        shown.append(f"and {len(entries) - MOST_DIFFERENCES} more")
    return [f"**{title}**" if is_markdown else title, "", *(f"- {entry}" for entry in shown), ""]


def _left_out(ledger: Ledger) -> list[str]:
    """Return what was not measured; the runners of one suite that share a reason stand in one line."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in ledger.not_measured:
        found.setdefault((entry.suite, entry.reason), []).append(entry.runner)
    return [f"{suite}: {', '.join(runners)}: {reason}" for (suite, reason), runners in found.items()]
