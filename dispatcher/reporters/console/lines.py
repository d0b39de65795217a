"""Formats the console's lines exactly as the shell scripts printed them. Pure.

Users parse these lines. New information is on separate lines, or at the end of a block, so that parsers of
the old output can read the new one. `reporter` prints single lines, `summary` builds the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dispatcher.model.plan import RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts
from dispatcher.terminal.tags import Tag, bulleted, tagged
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.task import path_of
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


def nothing_found_line(*, include_integration: bool) -> str:
    """Return the line for a project without test files."""
    what = "No test files found" if include_integration else "No unit test files found"
    return tagged(Tag.WARN, what)


def layout_lines(layout: str) -> list[str]:
    """Return the line that says which configuration decides what is a test file; none for an empty text."""
    return [tagged(Tag.INFO, f"Layout: {one_line(layout)}")] if layout else []


def found_lines(files: Iterable[TestFile]) -> list[str]:
    """Return the list of files, sorted by path: in the order of discovery, not of the start."""
    labels = [one_line(file.label) for file in sorted(files, key=lambda file: file.path)]
    return [tagged(Tag.INFO, f"Found {len(labels)} test file(s):"), *map(bulleted, labels)]


def limits_lines(limits: Sequence[Limit]) -> list[str]:
    """Return the line with the number of workers and the memory of the run; none if nothing is known."""
    slots = [limit for limit in limits if limit.name == SLOTS_LIMIT]
    others = [limit for limit in limits if limit.name != SLOTS_LIMIT]
    parts = [f"Workers: {limit.value} at once{_source(limit)}" for limit in slots]
    parts += [f"{limit.name} {limit.value}{_source(limit)}" for limit in others]
    return [tagged(Tag.INFO, one_line(", ".join(parts)))] if parts else []


def memory_budget(limits: Sequence[Limit]) -> str:
    """Return the memory budget among the limits of a run; empty: unknown."""
    return next((limit.value for limit in limits if limit.name == BUDGET_LIMIT), "")


def _source(limit: Limit) -> str:
    return f" ({limit.source})" if limit.source else ""


def shard_lines(plan: RunPlan) -> list[str]:
    """Return the line that names the shard, with a digest to compare machines; none without shards."""
    part = plan.shard
    if part is None:
        return []
    files = {path_of(key) for key, _ in part.whole}
    of, total = f"Shard {part.shard.number} of {part.shard.total}", f"{len(files)} files"
    text = f"{of}: {len(plan.files)} of {total}" if plan.files else f"{of} has none of the {total}"
    if plan.files and part.predicted_s is not None:
        text += f", predicted {format_seconds(part.predicted_s)}"
    return [tagged(Tag.INFO, f"{text}; the whole plan is {part.digest[:DIGEST_SHOWN]}")]


def file_line(tag: Tag, file: TestFile, text: str) -> str:
    """Return a line about a file: its label, a colon, and the text."""
    return tagged(tag, f"{one_line(file.label)}: {text}")


def running_line(file: TestFile, *, attempt: int, worker: str = "") -> str:
    """Return the line at a file's start; `Running:` appears once for each file, however often it runs."""
    label = one_line(file.label)
    where = f" on {one_line(worker)}" if worker else ""
    if attempt == 1:
        return tagged(Tag.INFO, f"Running: {label}{where}")
    return tagged(Tag.INFO, f"Running again: {label} (attempt {attempt}){where}")


def verdict_lines(file: TestFile, result: TestResult) -> list[str]:
    """Return the lines of a final verdict, without the rule that follows it."""
    label = one_line(file.label)
    reason = file_line(Tag.WARN, file, status_text(result))
    match result.status:
        case Status.PASS:
            cached = " (cached)" if result.is_cached else ""
            return [*note_lines(file, result), tagged(Tag.PASS, f"{label} completed successfully{cached}")]
        case Status.CANCELLED:
            return [reason]
        case Status.FAIL:
            return [tagged(Tag.FAIL, f"{label} failed")]
        case _:
            return [reason, tagged(Tag.FAIL, f"{label} failed")]


def note_lines(file: TestFile, result: TestResult) -> list[str]:
    """Return remarks about a verdict that is not a failure; usually none."""
    return [file_line(Tag.INFO, file, one_line(result.note))] if result.note else []


RERUN_TAGS: Mapping[RerunReason, Tag] = {
    RerunReason.RETRY: Tag.RETRY,
    RerunReason.EVICTED: Tag.WAIT,
    RerunReason.VERIFY_FAILURE: Tag.CHECK,
    RerunReason.RECHECK: Tag.CHECK,
    RerunReason.REFORK: Tag.CHECK,
    RerunReason.VERIFY_PASS: Tag.CHECK,
    RerunReason.EXCLUSIVE: Tag.CHECK,
    RerunReason.WHOLE: Tag.SPLIT,
    RerunReason.REPART: Tag.SPLIT,
    RerunReason.SETTLED: Tag.WARN,
}
"""The word for each reason for which a file runs again: in the rows on a terminal, and in the footer."""


def rerun_text(result: TestResult, reason: RerunReason) -> str:
    """Return what is printed of an attempt after which the file reruns, so that the verdict is open."""
    match reason:
        case RerunReason.EVICTED:
            used = f" at {format_bytes(result.peak_bytes)}" if result.peak_bytes else ""
            return f"evicted{used} to free memory; will rerun"
        case RerunReason.VERIFY_FAILURE:
            return f"{status_text(result)}; it was forked and will rerun spawned"
        case RerunReason.REFORK:
            return "passed twice when spawned after it failed when forked; will rerun forked"
        case RerunReason.WHOLE:
            return f"{status_text(result)}; it will rerun as a whole"
        case RerunReason.REPART:
            return "passed as a whole after it failed in parts; will rerun in parts"
        case RerunReason.RECHECK if result.status.is_pass:
            return "passed when spawned, unlike when forked; will rerun spawned"
        case RerunReason.RECHECK:
            return f"{status_text(result)}; will rerun spawned"
        case _:
            return f"{status_text(result)}; will rerun"


def overruled_text(result: TestResult, reason: RerunReason | None) -> str:
    """Return what is printed of an attempt that does not count."""
    if reason is RerunReason.EXCLUSIVE:
        return f"{PASSED_EXCLUSIVELY}; it stays failed, see --retries"
    if reason is RerunReason.REFORK and result.status.is_failure and result.isolation is Isolation.FORK:
        return f"{status_text(result)}; it failed when forked again, so forking is the cause"
    if reason is RerunReason.REPART and result.status.is_failure:
        return f"{status_text(result)}; it failed in parts again, so that its tests depend on each other"
    what = "passed" if result.status.is_pass else status_text(result)
    return f"{what} in attempt {result.attempt}, which does not count: it is flaky"


PASSED_EXCLUSIVELY = "failed in parallel, passed when run alone"
PASSED_AS_A_WHOLE = "failed in parts, passed as a whole"


def status_text(result: TestResult) -> str:
    """Return the status with the reason, if it is known: `TIMEOUT: no end after 300 s`."""
    reason = one_line(result.error)
    return f"{result.status_text}: {reason}" if reason else result.status_text


def attempts_text(record: FileAttempts) -> str:
    """Return how the attempts at a file ended, in their order, without evicted ones."""
    return ", ".join(attempt.status for attempt in record.attempts if not attempt.is_evicted)
