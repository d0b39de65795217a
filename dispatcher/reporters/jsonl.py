"""Writes a run as JSON Lines, one object for each event, for programs to read.

`docs/reference/settings.md` (Events) documents the fields. Sizes are bytes (`_bytes`), times seconds (`_s`),
instants Unix time (`_at`); an unknown value is null.

The file is ASCII: other characters are JSON escapes. A byte of a file's name that is not UTF-8 is written as
the text `\\udcff`, and the object then has `"escaped": true`. Each line is flushed, so that the file can be
followed while it grows.
"""

from __future__ import annotations

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
from dispatcher.model.plan import PlannedFile
from dispatcher.model.results import FileAttempts, Finding, TestResults
from dispatcher.reporters.console.totals import summarize
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import Usage
from passmuster.model.result import TestResult
from passmuster.model.text import JsonValue, bounded_tail, json_fields, json_line

VERSION = 2
"""Counts up when a field changes its meaning or goes away."""

TAIL_CHARS = 4096
"""Characters of output in an event: enough for the last traceback; the run's directory has all of it."""

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
            raise ConfigurationError(
                f"cannot write the events to {str(path)!r} (from --events): {error.strerror or error}; "
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
        return InfrastructureError(
            f"cannot write the events to {str(self._path)!r}: {error.strerror or error}; "
            "the file is not complete"
        )


def _payload(event: RunEvent) -> dict[str, JsonValue]:
    match event:
        case RunStarted():
            return _run_started(event)
        case AttemptStarted():
            return _file("file-started", event) | json_fields(event, "attempt", "attempt_reason", "worker")
        case FileSlow():
            return _file("file-slow", event) | json_fields(event, "elapsed_s=seconds")
        case AttemptFinished():
            reasons = json_fields(event, "rerun_reason", "attempt_reason", "finding")
            return _file("file-finished", event) | reasons | _result(event.result)
        case VerdictSettled():
            verdict = json_fields(event.result, "attempt", "status")
            return _file("file-settled", event) | verdict | json_fields(event, "attempt_reason", "finding")
        case UsageSampled():
            return _head("usage", event.at_s) | _usage(event.usage, event.waiting)
        case Notice():
            return _head("notice", event.at_s) | {"text": event.text}
        case RunStopping():
            return _head("run-stopping", event.at_s) | {"cause": str(event.cause)}
        case RunFinished():
            return _head("run-finished", event.at_s) | _results(event.results)
        case _:
            assert_never(event)


def _head(name: str, at_s: float) -> dict[str, JsonValue]:
    return {"event": name, "at_s": round(at_s, 6)}


def _file(
    name: str, event: AttemptStarted | FileSlow | AttemptFinished | VerdictSettled
) -> dict[str, JsonValue]:
    return _head(name, event.at_s) | json_fields(event.file, "path", "label")


def _run_started(event: RunStarted) -> dict[str, JsonValue]:
    part = event.plan.shard
    # The version follows the name of the event, because readers must check it first.
    return {
        "event": "run-started",
        "version": VERSION,
        "at_s": round(event.at_s, 6),
        "run_id": event.plan.run_id,
        "started_at": round(event.started_at, 6),
        "files": len(event.plan.files),
        "limits": [json_fields(limit, "name", "value", "source") for limit in event.limits],
        "shard": part.shard.number if part is not None else None,
        "shards": part.shard.total if part is not None else None,
        "plan_digest": part.digest if part is not None else None,
    }


def _planned(planned: PlannedFile, at_s: float) -> dict[str, JsonValue]:
    return (
        _head("file-planned", at_s)
        | json_fields(planned.file, "path", "label", "kind")
        | json_fields(planned, "order_reason")
        | json_fields(planned.task, "predicted_s", "predicted_bytes")
        | {"parts": len(planned.task.parts)}
    )


def _result(result: TestResult) -> dict[str, JsonValue]:
    return {
        **json_fields(result, "attempt", "status", "error", "note"),
        **json_fields(result, "cached=is_cached", "duration_s=duration"),
        **json_fields(result, "started_at", "runner", "exit_code", "signal", "stop_reason", "peak_bytes"),
        **json_fields(result, "cpu_s", "worker", "interpreter", "slot", "start_delayed_by", "leaked"),
        "cases": [
            json_fields(case, "id=case_id", "outcome", "duration_s=seconds", "message")
            for case in result.cases
        ],
        "output_tail": bounded_tail(result.output, TAIL_CHARS),
        "output_chars": len(result.output),
        "output_dropped_bytes": result.output_dropped_bytes,
        "stacks_tail": bounded_tail(result.stacks, TAIL_CHARS),
        **json_fields(result, "kept_tmp", "isolation", "isolation_note", "was_alone"),
    }


def _usage(usage: Usage, waiting: int) -> dict[str, JsonValue]:
    other = usage.other_runs
    fields = ("what", "duration_s=seconds", "needed_bytes", "held_by")
    return {
        **json_fields(usage, "slots", "budget_bytes", "used_bytes", "peak_bytes"),
        "waiting": waiting,
        "other_runs": None if other is None else json_fields(other, *fields),
        "files": [
            json_fields(file, "path=file_path", "slot", "duration_s=seconds", "used_bytes", "worker")
            for file in usage.files
        ],
        "workers": [
            json_fields(one, "name", "slots", "busy", "budget_bytes", "used_bytes") for one in usage.workers
        ],
    }


def _results(results: TestResults) -> dict[str, JsonValue]:
    summary = summarize(results)
    return {
        **json_fields(results, "duration_s", "peak_bytes", "tests_cpu_s", "own_cpu_s", "interrupted"),
        **json_fields(
            summary, "total", "passed", "failed", "not_run", "without_tests", "flaky", "forked", "cached"
        ),
        "failed_paths": _paths(results.failed),
        "not_run_paths": _paths(results.cancelled),
        "flaky_paths": _paths(results.flaky),
        "fails_when_forked_paths": _paths(results.found(Finding.FAILS_WHEN_FORKED)),
        "passes_only_forked_paths": _paths(results.found(Finding.PASSES_ONLY_FORKED)),
        "fails_in_parallel_paths": _paths(results.found(Finding.FAILS_IN_PARALLEL)),
        "fails_in_parts_paths": _paths(results.found(Finding.FAILS_IN_PARTS)),
        "indivisible_paths": _paths(results.found(Finding.INDIVISIBLE)),
        "unverified_paths": _paths(results.found(Finding.UNVERIFIED)),
        "differences": [
            {"path": difference.file.path, "texts": list(difference.texts)}
            for difference in results.differing
        ],
        "regressions": [
            {
                "path": found.file.path,
                **json_fields(found, "measure", "baseline", "now", "factor", "run_slowdown"),
                "changed": found.is_changed,
            }
            for found in results.regressions
        ],
    }


def _paths(records: tuple[FileAttempts, ...]) -> list[JsonValue]:
    return [record.file.path for record in records]
