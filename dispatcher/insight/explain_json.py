"""What `explain --json` says, as one object on one line. Pure."""

from __future__ import annotations

from dispatcher.insight.explanation import Explanation, reasons_of
from dispatcher.insight.last_run import PastAttempt
from dispatcher.plan import PlannedFile
from dispatcher.report.json_line import JsonValue, json_line
from dispatcher.schedule.figures import Figures

VERSION = 1
"""Counts up when a field changes its meaning or goes away."""


def explain_json(what: Explanation) -> bytes:
    """Return the object."""
    last = what.last
    last_run: JsonValue = None
    if last is not None:
        reasons = reasons_of([attempt.result for attempt in last.attempts])
        last_run = {
            "run_id": last.run_id,
            "complete": last.is_complete,
            "attempts": [
                _attempt(attempt, None if reason is None else str(reason))
                for attempt, reason in zip(last.attempts, reasons, strict=True)
            ],
        }
    return json_line(
        {
            "version": VERSION,
            "path": what.file.path,
            "label": what.file.label,
            "kind": str(what.file.kind),
            "never_ran": what.never_ran,
            "changed": what.is_changed,
            "found": what.is_found,
            "waits": [
                {
                    "pid": pid,
                    "what": waits.what,
                    "duration_s": round(waits.seconds, 3),
                    "needed_bytes": waits.needed_bytes,
                    "held_by": waits.held_by,
                }
                for pid, waits in what.waits
            ],
            "last_run": last_run,
            "next_run": None if what.planned is None else _next(what, what.planned),
            "outcomes": [[str(status) for status in run] for run in what.outcomes],
        }
    )


def _attempt(attempt: PastAttempt, reason: str | None) -> dict[str, JsonValue]:
    result = attempt.result
    return {
        "attempt": result.attempt,
        "status": str(result.status),
        "error": result.error,
        "reason": reason,
        "started_at": result.started_at,
        "after_s": round(attempt.after_s, 6),
        "beside": attempt.beside,
        "waited_for": result.waited_for,
        "worker": result.worker,
        "interpreter": result.interpreter,
        "slot": result.slot,
        "was_alone": result.was_alone,
        "duration_s": round(result.duration, 6),
        "cpu_s": result.cpu_s,
        "peak_bytes": result.peak_bytes,
        "isolation": str(result.isolation),
        "isolation_note": result.isolation_note,
        "output": attempt.output or None,
    }


def _next(what: Explanation, planned: PlannedFile) -> dict[str, JsonValue]:
    task, baseline = planned.task, planned.baseline
    return {
        "place": what.place,
        "files": what.total,
        "because": planned.because,
        "isolation": str(task.isolation),
        "isolation_why": what.way,
        "predicted_s": task.predicted_s,
        "predicted_cpu_s": task.predicted_cpu_s,
        "predicted_bytes": task.predicted_bytes,
        "limit_bytes": what.limit_bytes,
        "budget_bytes": what.budget_bytes,
        "timeout_s": task.limits.timeout_s,
        "alone": task.alone,
        "spawned": None if baseline is None else _figures(baseline.spawned),
        "forked": None if baseline is None else _figures(baseline.forked),
        "group": task.group,
        "group_most": what.group_most,
        "overrides": [{"files": patterns, "says": said} for patterns, said in what.rules],
    }


def _figures(figures: Figures) -> dict[str, JsonValue]:
    return {
        "duration_s": figures.duration_s,
        "cpu_s": figures.cpu_s,
        "peak_bytes": figures.peak_bytes,
        "runs": figures.runs,
    }
