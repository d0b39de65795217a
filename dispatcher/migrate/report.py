"""What `migrate` prints: the differences as a patch, what is left, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff

from dispatcher.migrate.changes import Change
from dispatcher.migrate.command_names import BACKUPS, SCRIPTS
from dispatcher.migrate.discovery_check import Comparison
from dispatcher.migrate.plan import Plan
from dispatcher.migrate.survey import Left
from dispatcher.report.plain_text import bounded_tail, one_line, sanitize
from dispatcher.report.tags import Tag, tagged

_MOST_SHOWN = 160
"""Characters of a line that are shown where only its place matters."""

_NO_NEWLINE = "\\ No newline at end of file"


def said(tag: Tag, text: str) -> str:
    """Return one line with its tag."""
    return tagged(tag, one_line(text), color=False)


def diff_lines(plan: Plan) -> Iterator[str]:
    """Yield the changes of all files but the scripts as a unified diff."""
    for change in plan.changes:
        if change.path not in (*SCRIPTS, *BACKUPS):
            yield from _diff(change)


def _diff(change: Change) -> Iterator[str]:
    name = one_line(change.path)
    old = "/dev/null" if change.before is None else f"a/{name}"
    for line in unified_diff(_lines(change.before), _lines(change.after), old, f"b/{name}", lineterm=""):
        body, mark, _ = line.partition("\n")
        yield sanitize(body.replace("\r", "")).replace("\n", " ")
        if mark:
            yield _NO_NEWLINE


def _lines(content: bytes | None) -> list[str]:
    """Return the lines of a file; a last one without an end has a newline in it, as a mark."""
    *lines, last = (content or b"").decode("utf-8", "surrogateescape").split("\n")
    return [*lines, f"{last}\n"] if last else lines


def left_line(left: Left) -> str:
    """Return where something is left to a person, what stands there, and why."""
    text = left.text if len(left.text) <= _MOST_SHOWN else f"...{bounded_tail(left.text, _MOST_SHOWN)}"
    return f"{one_line(left.path)}:{left.line}: {one_line(text)}" + (
        f"  [{left.reason}]" if left.reason else ""
    )


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield how the files of the old script and of a run compare, each difference by name."""
    counts = f"{comparison.unit} unit test file(s), {comparison.integration} with --integration"
    if not comparison.differences:
        yield said(Tag.PASS, f"Discovery: {counts}: those of the old script")
        return
    yield said(
        Tag.WARN,
        f"Discovery: {len(comparison.differences)} difference(s) to the old script, which found {counts}",
    )
    for difference in comparison.differences:
        yield f"{one_line(difference.path)}:1: {difference}"


def left_lines(plan: Plan) -> Iterator[str]:
    """Yield what is left to a person."""
    if plan.left:
        yield said(Tag.WARN, f"{len(plan.left)} line(s) are left for you:")
        yield from map(left_line, plan.left)
