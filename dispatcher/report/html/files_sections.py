"""The sections that name files: those that failed, those that are flaky, those that did not run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from dispatcher.report.html.attempts import FINDINGS, count_texts, file_body, reason_line
from dispatcher.report.html.markup import badge, counted, line, look
from dispatcher.report.html.outputs import Outputs
from dispatcher.report.html.told import Told
from dispatcher.run.findings import Finding
from dispatcher.run.results import FileRecord
from passmuster.status import Status
from passmuster.units import format_seconds

MOST_FILES = 1000
"""Files of each section that are shown with their attempts; the table names all."""

MOST_NAMED = 200
"""Files named in a plain list; the table has all."""

OPEN_AT_FIRST = 3
"""Failures up to which all are open when the page is; of more only the first."""


def shown_failures(told: Told) -> tuple[FileRecord, ...]:
    """Return the failed files that have an entry of their own."""
    return _by_path(told.results.failed)[:MOST_FILES]


def shown_flaky(told: Told) -> tuple[FileRecord, ...]:
    """Return the flaky files that have an entry of their own."""
    return _by_path(told.results.flaky)[:MOST_FILES]


def outputs_for(told: Told) -> Outputs:
    """Return the room that the texts of all files shown share."""
    return Outputs.for_texts(count_texts((*shown_failures(told), *shown_flaky(told))))


def failures_section(told: Told, outputs: Outputs) -> Iterator[str]:
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
        yield f'<summary><span class="head">{badge(record.status)} <b>{line(record.file.label)}</b> '
        yield f'<span class="when">{format_seconds(record.final.duration)}</span></span>'
        reason = reason_line(record)
        yield (
            f'<span class="why">{reason}</span></summary>\n<div class="body">'
            if reason
            else '</summary>\n<div class="body">'
        )
        yield _history_line(told, record)
        yield from file_body(told, record, outputs)
        yield "</div></details>\n"
    hidden = len(told.results.failed) - len(shown)
    if hidden:
        yield f'<p class="note">{counted(hidden, "more file")} failed: the table of files names all.</p>\n'
    yield "</section>\n"


def flaky_section(told: Told, outputs: Outputs) -> Iterator[str]:
    """Yield the files that passed only when they ran again, with what earlier runs say."""
    shown = shown_flaky(told)
    yield '<section id="flaky" aria-labelledby="flaky-h"><h2 id="flaky-h">Flaky</h2>\n'
    if not shown:
        yield '<p class="quiet">No file passed only because it ran again.</p></section>\n'
        return
    yield '<p class="quiet">Passed, but only when they ran again. The squares are earlier runs, the newest last.</p>\n'
    positions = told.positions
    for record in shown:
        before = ", ".join(attempt.status.value for attempt in record.judged[:-1])
        yield f'<details class="file" id="file-{positions[record.file.path]}">'
        yield f'<summary><span class="head"><span class="badge is-again">flaky</span> <b>{line(record.file.label)}</b>'
        yield f' <span class="when">{format_seconds(record.final.duration)}</span></span>'
        yield f'<span class="why">passed in attempt {len(record.judged)}, before: {before}</span>'
        yield f'{_strip(told.outcomes.get(record.file.path, ()))}</summary>\n<div class="body">'
        yield _history_line(told, record)
        yield from file_body(told, record, outputs)
        yield "</div></details>\n"
    hidden = len(told.results.flaky) - len(shown)
    if hidden:
        yield f'<p class="note">{counted(hidden, "more file")} are flaky: the table of files names all.</p>\n'
    yield "</section>\n"


def notes_section(told: Told, outputs: Outputs) -> Iterator[str]:
    """Yield what did not run, what was found by running files twice, and what the run warned of."""
    yield '<section id="notes" aria-labelledby="notes-h"><h2 id="notes-h">Notes</h2>\n'
    said = False
    for part in (_not_run(told), _findings(told), _differences(told), _leaked(told), _notices(told)):
        for piece in part:
            said = True
            yield piece
    if outputs.cut:
        said = True
        yield f'<p class="note">{counted(outputs.cut, "text")} of what tests printed are cut or left out, so that '
        yield "this page stays small. The run's own folder has them whole.</p>\n"
    if not said:
        yield '<p class="quiet">Nothing to add.</p>\n'
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


def _history_line(told: Told, record: FileRecord) -> str:
    runs = told.outcomes.get(record.file.path, ())
    if not runs:
        return '<p class="quiet">Nothing is remembered of earlier runs.</p>\n'
    words = {"pass": "passed", "again": "passed only when run again"}
    counts = Counter(words.get(_run_look(run), "failed") for run in runs)
    told_counts = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    earlier = "In the run before" if len(runs) == 1 else f"In the {len(runs)} runs before"
    return f'<p class="quiet">{earlier}: {told_counts}.</p>\n'


def _not_run(told: Told) -> Iterator[str]:
    records = _by_path(told.results.cancelled)
    if not records:
        return
    yield f'<h3>{counted(len(records), "file")} did not run to the end</h3>\n<ul class="names">\n'
    for record in records[:MOST_NAMED]:
        how = f"stopped after {format_seconds(record.final.duration)}" if record.started else "never started"
        why = f", {line(record.final.error)}" if record.final.error else ""
        yield f"<li><code>{line(record.file.label)}</code> <span>{how}{why}</span></li>\n"
    yield _more(len(records))


def _findings(told: Told) -> Iterator[str]:
    """Yield the files of which running them again showed a cause."""
    for finding, sentence in FINDINGS.items():
        records = _by_path(told.results.found(finding))
        if not records:
            continue
        names = {
            Finding.UNCONFIRMED: "passed when forked and not confirmed",
            Finding.FAILED_FORKED: "failed only when forked",
            Finding.FAILED_SPAWNED: "failed only in a fresh interpreter",
            Finding.CROWDED: "failed only beside others",
        }
        yield f"<h3>{counted(len(records), 'file')} {names[finding]}</h3>\n"
        yield f'<p class="quiet">{sentence}</p>\n<ul class="names">\n'
        for record in records[:MOST_NAMED]:
            yield f"<li><code>{line(record.file.label)}</code></li>\n"
        yield _more(len(records))


def _differences(told: Told) -> Iterator[str]:
    found = sorted(told.results.differing, key=lambda difference: difference.file.path)
    if not found:
        return
    yield f'<h3>{counted(len(found), "file")} differ when forked</h3>\n<ul class="names">\n'
    for difference in found[:MOST_NAMED]:
        texts = "; ".join(line(text[:300]) for text in difference.texts[:10])
        yield f"<li><code>{line(difference.file.label)}</code> <span>{texts}</span></li>\n"
    yield _more(len(found))


def _leaked(told: Told) -> Iterator[str]:
    leaking = [record for record in told.records if any(attempt.leaked for attempt in record.attempts)]
    if not leaking:
        return
    yield f'<h3>{counted(len(leaking), "file")} left processes behind, which were ended</h3>\n<ul class="names">\n'
    for record in leaking[:MOST_NAMED]:
        processes = [process for attempt in record.attempts for process in attempt.leaked]
        shown = ", ".join(line(process[:300]) for process in processes[:3])
        more = f", and {len(processes) - 3} more" if len(processes) > 3 else ""
        yield f"<li><code>{line(record.file.label)}</code> <span>{shown}{more}</span></li>\n"
    yield _more(len(leaking))


def _notices(told: Told) -> Iterator[str]:
    if not told.notices:
        return
    yield '<h3>Said during the run</h3>\n<ul class="names">\n'
    for at_s, text in told.notices:
        yield f"<li><span>{format_seconds(at_s)}</span> {line(text)}</li>\n"
    if told.hidden_notices:
        yield f'<li class="quiet">and {told.hidden_notices:,} more</li>\n'
    yield "</ul>\n"


def _more(count: int) -> str:
    hidden = count - MOST_NAMED
    return (
        f'<li class="quiet">and {hidden:,} more: see the table of files</li>\n</ul>\n'
        if hidden > 0
        else "</ul>\n"
    )


def _by_path(records: Sequence[FileRecord]) -> tuple[FileRecord, ...]:
    return tuple(sorted(records, key=lambda record: record.file.path))
