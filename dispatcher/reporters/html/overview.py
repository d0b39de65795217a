"""The top of the page: the verdict, the counts, and what the run had to its use. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import Struct

from dispatcher.model.results import TestResults
from dispatcher.reporters.html.markup import counted, line
from dispatcher.reporters.html.report_model import ReportModel, group_counts
from passmuster.model.units import format_bytes, format_seconds

_CHECK = '<path d="M7 12.5l3.2 3.2L17 9"/>'
_CROSS = '<path d="M8.2 8.2l7.6 7.6M15.8 8.2l-7.6 7.6"/>'
_BAR = '<path d="M12 7v6.5M12 16.6v.2"/>'


class RunBanner(Struct, frozen=True, kw_only=True):
    """What the run came to in one sentence.

    Args:
        look: `good`, `bad`, or `open` for a run that is not complete.
        text: the sentence.
    """

    look: str
    text: str


def verdict_of(results: TestResults) -> RunBanner:
    """Return the verdict; a run that is not complete has not passed."""
    total = len(results.records) - len(results.without_tests)
    failed, not_run = len(results.failed), len(results.cancelled)
    if failed:
        return RunBanner(look="bad", text=f"{failed:,} of {counted(total, 'file')} failed")
    if not_run:
        return RunBanner(
            look="open", text=f"Not complete: {not_run:,} of {counted(total, 'file')} did not run"
        )
    if results.differing:
        number = len(results.differing)
        words = f"{counted(number, 'file')} {'differs' if number == 1 else 'differ'} when forked"
        return RunBanner(look="bad", text=words)
    if results.failing_regressions:
        number = len({found.file.path for found in results.failing_regressions})
        return RunBanner(look="bad", text=f"{counted(number, 'file')} took much more than before")
    if results.interrupted:
        return RunBanner(look="open", text="Interrupted")
    if results.ran_no_test:
        return RunBanner(look="open", text="No test ran")
    if not total:
        return RunBanner(look="open", text="No test files were run")
    return RunBanner(look="good", text="The one file passed" if total == 1 else f"All {total:,} files passed")


def instant(unix_s: float) -> str:
    """Return an instant for people: `25 Nov 2026, 13:39:21 UTC`."""
    moment = datetime.fromtimestamp(unix_s, tz=UTC)
    return f"{moment.day} {moment:%b %Y, %H:%M:%S} UTC"


def header(told: ReportModel) -> Iterator[str]:
    """Yield the page's header with the verdict."""
    verdict = verdict_of(told.results)
    mark = {"good": _CHECK, "bad": _CROSS}.get(verdict.look, _BAR)
    yield f'<header class="top is-{verdict.look}"><p class="brand">Passmuster <span>test report</span></p>\n'
    yield (
        '<div class="verdict"><svg class="mark" width="44" height="44" viewBox="0 0 24 24"'
        f' aria-hidden="true"><circle cx="12" cy="12" r="11"/>{mark}</svg><div><h1>{verdict.text}</h1>\n'
    )
    facts = [f"in {format_seconds(told.results.duration_s)}"]
    if told.started_at:
        iso = datetime.fromtimestamp(told.started_at, tz=UTC).isoformat(timespec="seconds")
        facts.append(f'<time datetime="{iso}">{instant(told.started_at)}</time>')
    if told.run_id:
        facts.append(f"run <code>{line(told.run_id)}</code>")
    spans = "".join(f"<span>{fact}</span>" for fact in facts)
    yield f'<p class="facts">{spans}</p></div></div>\n'
    if told.cause:
        yield f'<p class="cause">Stopped before all files ran: {line(told.cause)}.</p>\n'
    yield "</header>\n"


def overview_section(told: ReportModel) -> Iterator[str]:
    """Yield the section with the counts."""
    yield '<section id="summary" aria-labelledby="summary-h"><h2 id="summary-h">Summary</h2>\n'
    yield from _share_bar(told)
    yield '<dl class="tiles">\n'
    for name, value, remark in _tiles(told):
        note = f"<dd>{remark}</dd>" if remark else ""
        yield f'<div><dt>{name}</dt><dd class="value">{value}</dd>{note}</div>\n'
    yield "</dl>\n"
    if told.limits:
        yield '<details class="figures"><summary>Limits, and where they came from</summary><table><thead><tr>'
        yield "".join(f'<th scope="col">{title}</th>' for title in ("Limit", "Value", "From"))
        yield "</tr></thead><tbody>\n"
        for limit in told.limits:
            cells = "".join(f"<td>{line(text)}</td>" for text in (limit.name, limit.value, limit.source))
            yield f"<tr>{cells}</tr>\n"
        yield "</tbody></table></details>\n"
    yield "</section>\n"


def _share_bar(told: ReportModel) -> Iterator[str]:
    """Yield a bar of how the files ended; its text alternative is the list below it."""
    counts = group_counts(told.records)
    if not counts:
        return
    yield '<svg class="shares" width="100%" height="10" aria-hidden="true">'
    left, total = 0.0, sum(counts.values())
    # One failure among ten thousand files must be seen.
    widths = {name: max(100 * count / total, 0.8) for name, count in counts.items()}
    whole = sum(widths.values())
    for name, width in widths.items():
        share = 100 * width / whole
        place = f'x="{left:.3f}%" y="0" width="{share:.3f}%" height="10"'
        yield f'<rect class="of-{name.replace(" ", "-")}" {place}/>'
        left += share
    yield '</svg>\n<ul class="legend">'
    for name, count in counts.items():
        yield (
            f'<li><span class="key of-{name.replace(" ", "-")}" aria-hidden="true"></span>'
            f"<b>{count:,}</b> {name}</li>"
        )
    yield "</ul>\n"


def _tiles(told: ReportModel) -> Iterator[tuple[str, str, str]]:
    summary, results = told.summary, told.results
    yield (
        "Files",
        f"{summary.passed:,}<small> of {summary.total:,} passed</small>",
        f"success rate {summary.success_percent:.1f}%",
    )
    if summary.cases:
        total = sum(count for _, count in summary.cases)
        words = ", ".join(f"{count:,} {outcome}" for outcome, count in summary.cases)
        yield "Tests inside", f"{total:,}", words
    busy_s = sum(bar.end_s - bar.start_s for bar in told.bars)
    remark = f"{format_seconds(busy_s)} one after the other" if busy_s > results.duration_s else ""
    yield "Duration", format_seconds(results.duration_s), remark
    yield _memory_tile(told)
    machines = told.machines
    slots = sum(map(len, machines.values()))
    if len(machines) > 1:
        yield "Machines", str(len(machines)), f"{counted(slots, 'slot')} used"
    elif machines:
        (name,) = machines
        yield "Slots used", str(slots), f"on {line(name)}" if name else ""
    if summary.without_tests:
        yield "Without tests", f"{summary.without_tests:,}", "they have no verdict"
    if summary.forked:
        yield "Forked", f"{summary.forked:,}", f"of {counted(summary.total, 'file')}"


def _memory_tile(told: ReportModel) -> tuple[str, str, str]:
    peak = max(told.results.peak_bytes, max((sample.used_bytes for sample in told.samples), default=0))
    if not peak:
        return "Peak memory", "not measured", ""
    if not told.budget_bytes:
        return "Peak memory", format_bytes(peak), ""
    share = 100 * peak / told.budget_bytes
    meter = (
        '<svg class="meter" width="100%" height="4" aria-hidden="true"><rect width="100%" height="4"/>'
        f'<rect class="{"over" if share > 100 else "part"}" width="{min(share, 100):.1f}%" height="4"/></svg>'
    )
    return "Peak memory", format_bytes(peak), f"{share:.0f}% of {format_bytes(told.budget_bytes)}{meter}"
