"""What the end of the report says of forked and spawned files, and of files that need room. Pure.

A part of `console_summary`. Where forking changed nothing and nobody was in the way it says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.report.console_format import status_text
from dispatcher.report.plain_text import one_line
from dispatcher.report.summary import Summary
from dispatcher.report.tags import Tag, bulleted, listed, tagged
from dispatcher.run.findings import Finding
from dispatcher.run.results import FileRecord, TestResults
from passmuster.result import TestResult
from passmuster.status import Isolation

MAX_DIFFERENCES = 10
"""Differences named of each file; the rest is counted."""

MAX_NAMED = 5
"""Files named for each reason why they were not forked; the rest is counted."""

MAX_TEXT = 300
"""Characters of one difference: the name of a test may hold its parameters."""


def isolation_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return what is found about files that differ when forked, and about crowded ones."""
    return [
        *_failed_forked_lines(results, color=color),
        *_crowded_lines(results, color=color),
        *_unconfirmed_lines(results, color=color),
        *_difference_lines(results, color=color),
        *_not_forked_lines(results, color=color),
        *_not_compared_lines(results, color=color),
    ]


def ways_lines(results: TestResults, summary: Summary, *, color: bool) -> list[str]:
    """Return how many files were forked, if any was; for who wants to know more."""
    if not summary.forked:
        return []
    spawned = sum(record.started and record.final.isolation is Isolation.SPAWN for record in results.records)
    text = f"Forked: {summary.forked} file(s), spawned: {spawned}"
    return [tagged(Tag.INFO, text, color=color)]


def _unconfirmed_lines(results: TestResults, *, color: bool) -> list[str]:
    left = len(results.found(Finding.UNCONFIRMED))
    if not left:
        return []
    text = (
        f"{left} file(s) passed in a forked process and have not been run in a fresh interpreter yet; "
        "later runs do that"
    )
    return [tagged(Tag.INFO, text, color=color)]


def _failed_forked_lines(results: TestResults, *, color: bool) -> list[str]:
    found = _by_path(results.found(Finding.FAILED_FORKED))
    items = [f"{_label(record)} ({status_text(_forked(record))})" for record in found]
    heading = (
        f"{len(items)} file(s) failed twice when forked and passed twice when spawned, as they run "
        "until they change:"
    )
    return listed(heading, items, color=color)


def _forked(record: FileRecord) -> TestResult:
    """Return the attempt that was checked."""
    forked = [attempt for attempt in record.others if attempt.isolation is Isolation.FORK]
    return forked[-1] if forked else record.final


def _crowded_lines(results: TestResults, *, color: bool) -> list[str]:
    found = _by_path(results.found(Finding.CROWDED))
    items = [f"{_label(record)} (beside others: {_beside_others(record).status})" for record in found]
    heading = (
        f"{len(items)} file(s) failed beside others and passed when run alone, as they run until they change:"
    )
    return listed(heading, items, color=color)


def _beside_others(record: FileRecord) -> TestResult:
    return next((one for one in reversed(record.attempts) if one.status.is_failure), record.final)


def _difference_lines(results: TestResults, *, color: bool) -> list[str]:
    items: list[str] = []
    for difference in sorted(results.differing, key=lambda difference: difference.file.path):
        shown = [one_line(text)[:MAX_TEXT] for text in difference.texts[:MAX_DIFFERENCES]]
        hidden = len(difference.texts) - len(shown)
        more = [f"and {hidden} more"] if hidden else []
        items += [f"{one_line(difference.file.label)}: {text}" for text in (*shown, *more)]
    heading = f"{len(results.differing)} file(s) differ when forked:"
    return listed(heading, items, color=color)


def _not_forked_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return the files of a verification that could not be verified, for each reason."""
    if not results.is_verified:
        return []
    by_reason: dict[str, list[FileRecord]] = {}
    for record in _by_path(results.records):
        if record.started and not record.was_forked:
            by_reason.setdefault(record.final.isolation_note or "no reason given", []).append(record)
    if not by_reason:
        return []
    count = sum(map(len, by_reason.values()))
    text = f"{count} file(s) were not forked, so that there was nothing to compare:"
    return [
        tagged(Tag.INFO, text, color=color),
        *(bulleted(f"{one_line(why)}: {_named(files)}") for why, files in sorted(by_reason.items())),
    ]


def _not_compared_lines(results: TestResults, *, color: bool) -> list[str]:
    """Return the files of a verification whose attempts differ in more than how they were started."""
    found = [record for record in _by_path(results.records) if record.is_incomparable]
    if not results.is_verified or not found:
        return []
    text = (
        f"{len(found)} file(s) could not be compared, because the spawned attempt had another worker or "
        f"interpreter, or a signal from outside ended an attempt: {_named(found)}"
    )
    return [tagged(Tag.WARN, text, color=color)]


def _named(records: Sequence[FileRecord]) -> str:
    names = ", ".join(map(_label, records[:MAX_NAMED]))
    more = f", and {len(records) - MAX_NAMED} more" if len(records) > MAX_NAMED else ""
    return f"{len(records)} ({names}{more})"


def _label(record: FileRecord) -> str:
    return one_line(record.file.label)


def _by_path(records: Sequence[FileRecord]) -> list[FileRecord]:
    return sorted(records, key=lambda record: record.file.path)
