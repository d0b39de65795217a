"""Formats the output of `explain`: aligned lines for people, or one JSON object on one line. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from msgspec import to_builtins

from dispatcher.insight.explanation import Explanation, rerun_reasons
from dispatcher.insight.last_run import PastAttempt, PastRun
from dispatcher.model.plan import PlannedFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.order import MEMORY_MARGIN
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation
from passmuster.model.text import JsonValue, json_fields, json_line, one_line
from passmuster.model.units import format_bytes, format_seconds

_MAX_REASONS = 5
"""Reasons that people are shown; the JSON has all."""

_MAX_TESTS = 3
"""Tests of a kind that people are shown."""

_WIDTH = 16
"""Columns of the names."""

_RERUN_REASONS = {
    RerunReason.EVICTED: "it was evicted to free memory, which does not count as a failure",
    RerunReason.VERIFY_FAILURE: "it did not pass when forked; the result of the spawned attempt decides",
    RerunReason.RECHECK: "it was spawned once more",
    RerunReason.REFORK: "it failed when forked and passed twice when spawned, and was forked once more",
    RerunReason.VERIFY_PASS: "it passed when forked, and no run had verified that it passes when spawned",
    RerunReason.RETRY: "it failed, and was retried",
    RerunReason.EXCLUSIVE: "it failed in parallel, and ran exclusively",
    RerunReason.WHOLE: "it did not pass in parts; the result of the whole file decides",
    RerunReason.REPART: "it failed in parts and passed as a whole, and ran in parts once more",
}


def explain_lines(what: Explanation) -> list[str]:
    """Return the lines."""
    label = one_line(what.file.label)
    waits = [
        _line("running now", f"the run of process {pid} {one_line(str(waits))}") for pid, waits in what.waits
    ]
    if what.never_ran and what.planned is not None:
        place = f"number {what.position} of {what.total} in the next run ({what.planned.order_reason})"
        return [f"{label} never ran here; it is {place}", *waits]
    lines = [label, *_now_lines(what), *waits, ""]
    if what.last is None:
        lines.append("Last run: none that is kept ran it")
        lines += _named_tests("failed tests", what.known.failing_tests if what.known is not None else (), 2)
    else:
        lines += _run_lines(what.last, what.limit_bytes, what.file.selection.tests)
    if what.planned is not None:
        lines += ["", "Next run", *_next_lines(what, what.planned)]
    if what.outcomes:
        runs = "  ".join(" > ".join(map(str, run)) for run in what.outcomes)
        lines += ["", f"Last {len(what.outcomes)} run(s), oldest first", f"  {runs}"]
    return lines


def _line(name: str, text: str, *, indent: int = 2) -> str:
    return f"{' ' * indent}{name.ljust(_WIDTH + 2 - indent)}  {text}"


def _now_lines(what: Explanation) -> Iterator[str]:
    if what.planned is None:
        yield _line("now", "it no longer exists")
        return
    if not what.is_found:
        yield _line("now", "not found by discovery: it runs only if you name it")
    yield _line("changed", "yes, since it last ran" if what.is_changed else "no")
    reasons = what.affected[:_MAX_REASONS] or ("no: all that it read when it last passed is the same",)
    for number, reason in enumerate(reasons):
        yield _line("" if number else "affected", one_line(reason))


def _run_lines(run: PastRun, limit_bytes: int, tests: Sequence[str]) -> Iterator[str]:
    state = "" if run.is_complete else ", interrupted or still running"
    yield f"Last run: {run.run_id}{state}, {len(run.attempts)} attempt(s)"
    for attempt, reason in _with_reasons(run.attempts):
        result = attempt.result
        yield _line(f"attempt {result.attempt}", _status_text(result))
        if reason is not None:
            yield _line("rerun reason", _RERUN_REASONS[reason], indent=4)
        yield from _attempt_lines(attempt, limit_bytes)
        yield from _test_lines(attempt, tests)


def _with_reasons(attempts: Sequence[PastAttempt]) -> Iterator[tuple[PastAttempt, RerunReason | None]]:
    yield from zip(attempts, rerun_reasons([attempt.result for attempt in attempts]), strict=True)


def _status_text(result: TestResult) -> str:
    reason = one_line(result.error)
    evicted = " (evicted)" if result.is_evicted else ""
    return f"{result.status}{evicted}" + (f": {reason}" if reason else "")


def _attempt_lines(attempt: PastAttempt, limit_bytes: int) -> Iterator[str]:
    result = attempt.result
    if result.started_at:
        at = datetime.fromtimestamp(result.started_at, tz=UTC)
        others = f"{attempt.concurrent_files} other file(s)" if attempt.concurrent_files else "no other file"
        when = f"{at:%Y-%m-%d %H:%M:%S} UTC, {format_seconds(attempt.after_s)} after the run's first file"
        yield _line("started", f"{when}, {others} running", indent=4)
    if result.start_delayed_by:
        yield _line("waited for", f"{one_line(result.start_delayed_by)}, although a slot was free", indent=4)
    worker = f"{one_line(result.worker)}, " if result.worker else ""
    alone = ", exclusively throughout" if result.was_alone else ""
    yield _line("where", f"{worker}slot {result.slot}{alone}", indent=4)
    yield _line("took", _time_text(result.duration, result.cpu_s), indent=4)
    if result.peak_bytes is not None:
        limit = f" (current limit {format_bytes(limit_bytes)})" if limit_bytes else ""
        yield _line("memory", f"peak {format_bytes(result.peak_bytes)}{limit}", indent=4)
    note = f": {one_line(result.isolation_note)}" if result.isolation_note else ""
    how = "forked" if result.isolation is Isolation.FORK else "spawned"
    by = f", by {one_line(result.interpreter)}" if result.interpreter else ""
    yield _line("process", f"{how}{by}{note}", indent=4)
    if attempt.output:
        yield _line("output", one_line(attempt.output), indent=4)


def _test_lines(attempt: PastAttempt, tests: Sequence[str]) -> Iterator[str]:
    """Yield the lines about the tests of an attempt; those that the user named have lines of their own."""
    cases = attempt.result.cases
    if cases:
        all_s = format_seconds(sum(case.seconds for case in cases))
        slowest = attempt.slowest_tests[:_MAX_TESTS]
        shown = ", ".join(f"{one_line(name)} {format_seconds(seconds)}" for name, seconds in slowest)
        slow = f"; the slowest: {shown}" if slowest else ""
        yield _line("tests", f"{len(cases)} in {all_s}{slow}", indent=4)
    yield from _named_tests("failed tests", attempt.failed_tests, 4)
    named = attempt.cases_of(tests)
    if tests and not named:
        yield _line("", f"none of them is {one_line(', '.join(tests))}", indent=4)
    for name, case in named:
        message = f": {one_line(case.message)}" if case.message else ""
        yield _line("", f"{one_line(name)} {case.outcome}, {format_seconds(case.seconds)}{message}", indent=4)


def _named_tests(head: str, names: Sequence[str], indent: int) -> Iterator[str]:
    """Yield a line with the first of these tests, and the number of the others."""
    if names:
        more = len(names) - _MAX_TESTS
        shown = ", ".join(map(one_line, names[:_MAX_TESTS]))
        yield _line(head, f"{shown}, and {more} more" if more > 0 else shown, indent=indent)


def _next_lines(what: Explanation, planned: PlannedFile) -> Iterator[str]:
    task = planned.task
    yield _line("order", f"number {what.position} of {what.total}: {planned.order_reason}")
    yield _line("process", what.start_method)
    if task.parts:
        longest_s = max(part.predicted_s or 0.0 for part in task.as_parts)
        yield _line(
            "parts", f"{len(task.parts)}, the longest is expected to take {format_seconds(longest_s)}"
        )
    elif what.known is not None and what.known.is_indivisible:
        yield _line("parts", "none: in parts it was not the file that it is as a whole")
    if task.predicted_s is not None:
        waits = "; I/O-bound" if task.is_io_bound else ""
        yield _line("expected", f"{_time_text(task.predicted_s, task.predicted_cpu_s)}{waits}")
    else:
        yield _line("expected", "unknown: it is assumed to take the median time")
    reserved = "what files of this project, or of this machine, usually need: its own peak is unknown"
    if task.predicted_bytes is not None:
        reserved = f"{format_bytes(task.predicted_bytes)} (the expected peak times {MEMORY_MARGIN})"
    yield _line("reserved", reserved)
    yield _line(
        "memory limit", f"{format_bytes(what.limit_bytes)} of {format_bytes(what.budget_bytes)} for all files"
    )
    yield _line("time limit", format_seconds(task.limits.timeout_s))
    if task.exclusive:
        yield _line("exclusive", "no other file runs at the same time: it failed in parallel")
    if planned.baseline is not None:
        yield _line("known spawned", _figures_text(planned.baseline.spawned))
        yield _line("known forked", _figures_text(planned.baseline.forked))
    if what.group_max is not None:
        yield _line("group", f"{one_line(task.group)}, at most {what.group_max} at a time")
    for patterns, said in what.overrides:
        yield _line("override", f"{one_line(patterns)}: {one_line(said)}")


def _figures_text(figures: UsageStats) -> str:
    if not figures.runs:
        peak = "" if figures.peak_bytes is None else f"; it used at least {format_bytes(figures.peak_bytes)}"
        return f"never completed{peak}" if peak else "never"
    parts = [_time_text(figures.duration_s, figures.cpu_s)]
    if figures.peak_bytes is not None:
        parts.append(f"peak {format_bytes(figures.peak_bytes)}")
    return f"{', '.join(parts)}, from {figures.runs} attempt(s)"


def _time_text(seconds: float, cpu_s: float | None) -> str:
    cpu = "" if cpu_s is None else f", {format_seconds(cpu_s)} of CPU time"
    return f"{format_seconds(seconds)}{cpu}"


VERSION = 2
"""Counts up when a field changes its meaning or goes away."""


def explain_json(what: Explanation) -> bytes:
    """Return the object."""
    return json_line(
        {
            "version": VERSION,
            **json_fields(what.file, "path", "label", "kind"),
            **json_fields(what, "never_ran", "changed=is_changed", "affected", "found=is_found"),
            "waits": [
                {"pid": pid, **json_fields(waits, "what", "duration_s=seconds", "needed_bytes", "held_by")}
                for pid, waits in what.waits
            ],
            "last_run": None if what.last is None else _last(what.last, what.file.selection.tests),
            "next_run": None if what.planned is None else _next(what, what.planned),
            "failing_tests": [] if what.known is None else list(what.known.failing_tests),
            "outcomes": [[str(status) for status in run] for run in what.outcomes],
        }
    )


def _last(run: PastRun, tests: Sequence[str]) -> dict[str, JsonValue]:
    attempts: list[JsonValue] = [
        _attempt(attempt, reason, tests) for attempt, reason in _with_reasons(run.attempts)
    ]
    return {**json_fields(run, "run_id", "complete=is_complete"), "attempts": attempts}


def _attempt(attempt: PastAttempt, reason: RerunReason | None, tests: Sequence[str]) -> dict[str, JsonValue]:
    result = attempt.result
    return {
        **json_fields(result, "attempt", "status", "error"),
        "attempt_reason": None if reason is None else str(reason),
        **json_fields(result, "started_at"),
        **json_fields(attempt, "after_s", "concurrent_files"),
        **json_fields(result, "start_delayed_by", "worker", "interpreter", "slot", "was_alone"),
        **json_fields(result, "duration_s=duration", "cpu_s", "peak_bytes", "isolation", "isolation_note"),
        "tests": len(result.cases),
        "failed_tests": list(attempt.failed_tests),
        "slowest_tests": [
            {"name": name, "duration_s": round(seconds, 6)} for name, seconds in attempt.slowest_tests
        ],
        "named_tests": [
            {"name": name, **json_fields(case, "outcome", "duration_s=seconds", "message")}
            for name, case in attempt.cases_of(tests)
        ],
        "output": attempt.output or None,
    }


def _next(what: Explanation, planned: PlannedFile) -> dict[str, JsonValue]:
    task, baseline = planned.task, planned.baseline
    return {
        **json_fields(what, "place=position", "files=total"),
        "order_reason": planned.order_reason,
        "parts": len(task.parts),
        "isolation": str(task.isolation),
        "isolation_reason": what.start_method,
        **json_fields(task, "predicted_s", "predicted_cpu_s", "predicted_bytes"),
        **json_fields(what, "limit_bytes", "budget_bytes"),
        "timeout_s": task.limits.timeout_s,
        "exclusive": task.exclusive,
        "spawned": None if baseline is None else to_builtins(baseline.spawned),
        "forked": None if baseline is None else to_builtins(baseline.forked),
        "group": task.group,
        "group_max": what.group_max,
        "overrides": [{"files": patterns, "settings": said} for patterns, said in what.overrides],
    }
