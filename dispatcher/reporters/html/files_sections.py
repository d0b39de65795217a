"""The sections of the files that failed, and of those those that are flaky. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from dispatcher.model.results import FileAttempts
from dispatcher.reporters.console.summary import attempts_text
from dispatcher.reporters.html.attempts import count_texts, file_body, reason_line
from dispatcher.reporters.html.markup import badge, counted, line, look
from dispatcher.reporters.html.outputs import OutputBudget
from dispatcher.reporters.html.report_model import ReportModel
from passmuster.model.status import Status
from passmuster.model.units import format_seconds

MAX_FILES = 1000
"""Files of each section that are shown with their attempts; the table names all."""

OPEN_AT_FIRST = 3
"""Failures up to which all are open when the page is; of more only the first."""


def shown_failures(told: ReportModel) -> tuple[FileAttempts, ...]:
    """Return the failed files that have an entry of their own."""
    return _by_path(told.results.failed)[:MAX_FILES]


def shown_flaky(told: ReportModel) -> tuple[FileAttempts, ...]:
    """Return the flaky files that have an entry among the flaky ones: not those that have one as failed."""
    return _by_path(_passed_flaky(told))[:MAX_FILES]


def _passed_flaky(told: ReportModel) -> tuple[FileAttempts, ...]:
    return tuple(record for record in told.results.flaky if record.status.is_pass)


def outputs_for(told: ReportModel) -> OutputBudget:
    """Return the room that the texts of all files shown share."""
    return OutputBudget.for_texts(count_texts((*shown_failures(told), *shown_flaky(told))))


def failures_section(told: ReportModel, outputs: OutputBudget) -> Iterator[str]:
    """Yield the failures, each with all that is known of it."""
    yield '<section id="failures" aria-labelledby="failures-h"><h2 id="failures-h">Failures</h2>\n'
    shown = shown_failures(told)
    if not shown:
        why = "No file failed." if told.records else "No file ran."
        yield f'<p class="quiet">{why}</p></section>\n'
        return
    positions = told.positions
    for number, record in enumerate(shown):
        is_open = number == 0 or len(shown) <= OPEN_AT_FIRST
        yield f'<details class="file" id="file-{positions[record.file.path]}"{" open" if is_open else ""}>'
        flaky = '<span class="badge is-again">flaky</span> ' if record.is_flaky else ""
        yield f'<summary><span class="head">{badge(record.status)} {flaky}<b>{line(record.file.label)}</b> '
        yield f'<span class="when">{format_seconds(record.final.duration)}</span></span>'
        reason = reason_line(record)
        yield f'<span class="why">{reason}</span>' if reason else ""
        yield '</summary>\n<div class="body">'
        yield _history_line(told, record)
        yield from file_body(told, record, outputs)
        yield "</div></details>\n"
    hidden = len(told.results.failed) - len(shown)
    if hidden:
        yield f'<p class="note">{counted(hidden, "more file")} failed: the table of files names all.</p>\n'
    yield "</section>\n"


def flaky_section(told: ReportModel, outputs: OutputBudget) -> Iterator[str]:
    """Yield the files that passed and failed in this run, with what earlier runs say."""
    shown = shown_flaky(told)
    yield '<section id="flaky" aria-labelledby="flaky-h"><h2 id="flaky-h">Flaky</h2>\n'
    failed = len(told.results.flaky) - len(_passed_flaky(told))
    if failed:
        yield f'<p class="quiet">{counted(failed, "flaky file")} did not pass, see Failures.</p>\n'
    if not shown:
        words = "" if failed else '<p class="quiet">No file passed and failed in this run.</p>'
        yield f"{words}</section>\n"
        return
    yield '<p class="quiet">Passed and failed in this run, without a known cause. '
    yield "The squares are earlier runs, the newest last.</p>\n"
    positions = told.positions
    for record in shown:
        yield f'<details class="file" id="file-{positions[record.file.path]}">'
        yield '<summary><span class="head"><span class="badge is-again">flaky</span> '
        yield f"<b>{line(record.file.label)}</b> "
        yield f'<span class="when">{format_seconds(record.final.duration)}</span></span>'
        yield f'<span class="why">attempts: {attempts_text(record)}</span>'
        yield f'{_strip(told.outcomes.get(record.file.path, ()))}</summary>\n<div class="body">'
        yield _history_line(told, record)
        yield from file_body(told, record, outputs)
        yield "</div></details>\n"
    hidden = len(_passed_flaky(told)) - len(shown)
    if hidden:
        yield f'<p class="note">{counted(hidden, "more file")} are flaky: the table of files names all.</p>\n'
    yield "</section>\n"


def _strip(runs: Sequence[Sequence[Status]]) -> str:
    """Return the outcomes of earlier runs as a row of squares; the sentence beside it says the same."""
    if not runs:
        return ""
    squares = "".join(
        f'<rect class="is-{_run_look(run)}" x="{14 * at}" y="0" width="11" height="11" rx="2"/>'
        for at, run in enumerate(runs)
    )
    return f'<svg class="strip" width="{14 * len(runs)}" height="11" aria-hidden="true">{squares}</svg>'


def _run_look(run: Sequence[Status]) -> str:
    if run[-1].is_pass:
        return "again" if len(set(run)) > 1 else "pass"
    return look(run[-1])


def _history_line(told: ReportModel, record: FileAttempts) -> str:
    runs = told.outcomes.get(record.file.path, ())
    if not runs:
        return '<p class="quiet">Nothing is remembered of earlier runs.</p>\n'
    words = {"pass": "passed", "again": "passed only when run again"}
    counts = Counter(words.get(_run_look(run), "failed") for run in runs)
    told_counts = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    earlier = "In the run before" if len(runs) == 1 else f"In the {len(runs)} runs before"
    return f'<p class="quiet">{earlier}: {told_counts}.</p>\n'


def _by_path(records: Sequence[FileAttempts]) -> tuple[FileAttempts, ...]:
    return tuple(sorted(records, key=lambda record: record.file.path))
