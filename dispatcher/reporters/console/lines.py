"""Formats the console's lines exactly as the shell scripts printed them. Pure.

Users parse these lines. New information is on separate lines, or at the end of a block, so that parsers of
the old output can read the new one. `reporter` prints single lines, `summary` builds the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatcher.model.plan import RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.terminal.tags import Tag, bulleted, tagged
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.text import one_line
from passmuster.model.units import format_bytes, format_seconds

RULE = "-" * 40
"""The line between files."""

LAST_LINES = 10
"""Lines of a failed file's output that are shown."""

SLOTS_LIMIT = "slots"
BUDGET_LIMIT = "memory budget"


DIGEST_SHOWN = 12
"""Characters of a digest that are shown to people: enough to tell two apart."""


def nothing_found_line(*, include_integration: bool, color: bool) -> str:
    """Return the line for a project without test files; the exit status is 0 in that case."""
    what = "No test files found" if include_integration else "No unit test files found"
    return tagged(Tag.WARN, what, color=color)


def layout_lines(layout: str, *, color: bool) -> list[str]:
    """Return the line that says which configuration decides what is a test file; none for an empty text."""
    return [tagged(Tag.INFO, f"Layout: {one_line(layout)}", color=color)] if layout else []


def found_lines(files: Iterable[TestFile], *, color: bool) -> list[str]:
    """Return the list of files, sorted by path: in the order of discovery, not of the start."""
    labels = [one_line(file.label) for file in sorted(files, key=lambda file: file.path)]
    return [tagged(Tag.INFO, f"Found {len(labels)} test file(s):", color=color), *map(bulleted, labels)]


def limits_line(limits: Sequence[Limit], *, color: bool) -> str | None:
    """Return the number of workers and the memory with which the run starts; None if nothing is known."""
    if not limits:
        return None
    slots = [limit for limit in limits if limit.name == SLOTS_LIMIT]
    others = [limit for limit in limits if limit.name != SLOTS_LIMIT]
    parts = [f"Workers: {_sourced(f'{limit.value} at once', limit)}" for limit in slots]
    parts += [_sourced(f"{limit.name} {limit.value}", limit) for limit in others]
    return tagged(Tag.INFO, one_line(", ".join(parts)), color=color)


def shard_line(plan: RunPlan, *, color: bool) -> str | None:
    """Return which shard this run is; None: it is the whole. The digest serves to compare machines."""
    part = plan.shard
    if part is None:
        return None
    of, total = f"Shard {part.shard.number} of {part.shard.total}", f"{len(part.whole)} files"
    text = f"{of}: {len(plan.files)} of {total}" if plan.files else f"{of} has none of the {total}"
    if plan.files and part.predicted_s is not None:
        text += f", predicted {format_seconds(part.predicted_s)}"
    return tagged(Tag.INFO, f"{text}; the whole plan is {part.digest[:DIGEST_SHOWN]}", color=color)


def running_line(file: TestFile, *, attempt: int, color: bool, worker: str = "") -> str:
    """Return the line at a file's start; `Running:` appears once for each file, however often it runs."""
    label = one_line(file.label)
    where = f" on {one_line(worker)}" if worker else ""
    if attempt == 1:
        return tagged(Tag.INFO, f"Running: {label}{where}", color=color)
    return tagged(Tag.INFO, f"Running again: {label} (attempt {attempt}){where}", color=color)


def verdict_lines(file: TestFile, result: TestResult, *, color: bool) -> list[str]:
    """Return the lines of a final verdict, without the rule that follows it."""
    label = one_line(file.label)
    match result.status:
        case Status.PASS:
            passed = tagged(Tag.PASS, f"{label} completed successfully", color=color)
            return [*note_lines(file, result, color=color), passed]
        case Status.CANCELLED:
            return [tagged(Tag.WARN, f"{label}: {status_text(result)}", color=color)]
        case Status.FAIL:
            return [tagged(Tag.FAIL, f"{label} failed", color=color)]
        case _:
            return [
                tagged(Tag.WARN, f"{label}: {status_text(result)}", color=color),
                tagged(Tag.FAIL, f"{label} failed", color=color),
            ]


def note_lines(file: TestFile, result: TestResult, *, color: bool) -> list[str]:
    """Return remarks about a verdict that is not a failure; usually none."""
    if not result.note:
        return []
    return [tagged(Tag.INFO, f"{one_line(file.label)}: {one_line(result.note)}", color=color)]


def again_line(file: TestFile, result: TestResult, again: RerunReason, *, color: bool) -> str:
    """Return the line for an attempt after which the file runs again, so that the verdict is open."""
    label = one_line(file.label)
    match again:
        case RerunReason.EVICTED:
            used = f" at {format_bytes(result.peak_bytes)}" if result.peak_bytes else ""
            text = f"{label}: evicted{used} to free memory; will rerun"
        case RerunReason.VERIFY_FAILURE:
            text = f"{label}: {status_text(result)}; it was forked and will rerun spawned"
        case RerunReason.REFORK:
            text = f"{label}: passed twice when spawned after it failed when forked; will rerun forked"
        case RerunReason.RECHECK if result.status.is_pass:
            text = f"{label}: passed when spawned after it failed when forked; will rerun spawned"
        case RerunReason.RECHECK:
            text = f"{label}: {status_text(result)}; will rerun spawned"
        case _:
            text = f"{label}: {status_text(result)}; will rerun"
    return tagged(Tag.WARN, text, color=color)


def other_verdict_line(file: TestFile, reason: RerunReason | None, *, color: bool) -> str:
    """Return why a file does not get the verdict that has been printed."""
    is_alone = reason is RerunReason.EXCLUSIVE
    what = (
        "failed in parallel, passed when run alone" if is_alone else "passed when forked, failed when spawned"
    )
    return tagged(Tag.WARN, f"{one_line(file.label)}: {what}", color=color)


def same_again_line(file: TestFile, reason: RerunReason | None, *, color: bool) -> str:
    """Return the line for a file whose printed verdict was confirmed."""
    what = "failed when run alone too" if reason is RerunReason.EXCLUSIVE else "passed when spawned too"
    return tagged(Tag.INFO, f"{one_line(file.label)}: {what}", color=color)


def overruled_line(file: TestFile, result: TestResult, reason: RerunReason | None, *, color: bool) -> str:
    """Return the line for an attempt that does not count."""
    label = one_line(file.label)
    if reason is RerunReason.EXCLUSIVE:
        text = f"{label}: failed in parallel, passed when run alone; it stays failed, see --retries"
    elif reason is RerunReason.REFORK and result.status.is_failure and result.isolation is Isolation.FORK:
        text = f"{label}: {status_text(result)}; it failed when forked again, so forking is the cause"
    else:
        what = "passed" if result.status.is_pass else status_text(result)
        text = f"{label}: {what} in attempt {result.attempt}, which does not count: it is flaky"
    return tagged(Tag.WARN, text, color=color)


def passed_again_line(file: TestFile, result: TestResult, *, color: bool) -> str:
    """Return the line for a file whose printed pass became doubtful and was confirmed."""
    text = f"{one_line(file.label)}: passed in attempt {result.attempt}"
    return tagged(Tag.INFO, text, color=color)


def slow_line(file: TestFile, seconds: float, *, color: bool) -> str:
    """Return the warning that a file has been running for `seconds`."""
    return tagged(
        Tag.WARN, f"{one_line(file.label)}: still running after {format_seconds(seconds)}", color=color
    )


def status_text(result: TestResult) -> str:
    """Return the status with the reason, if it is known: `TIMEOUT: no end after 300 s`."""
    reason = one_line(result.error)
    return f"{result.status}: {reason}" if reason else str(result.status)


def _sourced(text: str, limit: Limit) -> str:
    return f"{text} ({limit.source})" if limit.source else text
