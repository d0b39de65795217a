"""Combines several records into the events of one run. Pure.

Each machine's time starts with its own run, so clock differences have no effect. Events of shard 2 name it as
their worker. Memory belongs to each machine, so the peak of the whole is the highest of theirs, next to the
budget that each of them had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set

from msgspec import structs

from dispatcher.config.model import DEFAULT_REGRESSION_FACTOR
from dispatcher.history.regressions import find_regressions
from dispatcher.merge.cut import CutFile, cut_files
from dispatcher.merge.reader import RecordedRun
from dispatcher.merge.record_check import RecordCheck
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStopping,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.results import FileAttempts, TestResults
from passmuster.model.executor import Limit, Usage, WorkerUsage
from passmuster.model.result import LOCAL_WORKER, TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask


def combine_records(
    records: Sequence[RecordedRun],
    proof: RecordCheck,
    *,
    regression_factor: float = DEFAULT_REGRESSION_FACTOR,
    fails_on_regression: bool = False,
    allows_no_tests: bool = False,
) -> tuple[RunEvent, ...]:
    """Return the events of one run made of all records.

    Args:
        records: of one plan, at most one of each shard.
        proof: what is missing from them.
        regression_factor: the factor above the baseline from which a file counts as regressed.
        fails_on_regression: whether a regression fails the run.
        allows_no_tests: whether the run may pass although no test ran.
    """
    records = sorted(records, key=lambda record: record.header.shard.number)
    started = [event for record in records if (event := record.started) is not None]
    starts_at = min((event.started_at for event in started), default=0.0)
    cut = {record.header.shard.number: cut_files(record) for record in records if _is_trusted_prefix(record)}
    lost = _lost_files(records, proof, told={number for number, files in cut.items() if files})
    run_id = min(record.header.run_id for record in records)
    planned = [planned for event in started for planned in event.plan.files]
    known = {item.file.path for item in planned}
    planned += [_unplanned(record, run_id) for record in lost if record.file.path not in known]
    first = RunStarted(
        at_s=0.0,
        started_at=starts_at,
        plan=RunPlan(run_id=run_id, files=tuple(planned), groups=started[0].plan.groups if started else ()),
        limits=_limits(started),
    )
    common = set.intersection(*(set(_notices(record)) for record in records)) if len(records) > 1 else set()
    middle: list[RunEvent] = [Notice(at_s=0.0, text=text) for text in sorted(common)]
    middle += [event for record in records for event in _moved(record, starts_at, common)]
    middle = sorted(_with_all_machines(sorted(middle, key=_at_s)), key=_at_s)
    ends_at = max((event.at_s for event in middle), default=0.0)
    told = _of_cut(records, cut, starts_at)
    middle += [_end_of(file, ends_at) for file in told if _lacks_verdict(file)]
    middle += [AttemptFinished(at_s=ends_at, file=record.file, result=record.final) for record in lost]
    results = _results(records, [file.record for file in told], lost, starts_at)
    results = structs.replace(
        results,
        regressions=find_regressions(planned, results.records, factor=regression_factor),
        fails_on_regression=fails_on_regression,
        allows_no_tests=allows_no_tests,
    )
    return (first, *middle, RunFinished(at_s=max(ends_at, results.duration_s), results=results))


def _at_s(event: RunEvent) -> float:
    return event.at_s


def _name(record: RecordedRun) -> str:
    return f"shard {record.header.shard.number}" if record.header.shard.total > 1 else ""


def _notices(record: RecordedRun) -> Iterator[str]:
    return (event.text for event in record.events if isinstance(event, Notice))


def _moved(record: RecordedRun, starts_at: float, common: Set[str]) -> Iterator[RunEvent]:
    """Yield a record's events between its first and its last one, as part of the whole.

    Args:
        starts_at: when the whole started.
        common: the notices that all records share, which are emitted once.
    """
    name, by_s = _name(record), _shift_s(record, starts_at)
    last: Usage | None = None
    for event in record.events:
        match event:
            case RunStarted():
                continue
            case RunFinished():
                if last is not None and name:
                    # A machine that has finished uses nothing while the others continue.
                    last = structs.replace(last, used_bytes=0, files=())
                    yield UsageSampled(at_s=event.at_s, waiting=0, usage=_usage(last, name))
            case Notice(text=text) if text in common:
                continue
            case AttemptStarted():
                yield structs.replace(event, worker=_worker(name, event.worker))
            case AttemptFinished() | VerdictSettled():
                yield structs.replace(event, result=_result(event.result, name, by_s))
            case UsageSampled() if name:
                last = event.usage
                yield structs.replace(event, usage=_usage(event.usage, name))
            case Notice() if name:
                yield structs.replace(event, text=f"{name}: {event.text}")
            case RunStopping() if name:
                yield Notice(at_s=event.at_s, text=f"{name} stopped early: {event.cause}")
            case _:
                yield event


def _shift_s(record: RecordedRun, starts_at: float) -> float:
    """Return the offset that makes a machine's clock start with the others."""
    return starts_at - record.started.started_at if record.started is not None else 0.0


def _worker(name: str, worker: str) -> str:
    """Return the worker of a file, as part of the whole: a shard, or a worker of a run that was not split."""
    return name if name and worker in ("", LOCAL_WORKER) else f"{name}, {worker}" if name else worker


def _result(result: TestResult, name: str, by_s: float) -> TestResult:
    started_at = result.started_at + by_s if result.started_at else 0.0
    return structs.replace(result, worker=_worker(name, result.worker), started_at=started_at)


def _usage(usage: Usage, name: str) -> Usage:
    """Return one machine's usage as that of a worker."""
    worker = WorkerUsage(
        name=name,
        slots=usage.slots,
        busy=len(usage.files),
        budget_bytes=usage.budget_bytes,
        used_bytes=usage.used_bytes,
    )
    files = tuple(structs.replace(file, worker=_worker(name, file.worker)) for file in usage.files)
    return structs.replace(usage, files=files, workers=(worker,))


def _with_all_machines(events: Sequence[RunEvent]) -> Iterator[RunEvent]:
    """Yield the events, each usage sample combined with the latest ones of the other machines."""
    last: dict[str, UsageSampled] = {}
    for event in events:
        if not isinstance(event, UsageSampled) or not event.usage.workers:
            yield event
            continue
        last[event.usage.workers[0].name] = event
        usages = [sample.usage for sample in last.values()]
        yield UsageSampled(
            at_s=event.at_s,
            waiting=sum(sample.waiting for sample in last.values()),
            usage=Usage(
                slots=sum(usage.slots for usage in usages),
                budget_bytes=sum(usage.budget_bytes for usage in usages),
                used_bytes=sum(usage.used_bytes for usage in usages),
                peak_bytes=max(usage.peak_bytes for usage in usages),
                files=tuple(file for usage in usages for file in usage.files),
                workers=tuple(worker for usage in usages for worker in usage.workers),
            ),
        )


def _limits(started: Sequence[RunStarted]) -> tuple[Limit, ...]:
    """Return the limits of all machines; those that are equal everywhere appear once."""
    found: dict[str, list[Limit]] = {}
    for event in started:
        for limit in event.limits:
            found.setdefault(limit.name, []).append(limit)
    merged = []
    for name, limits in found.items():
        values = list(dict.fromkeys(limit.value for limit in limits))
        source = limits[0].source if len(limits) == 1 else f"each of {len(limits)} machines"
        merged.append(Limit(name=name, value=" or ".join(values), source=source))
    return tuple(merged)


def _is_trusted_prefix(record: RecordedRun) -> bool:
    """Whether a record is incomplete, and the part before its end can be trusted."""
    return record.is_cut and record.results is None


def _of_cut(
    records: Sequence[RecordedRun], cut: Mapping[int, Sequence[CutFile]], starts_at: float
) -> list[CutFile]:
    """Return the files of incomplete records, as part of the whole."""
    return [
        file._replace(record=_file_record(file.record, _name(record), _shift_s(record, starts_at)))
        for record in records
        for file in cut.get(record.header.shard.number, ())
    ]


def _lacks_verdict(file: CutFile) -> bool:
    """Whether the record ends before a file's verdict."""
    return file.settled is not None or file.is_lost


def _end_of(file: CutFile, at_s: float) -> RunEvent:
    record = file.record
    if file.settled is None:
        return AttemptFinished(at_s=at_s, file=record.file, result=record.final)
    return VerdictSettled(
        at_s=at_s, file=record.file, result=record.final, attempt_reason=file.settled, finding=record.finding
    )


def _results(
    records: Sequence[RecordedRun],
    told: Sequence[FileAttempts],
    lost: Sequence[FileAttempts],
    starts_at: float,
) -> TestResults:
    whole = [(record, results) for record in records if (results := record.results) is not None]
    files = [
        _file_record(item, _name(record), _shift_s(record, starts_at))
        for record, results in whole
        for item in results.records
    ]
    gone = {record.file.path for record in lost}
    told_of = [record for record in records if _is_trusted_prefix(record)]
    ends = [record.events[-1].at_s for record in told_of if record.events]
    peaks = [
        event.usage.peak_bytes
        for record in told_of
        for event in record.events
        if isinstance(event, UsageSampled)
    ]
    return TestResults(
        records=(*(record for record in files if record.file.path not in gone), *told, *lost),
        duration_s=max((*(results.duration_s for _, results in whole), *ends), default=0.0),
        peak_bytes=max((*(results.peak_bytes for _, results in whole), *peaks), default=0),
        is_verified=any(results.is_verified for _, results in whole),
    )


def _file_record(record: FileAttempts, name: str, by_s: float) -> FileAttempts:
    return structs.replace(
        record, attempts=tuple(_result(attempt, name, by_s) for attempt in record.attempts)
    )


def _lost_files(records: Sequence[RecordedRun], proof: RecordCheck, *, told: Set[int]) -> list[FileAttempts]:
    """Return a lost result for each planned file without a trusted result.

    It follows whatever a damaged record still says about the file.

    Args:
        proof: what is missing from them.
        told: the shards whose record is incomplete but used as far as it goes.
    """
    header = records[0].header
    broken = {
        record.header.shard.number
        for record in records
        if record.broken and not (record.is_cut and record.results is not None)
    } - told
    before_of: dict[str, list[TestResult]] = defaultdict(list)
    for record in records:
        for event in record.events if record.broken else ():
            if isinstance(event, AttemptFinished):
                before_of[event.file.path].append(event.result)
    prefix, found = _prefix(records), []
    for path, number in header.whole:
        if number in proof.missing:
            error = f"shard {number} of {header.shard.total} left no record"
        elif number in broken:
            error = f"the record of shard {number} of {header.shard.total} is not whole"
        else:
            continue
        before = before_of[path]
        attempt = before[-1].attempt + 1 if before else 1
        lost = TestResult(file_path=path, status=Status.LOST, error=error, attempt=attempt)
        file = TestFile(path=path, label=path.removeprefix(prefix))
        found.append(FileAttempts(file=file, attempts=(*before, lost), started=bool(before)))
    return found


def _prefix(records: Sequence[RecordedRun]) -> str:
    """Return what the paths of files have before their labels: the working directory of the tests."""
    for record in records:
        for planned in record.started.plan.files if record.started is not None else ():
            if planned.file.path.endswith(planned.file.label):
                return planned.file.path.removesuffix(planned.file.label)
    return ""


def _unplanned(record: FileAttempts, run_id: str) -> PlannedFile:
    return PlannedFile(file=record.file, task=TestTask(run_id=run_id, file_path=record.file.path))
