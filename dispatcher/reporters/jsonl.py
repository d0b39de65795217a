"""Writes a run as JSON Lines, one object for each event, for programs to read.

`docs/reference/settings.md` (Events) documents the fields. Sizes are bytes (`_bytes`), times seconds (`_s`),
instants Unix time (`_at`); an unknown value is null.

The file is ASCII: other characters are JSON escapes. A byte of a file's name that is not UTF-8 is written as
the text `\\udcff`, and the object then has `"escaped": true`. Each line is flushed, so that the file can be
followed while it grows.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, assert_never

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStopping,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.results import FileAttempts, Finding, TestResults
from dispatcher.reporters.console.totals import summarize
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import OtherRuns
from passmuster.model.result import TestResult
from passmuster.model.text import JsonValue, bounded_tail, json_line

VERSION = 2
"""Counts up when a field changes its meaning or goes away."""

TAIL_CHARS = 4096
"""Characters of output in an event: enough for the last traceback; the whole is among the run's files."""

USAGE_EVERY_S = 1.0
"""Seconds between two `usage` lines at least."""


class JsonlReporter:
    """Writes each event as a line to the file `path`, which it replaces.

    Raises:
        ConfigurationError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._usage_at_s: float | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("wb")
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigurationError(
                f"cannot write the events to {str(path)!r} (from --events): {reason}; "
                "name a file that can be written"
            ) from error

    def handle(self, event: RunEvent) -> None:
        """Write `event`.

        Raises:
            InfrastructureError: it cannot be written.
        """
        if isinstance(event, UsageSampled):
            if self._usage_at_s is not None and event.at_s - self._usage_at_s < USAGE_EVERY_S:
                return
            self._usage_at_s = event.at_s
        lines = [json_line(_payload(event))]
        if isinstance(event, RunStarted):
            lines += [json_line(_planned(planned, event.at_s)) for planned in event.plan.files]
        try:
            self._file.write(b"".join(lines))
            self._file.flush()
        except OSError as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Close the file.

        Raises:
            InfrastructureError: what was still buffered cannot be written.
        """
        try:
            self._file.close()
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> InfrastructureError:
        reason = error.strerror or str(error)
        return InfrastructureError(
            f"cannot write the events to {str(self._path)!r}: {reason}; the file is not complete"
        )


def _payload(event: RunEvent) -> dict[str, JsonValue]:
    match event:
        case RunStarted():
            return _run_started(event)
        case AttemptStarted():
            return _file_started(event)
        case FileSlow():
            return _head("file-slow", event.at_s) | _file(event.file) | {"elapsed_s": _rounded(event.seconds)}
        case AttemptFinished():
            return _file_finished(event)
        case VerdictSettled():
            return _file_settled(event)
        case UsageSampled():
            return _usage(event)
        case Notice():
            return _head("notice", event.at_s) | {"text": event.text}
        case RunStopping():
            return _head("run-stopping", event.at_s) | {"cause": str(event.cause)}
        case RunFinished():
            return _head("run-finished", event.at_s) | _results(event.results)
        case _:
            assert_never(event)


def _head(name: str, at_s: float) -> dict[str, JsonValue]:
    return {"event": name, "at_s": _rounded(at_s)}


def _file(file: TestFile) -> dict[str, JsonValue]:
    return {"path": file.path, "label": file.label}


def _run_started(event: RunStarted) -> dict[str, JsonValue]:
    part = event.plan.shard
    # The version stands right behind the name: it is what a reader must look at first.
    return {
        "event": "run-started",
        "version": VERSION,
        "at_s": _rounded(event.at_s),
        "run_id": event.plan.run_id,
        "started_at": _rounded(event.started_at),
        "files": len(event.plan.files),
        "limits": [
            {"name": limit.name, "value": limit.value, "source": limit.source} for limit in event.limits
        ],
        "shard": part.shard.number if part is not None else None,
        "shards": part.shard.total if part is not None else None,
        "plan_digest": part.digest if part is not None else None,
    }


def _planned(planned: PlannedFile, at_s: float) -> dict[str, JsonValue]:
    return (
        _head("file-planned", at_s)
        | _file(planned.file)
        | {
            "kind": str(planned.file.kind),
            "order_reason": planned.order_reason,
            "predicted_s": planned.task.predicted_s,
            "predicted_bytes": planned.task.predicted_bytes,
        }
    )


def _file_started(event: AttemptStarted) -> dict[str, JsonValue]:
    attempt: dict[str, JsonValue] = {
        "attempt": event.attempt,
        "attempt_reason": _word(event.attempt_reason),
        "worker": event.worker,
    }
    return _head("file-started", event.at_s) | _file(event.file) | attempt


def _file_finished(event: AttemptFinished) -> dict[str, JsonValue]:
    why: dict[str, JsonValue] = {
        "rerun_reason": _word(event.rerun_reason),
        "attempt_reason": _word(event.attempt_reason),
        "finding": _word(event.finding),
    }
    return _head("file-finished", event.at_s) | _file(event.file) | why | _result(event.result)


def _file_settled(event: VerdictSettled) -> dict[str, JsonValue]:
    return (
        _head("file-settled", event.at_s)
        | _file(event.file)
        | {
            "attempt": event.result.attempt,
            "status": str(event.result.status),
            "attempt_reason": str(event.attempt_reason),
            "finding": _word(event.finding),
        }
    )


def _word(value: StrEnum | None) -> str | None:
    return None if value is None else str(value)


def _result(result: TestResult) -> dict[str, JsonValue]:
    return {
        "attempt": result.attempt,
        "status": str(result.status),
        "error": result.error,
        "note": result.note,
        "duration_s": _rounded(result.duration),
        "started_at": _rounded(result.started_at),
        "runner": str(result.runner),
        "exit_code": result.exit_code,
        "signal": result.signal,
        "stop_reason": _word(result.stop_reason),
        "peak_bytes": result.peak_bytes,
        "cpu_s": None if result.cpu_s is None else _rounded(result.cpu_s),
        "worker": result.worker,
        "interpreter": result.interpreter,
        "slot": result.slot,
        "start_delayed_by": result.start_delayed_by,
        "leaked": list(result.leaked),
        "cases": [
            {
                "id": case.case_id,
                "outcome": str(case.outcome),
                "duration_s": _rounded(case.seconds),
                "message": case.message,
            }
            for case in result.cases
        ],
        "output_tail": bounded_tail(result.output, TAIL_CHARS),
        "output_chars": len(result.output),
        "output_dropped_bytes": result.output_dropped_bytes,
        "stacks_tail": bounded_tail(result.stacks, TAIL_CHARS),
        "kept_tmp": result.kept_tmp,
        "isolation": str(result.isolation),
        "isolation_note": result.isolation_note,
        "was_alone": result.was_alone,
    }


def _usage(event: UsageSampled) -> dict[str, JsonValue]:
    usage = event.usage
    return _head("usage", event.at_s) | {
        "slots": usage.slots,
        "budget_bytes": usage.budget_bytes,
        "used_bytes": usage.used_bytes,
        "peak_bytes": usage.peak_bytes,
        "waiting": event.waiting,
        "other_runs": _other_runs(usage.other_runs),
        "files": [
            {
                "path": file.file_path,
                "slot": file.slot,
                "duration_s": _rounded(file.seconds),
                "used_bytes": file.used_bytes,
                "worker": file.worker,
            }
            for file in usage.files
        ],
        "workers": [
            {
                "name": worker.name,
                "slots": worker.slots,
                "busy": worker.busy,
                "budget_bytes": worker.budget_bytes,
                "used_bytes": worker.used_bytes,
            }
            for worker in usage.workers
        ],
    }


def _other_runs(found: OtherRuns | None) -> dict[str, JsonValue] | None:
    if found is None:
        return None
    return {
        "what": found.what,
        "duration_s": _rounded(found.seconds),
        "needed_bytes": found.needed_bytes,
        "held_by": found.held_by,
    }


def _results(results: TestResults) -> dict[str, JsonValue]:
    summary = summarize(results)
    return {
        "duration_s": _rounded(results.duration_s),
        "peak_bytes": results.peak_bytes,
        "interrupted": results.interrupted,
        "total": summary.total,
        "passed": summary.passed,
        "failed": summary.failed,
        "not_run": summary.not_run,
        "without_tests": summary.without_tests,
        "flaky": summary.flaky,
        "forked": summary.forked,
        "failed_paths": _paths(results.failed),
        "not_run_paths": _paths(results.cancelled),
        "flaky_paths": _paths(results.flaky),
        "fails_when_forked_paths": _paths(results.found(Finding.FAILS_WHEN_FORKED)),
        "passes_only_forked_paths": _paths(results.found(Finding.PASSES_ONLY_FORKED)),
        "fails_in_parallel_paths": _paths(results.found(Finding.FAILS_IN_PARALLEL)),
        "unverified_paths": _paths(results.found(Finding.UNVERIFIED)),
        "differences": [
            {"path": difference.file.path, "texts": list(difference.texts)}
            for difference in results.differing
        ],
        "regressions": [
            {
                "path": found.file.path,
                "measure": str(found.measure),
                "baseline": _rounded(found.baseline),
                "now": _rounded(found.now),
                "factor": _rounded(found.factor),
                "run_slowdown": _rounded(found.run_slowdown),
                "changed": found.is_changed,
            }
            for found in results.regressions
        ],
    }


def _paths(records: tuple[FileAttempts, ...]) -> list[JsonValue]:
    return [record.file.path for record in records]


def _rounded(seconds: float) -> float:
    return round(seconds, 6)
