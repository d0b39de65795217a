"""The last section: what did not run, what was found by running files twice, what was said. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.model.results import FileAttempts, Finding
from dispatcher.reporters.console.summary import regression_text
from dispatcher.reporters.html.attempts import FINDINGS
from dispatcher.reporters.html.markup import counted, line
from dispatcher.reporters.html.outputs import OutputBudget
from dispatcher.reporters.html.report_model import ReportModel
from passmuster.model.units import format_seconds

MAX_NAMED = 200
"""Files named of each kind; the rest is counted."""

OPEN_UP_TO = 20
"""Entries up to which a list is open when the page is."""

MAX_TEXT_CHARS = 300
"""Characters of a process or a difference."""

_KINDS = {
    Finding.FAILS_WHEN_FORKED: "failed only when forked",
    Finding.PASSES_ONLY_FORKED: "failed only in a fresh interpreter",
    Finding.FAILS_IN_PARALLEL: "failed only beside others",
    Finding.UNVERIFIED: "passed when forked and not confirmed",
}


def notes_section(told: ReportModel, outputs: OutputBudget) -> Iterator[str]:
    """Yield the section.

    Args:
        told: the run.
        outputs: the room for printed text, after all of it was given.
    """
    yield '<section id="notes" aria-labelledby="notes-h"><h2 id="notes-h">Notes</h2>\n'
    pieces = [
        _notices(told),
        _not_run(told),
        _regressions(told),
        _differences(told),
        _leaked(told),
        *_findings(told),
        _cut(outputs),
    ]
    yield "".join(pieces) or '<p class="quiet">Nothing to add.</p>\n'
    yield "</section>\n"


def _listed(title: str, items: Sequence[str], *, hidden: int = 0, closed: bool = False) -> str:
    """Return a list that can be closed; nothing where there are no items.

    Args:
        title: what it lists.
        items: as HTML.
        hidden: how many more there were.
        closed: whether it is closed whatever its length.
    """
    if not items:
        return ""
    is_open = "" if closed or len(items) > OPEN_UP_TO else " open"
    more = f'<li class="quiet">and {hidden:,} more</li>\n' if hidden else ""
    listed = "".join(f"<li>{item}</li>\n" for item in items)
    return (
        f'<details class="figures"{is_open}><summary><h3>{title}</h3></summary>\n'
        f'<ul class="names">\n{listed}{more}</ul></details>\n'
    )


def _named(record: FileAttempts, remark: str = "") -> str:
    return f"<code>{line(record.file.label)}</code> <span>{remark}</span>"


def _notices(told: ReportModel) -> str:
    items = [f"<span>{format_seconds(at_s)}</span> {line(text)}" for at_s, text in told.notices]
    return _listed("Said during the run", items, hidden=told.hidden_notices)


def _not_run(told: ReportModel) -> str:
    records = _by_path(told.results.cancelled)
    items = []
    for record in records[:MAX_NAMED]:
        how = f"stopped after {format_seconds(record.final.duration)}" if record.started else "never started"
        items.append(_named(record, how + (f", {line(record.final.error)}" if record.final.error else "")))
    title = f"{counted(len(records), 'file')} did not run to the end"
    return _listed(title, items, hidden=len(records) - len(items))


def _findings(told: ReportModel) -> Iterator[str]:
    """Yield a list for each cause that running files once more showed."""
    for finding, kind in _KINDS.items():
        records = _by_path(told.results.found(finding))
        items = [_named(record, FINDINGS[finding]) for record in records[:MAX_NAMED]]
        # What was not confirmed is the next run's matter, and common.
        is_common = finding is Finding.UNVERIFIED
        title = f"{counted(len(records), 'file')} {kind}"
        yield _listed(title, items, hidden=len(records) - len(items), closed=is_common)


def _regressions(told: ReportModel) -> str:
    found = told.results.regressions
    items = [f"<code>{line(one.file.label)}</code> <span>{regression_text(one)}</span>" for one in found]
    number = len({one.file.path for one in found})
    title = f"{counted(number, 'file')} took much more than before"
    return _listed(title, items[:MAX_NAMED], hidden=max(0, len(items) - MAX_NAMED))


def _differences(told: ReportModel) -> str:
    found = sorted(told.results.differing, key=lambda difference: difference.file.path)
    items = []
    for difference in found[:MAX_NAMED]:
        texts = "; ".join(line(text[:MAX_TEXT_CHARS]) for text in difference.texts[:10])
        items.append(f"<code>{line(difference.file.label)}</code> <span>{texts}</span>")
    return _listed(f"{counted(len(found), 'file')} differ when forked", items, hidden=len(found) - len(items))


def _leaked(told: ReportModel) -> str:
    leaking = [record for record in told.records if any(attempt.leaked for attempt in record.attempts)]
    items = []
    for record in leaking[:MAX_NAMED]:
        processes = [process for attempt in record.attempts for process in attempt.leaked]
        shown = ", ".join(line(process[:MAX_TEXT_CHARS]) for process in processes[:3])
        items.append(
            _named(record, shown + (f", and {len(processes) - 3} more" if len(processes) > 3 else ""))
        )
    title = f"{counted(len(leaking), 'file')} left processes behind, which were ended"
    return _listed(title, items, hidden=len(leaking) - len(items))


def _cut(outputs: OutputBudget) -> str:
    if not outputs.cut:
        return ""
    return (
        f'<p class="note">{counted(outputs.cut, "text")} of what tests printed are cut or left out, so that '
        "the page stays small. The run's own folder has them whole.</p>\n"
    )


def _by_path(records: Sequence[FileAttempts]) -> list[FileAttempts]:
    return sorted(records, key=lambda record: record.file.path)
