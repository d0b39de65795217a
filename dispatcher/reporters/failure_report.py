"""Formats failed files: each failure with message and place, the end of the output, and the command. Pure.

What a test wrote stands behind a bar, so that neither a reader nor a CI takes it for a line of Passmuster.
The amount of detail is the largest that keeps to a number of lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct

from dispatcher.model.results import FileAttempts, Finding
from dispatcher.reporters.console.line_reporter import Hints
from dispatcher.reporters.console.lines import attempts_text
from dispatcher.reporters.failures import Failure, count_failures, failures_of
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.text import last_lines, one_line

BAR = "| "


class DetailLevel(Struct, frozen=True, kw_only=True):
    """How much of each failed file is shown; the rest is counted."""

    failures: int
    failure_lines: int
    """Lines of one failure's message, below its first."""
    file_lines: int
    """The same for all failures of a file together."""
    tail_lines: int
    """Lines from the end of the output."""
    has_tails_of_tests: bool = True
    """Whether the output is shown also if failed tests alone say why the file failed."""


FULL_DETAIL = DetailLevel(failures=20, failure_lines=30, file_lines=60, tail_lines=10)
LEVELS = (
    FULL_DETAIL,
    DetailLevel(failures=10, failure_lines=8, file_lines=24, tail_lines=6),
    DetailLevel(failures=5, failure_lines=3, file_lines=9, tail_lines=3),
    DetailLevel(failures=3, failure_lines=1, file_lines=3, tail_lines=0),
    DetailLevel(failures=1, failure_lines=0, file_lines=0, tail_lines=0),
)
MAX_BLOCK_LINES = 7
"""Lines of one file at the last level: its name, a remark, a failure, how many more, log, TMPDIR, command."""


def failed_files_lines(
    failed: Sequence[FileAttempts], hints: Hints, *, max_lines: int, levels: Sequence[DetailLevel] = LEVELS
) -> list[str]:
    """Return a block for each failed file with as much detail as fits, else their names, else their number.

    Args:
        max_lines: at least 8.
        levels: how much detail may be shown, the most first.
    """
    blocks = [
        (record, list(islice(failures_of(record.file, record.final), levels[0].failures)))
        for record in failed[: (max_lines - 1) // MAX_BLOCK_LINES]
    ]
    for level in levels:
        lines = [line for record, found in blocks for line in failed_file_lines(record, found, level, hints)]
        if len(lines) < max_lines:
            break
    others = [tagged(Tag.FAIL, one_line(record.file.label)) for record in failed[len(blocks) :]]
    room = max_lines - len(lines)
    if len(others) <= room:
        return lines + others
    return [*lines, *others[: room - 1], f"and {len(others) - room + 1} more failed file(s)"]


def failed_file_lines(
    record: FileAttempts, found: Sequence[Failure], level: DetailLevel, hints: Hints
) -> Iterator[str]:
    """Yield the block of one failed file: its failures, the end of its output, its log, and its command.

    Args:
        found: its failures, as many as `level` shows.
    """
    result, label = record.final, one_line(record.file.label)
    yield tagged(Tag.FAIL, label)
    for remark in remarks(record):
        yield f"  {remark}"
    lines = failure_lines(found, count_failures(result), level, lambda failure: failure.line_for(label), BAR)
    yield from (f"  {line}" for line in lines)
    has_tail = level.tail_lines and (level.has_tails_of_tests or not result.failed_by_tests)
    printed = last_lines(result.output.rstrip("\n"), level.tail_lines) if has_tail else ()
    if printed:
        yield "  Last lines of its output:"
        yield from (f"    {BAR}{line}" for line in printed)
    log = hints.log(record)
    if log:
        yield f"  Log: {one_line(log)}"
    if result.kept_tmp:
        yield f"  TMPDIR kept at: {one_line(result.kept_tmp)}"
    yield f"  Run it again: {one_line(hints.rerun(record))}"


def failure_lines(
    failures: Iterable[Failure],
    total: int,
    level: DetailLevel,
    first_line: Callable[[Failure], str],
    bar: str = "",
) -> Iterator[str]:
    """Yield the lines of some failures out of `total`; those below the first of each are indented by 2.

    Args:
        bar: precedes what a test wrote.
    """
    left = level.file_lines
    for failure in islice(failures, level.failures):
        yield first_line(failure)
        shown = failure.detail[: min(level.failure_lines, left)]
        left -= len(shown)
        yield from (f"  {bar}{line}" for line in shown)
        if len(failure.detail) > len(shown) and level.failure_lines:
            yield f"  ... {len(failure.detail) - len(shown)} more line(s)"
    if total > level.failures:
        yield f"and {total - level.failures} more"


def remarks(record: FileAttempts) -> Iterator[str]:
    """Yield what the attempts at a failed file say together; usually nothing."""
    if record.finding is Finding.PASSES_ONLY_FORKED:
        yield "It passed when forked, and failed when spawned."
    if record.finding is Finding.FAILS_IN_PARALLEL:
        yield "It failed in parallel and passed when run alone."
    if record.is_flaky:
        yield f"It is flaky, its attempts ended: {attempts_text(record)}"
