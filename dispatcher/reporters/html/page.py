"""Puts the page together: one document that loads nothing, and that runs no script but its own.

`page.css` and `page.js` lie beside this module. Their hashes stand in the page's policy, so that nothing
that slipped into the page could run, style, load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

from dispatcher.reporters.html.files_sections import (
    failures_section,
    flaky_section,
    outputs_for,
    shown_failures,
    shown_flaky,
)
from dispatcher.reporters.html.markup import data, line, look
from dispatcher.reporters.html.memory_chart import memory_data, memory_section
from dispatcher.reporters.html.notes import notes_section
from dispatcher.reporters.html.overview import header, overview_section, verdict_of
from dispatcher.reporters.html.report_model import ReportModel
from dispatcher.reporters.html.table import FIRST_ROWS, file_data, files_section
from dispatcher.reporters.html.timeline import bar_data, timeline_section
from passmuster.model.status import Status
from passmuster.model.text import JsonValue, one_line
from passmuster.model.version import VERSION

_HERE = Path(__file__).parent

_ICON_COLOURS = {"good": "%231f7a4d", "bad": "%23c2352b", "open": "%238a6110"}


def page(told: ReportModel) -> Iterator[str]:
    """Yield the whole page in pieces."""
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    outputs = outputs_for(told)
    positions = told.positions
    with_entry = frozenset(
        positions[record.file.path] for record in (*shown_failures(told), *shown_flaky(told))
    )
    yield from _head(told, style, script)
    yield '<body>\n<a class="skip" href="#main">Skip to the content</a>\n'
    yield from header(told)
    yield from _navigation(told)
    yield '<main id="main" tabindex="-1">\n'
    yield from overview_section(told)
    yield from failures_section(told, outputs)
    yield from flaky_section(told, outputs)
    yield from timeline_section(told)
    yield from memory_section(told)
    yield from notes_section(told, outputs)
    yield from files_section(told, with_entry=with_entry)
    yield "</main>\n"
    yield f"<footer><p>Written by Passmuster {line(VERSION)}. "
    yield "This page loads nothing and sends nothing.</p></footer>\n"
    yield '<script type="application/json" id="data">'
    yield data(_data(told, with_entry))
    yield f"</script>\n<script>{script}</script>\n</body>\n</html>\n"


def _head(told: ReportModel, style: str, script: str) -> Iterator[str]:
    verdict = verdict_of(told.results)
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    icon = (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
        f"%3Ccircle cx='8' cy='8' r='7' fill='{_ICON_COLOURS[verdict.look]}'/%3E%3C/svg%3E"
    )
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
    yield f"<title>{verdict.text} · {line(told.run_id or 'Passmuster')}</title>\n"
    yield f'<link rel="icon" href="{icon}">\n'
    yield f"<style>{style}</style>\n</head>\n"


def _navigation(told: ReportModel) -> Iterator[str]:
    links = [
        ("summary", "Summary", 0),
        ("failures", "Failures", len(told.results.failed)),
        ("flaky", "Flaky", len(told.results.flaky)),
        ("timeline", "Timeline", 0),
        ("memory", "Memory", 0),
        ("notes", "Notes", len(told.notices)),
        ("files", "Files", len(told.records)),
    ]
    yield '<nav aria-label="Sections"><ul>'
    for name, title, count in links:
        number = f' <span class="count">{count:,}</span>' if count else ""
        yield f'<li><a href="#{name}">{title}{number}</a></li>'
    yield "</ul></nav>\n"


def _data(told: ReportModel, with_entry: frozenset[int]) -> JsonValue:
    return {
        "statuses": [status.value.replace("_", " ").lower() for status in Status],
        "looks": [look(status) for status in Status],
        "workers": [one_line(worker)[:200] for worker in sorted(told.machines)],
        "files": file_data(told, with_entry=with_entry),
        "bars": bar_data(told),
        "memory": memory_data(told),
        "start": round(told.start_s, 3),
        "end": round(told.end_s, 3),
        "rows": FIRST_ROWS,
    }


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
