"""Combines several records into the events of one run. Pure.

Each machine's time starts with its own run, so clock differences have no effect. Events of shard 2 name it as
their worker. Memory belongs to each machine, so the peak of the whole is the highest of theirs, next to the
budget that each of them had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set

from msgspec import structs

from dispatcher.config.model import DEFAULT_REGRESSION_FACTOR
from dispatcher.history.regressions import find_regressions
from dispatcher.merge.cut import CutFile, cut_files
from dispatcher.merge.reader import RecordedRun
from dispatcher.merge.record_check import RecordCheck
from dispatcher.merge.shared_files import join_shared, with_shared_events, with_shared_records
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
from passmuster.model.task import TestTask, path_of


def combine_records(
    records: Sequence[RecordedRun],
    check: RecordCheck,
    *,
    regression_factor: float = DEFAULT_REGRESSION_FACTOR,
    fails_on_regression: bool = False,
    allows_no_tests: bool = False,
    is_cancelled: bool = False,
) -> tuple[RunEvent, ...]:
    """Return the events of one run made of all records.

    Args:
        records: of one plan, at most one of each shard.
        regression_factor: the factor above the baseline from which a file counts as regressed.
        is_cancelled: whether the CI cancelled the run; files without a result are then cancelled, not lost.
    """
    records = sorted(records, key=lambda record: record.header.shard.number)
    started = [event for record in records if (event := record.started) is not None]
    starts_at = min((event.started_at for event in started), default=0.0)
    unfinished = Status.CANCELLED if is_cancelled else Status.LOST
    parts = [_Part(record, starts_at, unfinished) for record in records]
    lost = _lost_files(parts, check, unfinished)
    run_id = min(record.header.run_id for record in records)
    planned = {item.file.path: item for event in started for item in event.plan.files}
    for one in lost:
        task = TestTask(run_id=run_id, file_path=one.file.path)
        planned.setdefault(one.file.path, PlannedFile(file=one.file, task=task))
    first = RunStarted(
        at_s=0.0,
        started_at=starts_at,
        plan=RunPlan(
            run_id=run_id, files=tuple(planned.values()), groups=started[0].plan.groups if started else ()
        ),
        limits=_limits(started),
    )
    middle = _middle(parts)
    ends_at = max((event.at_s for event in middle), default=0.0)
    undecided = [file for part in parts for file in part.cut_files if file.settled or file.is_lost]
    middle += [_end_of(file, ends_at) for file in undecided]
    middle += [AttemptFinished(at_s=ends_at, file=record.file, result=record.final) for record in lost]
    results = _results(parts, lost)
    results = structs.replace(
        results,
        interrupted=results.interrupted or is_cancelled,
        fails_on_regression=fails_on_regression,
        allows_no_tests=allows_no_tests,
    )
    shared = join_shared(results.records)
    middle = with_shared_events(middle, shared)
    results = structs.replace(results, records=with_shared_records(results.records, shared))
    regressions = find_regressions(tuple(planned.values()), results.records, factor=regression_factor)
    results = structs.replace(results, regressions=regressions)
    return (first, *middle, RunFinished(at_s=max(ends_at, results.duration_s), results=results))


class _Part:
    """A record as a part of the whole: its shard is its worker, and its clock starts with the whole run."""

    def __init__(self, record: RecordedRun, starts_at: float, unfinished: Status) -> None:
        shard, started = record.header.shard, record.started
        self.record = record
        self.number = shard.number
        self.name = f"shard {shard.number}" if shard.total > 1 else ""
        self._shift_s = starts_at - started.started_at if started is not None else 0.0
        self.is_prefix = record.is_cut and record.results is None
        """Whether the record ends before the results, and can be trusted up to there."""
        self.cut_files = (
            [file._replace(record=self.moved_file(file.record)) for file in cut_files(record, unfinished)]
            if self.is_prefix
            else []
        )

    def worker(self, worker: str) -> str:
        """Return a worker as one of the whole: the shard itself, or a worker that ran for the shard."""
        if self.name and worker not in ("", LOCAL_WORKER):
            return f"{self.name}, {worker}"
        return self.name or worker

    def moved_result(self, result: TestResult) -> TestResult:
        started_at = result.started_at + self._shift_s if result.started_at else 0.0
        return structs.replace(result, worker=self.worker(result.worker), started_at=started_at)

    def moved_file(self, record: FileAttempts) -> FileAttempts:
        return structs.replace(record, attempts=tuple(map(self.moved_result, record.attempts)))

    def usage(self, usage: Usage) -> Usage:
        """Return the machine's usage as that of a worker."""
        worker = WorkerUsage(
            name=self.name,
            slots=usage.slots,
            busy=len(usage.files),
            budget_bytes=usage.budget_bytes,
            used_bytes=usage.used_bytes,
        )
        files = tuple(structs.replace(file, worker=self.worker(file.worker)) for file in usage.files)
        return structs.replace(usage, files=files, workers=(worker,))

    def notices(self) -> set[str]:
        return {event.text for event in self.record.events if isinstance(event, Notice)}

    def moved_events(self, common: Set[str]) -> Iterator[RunEvent]:
        """Yield the events between the first and the last one, as part of the whole.

        Args:
            common: the notices that all records share, which are emitted once.
        """
        last: Usage | None = None
        for event in self.record.events:
            match event:
                case RunStarted():
                    continue
                case RunFinished():
                    if last is not None and self.name:
                        # A machine that has finished uses nothing while the others continue.
                        last = structs.replace(last, used_bytes=0, files=())
                        yield UsageSampled(at_s=event.at_s, waiting=0, usage=self.usage(last))
                case Notice(text=text) if text in common:
                    continue
                case AttemptStarted():
                    yield structs.replace(event, worker=self.worker(event.worker))
                case AttemptFinished() | VerdictSettled():
                    yield structs.replace(event, result=self.moved_result(event.result))
                case UsageSampled() if self.name:
                    last = event.usage
                    yield structs.replace(event, usage=self.usage(event.usage))
                case Notice() if self.name:
                    yield structs.replace(event, text=f"{self.name}: {event.text}")
                case RunStopping() if self.name:
                    yield Notice(at_s=event.at_s, text=f"{self.name} stopped early: {event.cause}")
                case _:
                    yield event


def _middle(parts: Sequence[_Part]) -> list[RunEvent]:
    """Return the events of all records in the order of time."""
    common = set.intersection(*(part.notices() for part in parts)) if len(parts) > 1 else set[str]()
    events: list[RunEvent] = [Notice(at_s=0.0, text=text) for text in sorted(common)]
    events += [event for part in parts for event in part.moved_events(common)]
    return list(_with_all_machines(sorted(events, key=lambda event: event.at_s)))


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
    found: dict[str, list[Limit]] = defaultdict(list)
    for event in started:
        for limit in event.limits:
            found[limit.name].append(limit)
    merged = []
    for name, limits in found.items():
        values = dict.fromkeys(limit.value for limit in limits)
        source = limits[0].source if len(limits) == 1 else f"each of {len(limits)} machines"
        merged.append(Limit(name=name, value=" or ".join(values), source=source))
    return tuple(merged)


def _end_of(file: CutFile, at_s: float) -> RunEvent:
    record = file.record
    if file.settled is None:
        return AttemptFinished(at_s=at_s, file=record.file, result=record.final)
    return VerdictSettled(
        at_s=at_s, file=record.file, result=record.final, attempt_reason=file.settled, finding=record.finding
    )


def _results(parts: Sequence[_Part], lost: Sequence[FileAttempts]) -> TestResults:
    whole = [(part, results) for part in parts if (results := part.record.results) is not None]
    prefixes = [part.record.events for part in parts if part.is_prefix]
    gone = {record.file.path for record in lost}
    files = [
        part.moved_file(record)
        for part, results in whole
        for record in results.records
        if record.file.path not in gone
    ]
    ends = [events[-1].at_s for events in prefixes if events]
    peaks = [
        event.usage.peak_bytes for events in prefixes for event in events if isinstance(event, UsageSampled)
    ]
    own_s = [results.own_cpu_s for _, results in whole if results.own_cpu_s is not None]
    return TestResults(
        records=(*files, *(file.record for part in parts for file in part.cut_files), *lost),
        duration_s=max((*(results.duration_s for _, results in whole), *ends), default=0.0),
        peak_bytes=max((*(results.peak_bytes for _, results in whole), *peaks), default=0),
        own_cpu_s=sum(own_s) if len(own_s) == len(parts) else None,
        interrupted=any(results.interrupted for _, results in whole),
        is_verified=any(results.is_verified for _, results in whole),
        inputs=tuple(one for _, results in whole for one in results.inputs),
    )


def _lost_files(parts: Sequence[_Part], check: RecordCheck, unfinished: Status) -> list[FileAttempts]:
    """Return a result of the status `unfinished` for each planned file without a trusted result.

    It follows whatever a damaged record still says about the file.
    """
    header = parts[0].record.header
    # A record without a trailer is used as far as it goes, unless it ends before the plan.
    broken = {
        part.number
        for part in parts
        if part.record.broken and not part.cut_files and not (part.record.is_cut and part.record.results)
    }
    before_of: dict[str, list[TestResult]] = defaultdict(list)
    for part in parts:
        for event in part.record.events if part.record.broken else ():
            if isinstance(event, AttemptFinished):
                before_of[event.file.path].append(event.result)
    prefix = _label_prefix(parts)
    found: dict[str, FileAttempts] = {}
    for key, number in header.whole:
        path = path_of(key)
        if number in check.missing:
            error = f"shard {number} of {header.shard.total} left no record"
        elif number in broken:
            error = f"the record of shard {number} of {header.shard.total} is incomplete"
        else:
            continue
        before = before_of[path]
        attempt = before[-1].attempt + 1 if before else 1
        lost = TestResult(file_path=path, status=unfinished, error=error, attempt=attempt)
        file = TestFile(path=path, label=path.removeprefix(prefix))
        found[path] = FileAttempts(file=file, attempts=(*before, lost), started=bool(before))
    return list(found.values())


def _label_prefix(parts: Sequence[_Part]) -> str:
    """Return what the paths of files have before their labels: the working directory of the tests."""
    for part in parts:
        for planned in part.record.started.plan.files if part.record.started is not None else ():
            if planned.file.path.endswith(planned.file.label):
                return planned.file.path.removesuffix(planned.file.label)
    return ""
