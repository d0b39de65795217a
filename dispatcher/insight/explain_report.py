"""Formats the output of `explain`: aligned lines for people, or one JSON object on one line. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from msgspec import to_builtins

from dispatcher.insight.explanation import Explanation, rerun_reasons
from dispatcher.insight.last_run import PastAttempt, PastRun
from dispatcher.model.plan import PlannedFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.order import MEMORY_MARGIN
from passmuster.model.status import Isolation
from passmuster.model.text import JsonValue, first_texts, json_fields, json_line, one_line
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


_Facts = Iterator[tuple[str, str]]
"""Names, each with a text that may have control characters."""


def explain_lines(what: Explanation) -> list[str]:
    """Return the lines."""
    label = one_line(what.file.label)
    waits = list(_aligned(("running now", f"the run of process {pid} {wait}") for pid, wait in what.waits))
    if what.never_ran and what.planned is not None:
        place = f"number {what.position} of {what.total} in the next run ({what.planned.order_reason})"
        return [f"{label} never ran here; it is {place}", *waits]
    lines = [label, *_aligned(_now(what)), *waits, ""]
    if what.last is None:
        lines.append("Last run: none that is kept ran it")
        lines += _aligned(_failed_tests(what.known.failing_tests if what.known is not None else ()))
    else:
        lines += _run_lines(what.last, what.limit_bytes, what.file.selection.tests)
    if what.planned is not None:
        lines += ["", "Next run", *_aligned(_next_run(what, what.planned))]
    if what.outcomes:
        runs = "  ".join(" > ".join(map(str, run)) for run in what.outcomes)
        lines += ["", f"Last {len(what.outcomes)} run(s), oldest first", f"  {runs}"]
    return lines


def _aligned(facts: Iterable[tuple[str, str]], indent: int = 2) -> Iterator[str]:
    for name, text in facts:
        yield f"{' ' * indent}{name.ljust(_WIDTH + 2 - indent)}  {one_line(text)}"


def _now(what: Explanation) -> _Facts:
    if what.planned is None:
        yield "now", "it no longer exists"
        return
    if not what.is_found:
        yield "now", "not found by discovery: it runs only if you name it"
    yield "changed", "yes, since it last ran" if what.is_changed else "no"
    reasons = what.affected[:_MAX_REASONS] or ("no: all that it read when it last passed is the same",)
    for number, reason in enumerate(reasons):
        yield "" if number else "affected", reason


def _run_lines(run: PastRun, limit_bytes: int, tests: Sequence[str]) -> Iterator[str]:
    state = "" if run.is_complete else ", interrupted or still running"
    yield f"Last run: {run.run_id}{state}, {len(run.attempts)} attempt(s)"
    for attempt, reason in _with_reasons(run.attempts):
        result = attempt.result
        error = f": {result.error}" if result.error else ""
        evicted = " (evicted)" if result.is_evicted else ""
        yield from _aligned([(f"attempt {result.attempt}", f"{result.status}{evicted}{error}")])
        if reason is not None:
            yield from _aligned([("rerun reason", _RERUN_REASONS[reason])], 4)
        yield from _aligned(_attempt_facts(attempt, limit_bytes), 4)
        yield from _aligned(_test_facts(attempt, tests), 4)


def _with_reasons(attempts: Sequence[PastAttempt]) -> Iterator[tuple[PastAttempt, RerunReason | None]]:
    yield from zip(attempts, rerun_reasons([attempt.result for attempt in attempts]), strict=True)


def _attempt_facts(attempt: PastAttempt, limit_bytes: int) -> _Facts:
    result = attempt.result
    if result.started_at:
        at = datetime.fromtimestamp(result.started_at, tz=UTC)
        others = f"{attempt.concurrent_files} other file(s)" if attempt.concurrent_files else "no other file"
        when = f"{at:%Y-%m-%d %H:%M:%S} UTC, {format_seconds(attempt.after_s)} after the run's first file"
        yield "started", f"{when}, {others} running"
    if result.start_delayed_by:
        yield "waited for", f"{result.start_delayed_by}, although a slot was free"
    worker = f"{result.worker}, " if result.worker else ""
    alone = ", exclusively throughout" if result.was_alone else ""
    yield "where", f"{worker}slot {result.slot}{alone}"
    yield "took", _time_text(result.duration, result.cpu_s)
    if result.peak_bytes is not None:
        limit = f" (current limit {format_bytes(limit_bytes)})" if limit_bytes else ""
        yield "memory", f"peak {format_bytes(result.peak_bytes)}{limit}"
    note = f": {result.isolation_note}" if result.isolation_note else ""
    how = "forked" if result.isolation is Isolation.FORK else "spawned"
    by = f", by {result.interpreter}" if result.interpreter else ""
    yield "process", f"{how}{by}{note}"
    if attempt.output:
        yield "output", attempt.output


def _test_facts(attempt: PastAttempt, tests: Sequence[str]) -> _Facts:
    """Yield what is known of the tests of an attempt; those that the user named have lines of their own."""
    cases = attempt.result.cases
    if cases:
        all_s = format_seconds(sum(case.seconds for case in cases))
        slowest = attempt.slowest_tests[:_MAX_TESTS]
        shown = ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in slowest)
        slow = f"; the slowest: {shown}" if slowest else ""
        yield "tests", f"{len(cases)} in {all_s}{slow}"
    yield from _failed_tests(attempt.failed_tests)
    named = attempt.cases_of(tests)
    if tests and not named:
        yield "", f"none of them is {', '.join(tests)}"
    for name, case in named:
        message = f": {case.message}" if case.message else ""
        yield "", f"{name} {case.outcome}, {format_seconds(case.seconds)}{message}"


def _failed_tests(names: Sequence[str]) -> _Facts:
    if names:
        yield "failed tests", ", ".join(first_texts(names, _MAX_TESTS))


def _next_run(what: Explanation, planned: PlannedFile) -> _Facts:
    task = planned.task
    yield "order", f"number {what.position} of {what.total}: {planned.order_reason}"
    yield "process", what.start_method
    if task.parts:
        longest_s = max(part.predicted_s or 0.0 for part in task.as_parts)
        yield "parts", f"{len(task.parts)}, the longest is expected to take {format_seconds(longest_s)}"
    elif what.known is not None and what.known.is_indivisible:
        yield "parts", "none: in parts it was not the file that it is as a whole"
    if task.predicted_s is not None:
        waits = "; I/O-bound" if task.is_io_bound else ""
        yield "expected", f"{_time_text(task.predicted_s, task.predicted_cpu_s)}{waits}"
    else:
        yield "expected", "unknown: it is assumed to take the median time"
    reserved = "what files of this project, or of this machine, usually need: its own peak is unknown"
    if task.predicted_bytes is not None:
        reserved = f"{format_bytes(task.predicted_bytes)} (the expected peak times {MEMORY_MARGIN})"
    yield "reserved", reserved
    limit, budget = format_bytes(what.limit_bytes), format_bytes(what.budget_bytes)
    yield "memory limit", f"{limit} of {budget} for all files"
    yield "time limit", format_seconds(task.limits.timeout_s)
    if task.exclusive:
        yield "exclusive", "no other file runs at the same time: it failed in parallel"
    if planned.baseline is not None:
        yield "known spawned", _figures_text(planned.baseline.spawned)
        yield "known forked", _figures_text(planned.baseline.forked)
    if what.group_max is not None:
        yield "group", f"{task.group}, at most {what.group_max} at a time"
    for patterns, settings in what.overrides:
        yield "override", f"{patterns}: {settings}"


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
