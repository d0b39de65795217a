"""Combines the records of files whose parts ran on several shards. Pure.

Each shard has combined its own parts. If all of them passed, they are combined into the result of the file.
Otherwise the result is that of a shard that ran the whole file, or whose parts did not pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from dispatcher.model.events import AttemptFinished, AttemptStarted, FileSlow, RunEvent, VerdictSettled
from dispatcher.model.file_parts import join_parts
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts
from passmuster.model.status import Status

_OF_ONE_FILE = (AttemptStarted, AttemptFinished, FileSlow, VerdictSettled)


def join_shared(records: Iterable[FileAttempts]) -> dict[str, FileAttempts]:
    """Return the combined record of each file that has several, by path."""
    by_path: dict[str, list[FileAttempts]] = defaultdict(list)
    for record in records:
        by_path[record.file.path].append(record)
    return {path: _join(found) for path, found in by_path.items() if len(found) > 1}


def with_shared_records(
    records: Iterable[FileAttempts], shared: Mapping[str, FileAttempts]
) -> tuple[FileAttempts, ...]:
    """Return the records with each file once."""
    found = {record.file.path: shared.get(record.file.path, record) for record in records}
    return tuple(found.values())


def with_shared_events(events: Sequence[RunEvent], shared: Mapping[str, FileAttempts]) -> list[RunEvent]:
    """Return the events, those of a shared file only once, at the time when the last shard finished it."""
    last: dict[str, float] = {}
    for event in events:
        if isinstance(event, _OF_ONE_FILE) and event.file.path in shared:
            last[event.file.path] = event.at_s
    found = [event for event in events if not (isinstance(event, _OF_ONE_FILE) and event.file.path in shared)]
    found += [one for path, at_s in last.items() for one in _events_of(shared[path], at_s)]
    return sorted(found, key=lambda event: event.at_s)


def _join(records: Sequence[FileAttempts]) -> FileAttempts:
    """Return one record of a file."""
    failed = [record for record in records if not record.status.is_pass]
    whole = [record for record in records if not record.final.parts]
    if failed or whole:
        return (failed or whole)[0]
    joined = join_parts([record.final for record in records])
    if joined.is_partial:
        joined = replace(joined, status=Status.START_ERROR, error="not all its parts ran")
    return FileAttempts(file=records[0].file, attempts=(joined,), reasons=(None,))


def _events_of(record: FileAttempts, at_s: float) -> Iterator[RunEvent]:
    """Yield the events of a file as a single machine would have reported them."""
    reasons = record.reasons or (None,) * len(record.attempts)
    is_settled = record.final is not record.attempts[-1]
    following = (*reasons[1:], RerunReason.SETTLED if is_settled else None)
    for attempt, reason, rerun_reason in zip(record.attempts, reasons, following, strict=True):
        yield AttemptStarted(
            at_s=at_s, file=record.file, attempt=attempt.attempt, attempt_reason=reason, worker=attempt.worker
        )
        yield AttemptFinished(
            at_s=at_s,
            file=record.file,
            result=attempt,
            rerun_reason=rerun_reason,
            attempt_reason=reason,
            finding=record.finding if rerun_reason is None else None,
        )
    if is_settled and (reason := reasons[-1]) is not None:
        yield VerdictSettled(
            at_s=at_s, file=record.file, result=record.final, attempt_reason=reason, finding=record.finding
        )
