"""Reads the verdicts of files from the record of a killed run. Pure.

A verdict that was reached counts, as in the run itself. A file without a verdict is lost; what is known about
its running attempt is kept.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import structs

from dispatcher.engine.retry import NextAttempt
from dispatcher.engine.state import RunState
from dispatcher.merge.reader import RecordedRun
from dispatcher.model.events import AttemptFinished, AttemptStarted, UsageSampled, VerdictSettled
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts
from passmuster.model.executor import FileUsage
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.units import format_bytes, format_seconds


class CutFile(NamedTuple):
    """A planned file of an incomplete record."""

    record: FileAttempts
    is_lost: bool
    """Whether the record ends before a verdict."""
    settled: RerunReason | None
    """Why the unfinished attempt was made, if an earlier attempt decided the file; else None."""


def cut_files(record: RecordedRun, unfinished: Status = Status.LOST) -> list[CutFile]:
    """Return the result of each planned file of an incomplete record; none without its first event.

    Args:
        unfinished: the status of a file without a result.
    """
    if record.started is None:
        return []
    planned = {item.file.path: item for item in record.started.plan.files}
    state = RunState(tuple(planned.values()))
    last: dict[str, AttemptStarted | AttemptFinished] = {}
    used: dict[str, FileUsage] = {}
    for event in record.events:
        match event:
            case AttemptStarted(file=file) if file.path in planned:
                state.start(file.path, event.at_s)
                last[file.path] = event
                used.pop(file.path, None)
            case UsageSampled(usage=usage):
                used |= {file.file_path: file for file in usage.files}
            case AttemptFinished(file=file, result=result, rerun_reason=again) if file.path in planned:
                following = None
                if again is not None and again is not RerunReason.SETTLED:
                    following = NextAttempt(task=planned[file.path].task, reason=again)
                state.end_attempt(file.path, result, following)
                last[file.path] = event
            case VerdictSettled(file=file) if file.path in planned:
                state.settle(file.path)
            case _:
                pass
    found = []
    for path in planned:
        # A verdict that only awaited verification stands. For a decided file neither has an effect.
        reason = state[path].reason
        is_settled, is_lost = state.settle(path) is not None, False
        if not is_settled:
            lost = _lost(path, record, last.get(path), used.get(path))
            is_lost = state.end_attempt(path, structs.replace(lost, status=unfinished))
        found.append(CutFile(state[path].record(), is_lost, reason if is_settled else None))
    return found


def _lost(
    path: str, record: RecordedRun, last: AttemptStarted | AttemptFinished | None, used: FileUsage | None
) -> TestResult:
    """Return what is known about an attempt without a result."""
    shard = record.header.shard
    where = f"the record of shard {shard.number} of {shard.total} ends"
    match last:
        case None:
            return TestResult(file_path=path, status=Status.LOST, error=f"not started when {where}")
        case AttemptFinished(result=result):
            error = f"waiting to rerun when {where}"
            return TestResult(file_path=path, status=Status.LOST, error=error, attempt=result.attempt + 1)
    seconds = record.events[-1].at_s - last.at_s
    memory_bytes = used.used_bytes if used is not None else 0
    memory = f", with {format_bytes(memory_bytes)} when last measured," if memory_bytes else ""
    run_started_at = record.started.started_at if record.started is not None else 0.0
    return TestResult(
        file_path=path,
        status=Status.LOST,
        error=f"running for {format_seconds(seconds)}{memory} when {where}",
        attempt=last.attempt,
        duration=seconds,
        peak_bytes=memory_bytes or None,
        started_at=run_started_at + last.at_s,
        worker=last.worker,
    )
