"""Writes the records of a sharded run that never was: the files and what came of them are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import structs

from dispatcher.merge.writer import RecordReporter
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    UsageSampled,
)
from dispatcher.model.plan import PlannedFile, RunPlan, ShardPlan, TestFile
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.model.shard_option import Shard
from dispatcher.model.usage_stats import Baseline
from dispatcher.planning.shard_selection import split_digest
from passmuster.model.executor import FileUsage, Limit, Usage
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status
from passmuster.model.task import TestTask

WHOLE: Mapping[str, int] = {"a/tests/test_1.py": 1, "a/tests/test_2.py": 2, "a/tests/test_3.py": 1}


def planned(path: str) -> PlannedFile:
    file = TestFile(path=path, label=path.removeprefix("a/"), size_bytes=10, mtime_ns=5)
    return PlannedFile(file=file, task=TestTask(run_id="r1", file_path=path, predicted_s=1.5))


def shard_plan(
    number: int, whole: Mapping[str, int] = WHOLE, *, total: int = 2, history: str = ""
) -> ShardPlan:
    pairs = tuple(sorted(whole.items()))
    return ShardPlan(
        shard=Shard(number=number, total=total),
        whole=pairs,
        digest=split_digest(total, pairs),
        history_digest=history,
        slots=2,
        budget_bytes=100,
    )


def shard_events(
    shards: ShardPlan,
    *,
    started_at: float = 1000.0,
    failed: Sequence[str] = (),
    run_id: str = "r1",
    baseline: Baseline | None = None,
    peak_bytes: int | None = None,
) -> list[RunEvent]:
    """Return what one shard's run tells."""
    files = [
        structs.replace(planned(path), baseline=baseline)
        for path, number in shards.whole
        if number == shards.shard.number
    ]
    events: list[RunEvent] = [
        RunStarted(
            at_s=0.0,
            started_at=started_at,
            plan=RunPlan(run_id=run_id, files=tuple(files), shard=shards),
            limits=(Limit(name="memory budget", value="4 GiB", source="the default"),),
        ),
        Notice(at_s=0.0, text="mind the gap"),
    ]
    records = []
    for position, item in enumerate(files):
        at_s, path = position + 0.5, item.file.path
        status = Status.FAIL if path in failed else Status.PASS
        case = CaseResult(case_id=f"{path}::test", outcome=Outcome.PASSED, seconds=0.25)
        result = TestResult(
            file_path=path,
            status=status,
            output="printed \x1b[31m\udcff\n",
            duration=0.5,
            peak_bytes=peak_bytes,
            started_at=started_at + at_s,
            cases=(case,),
            worker="local",
            coverage_files=("/private/.coverage",),
        )
        usage = FileUsage(attempt_id="x", file_path=path, slot=0, seconds=0.1, used_bytes=50)
        events += [
            AttemptStarted(at_s=at_s, file=item.file, attempt=1),
            UsageSampled(
                at_s=at_s,
                waiting=1,
                usage=Usage(slots=2, budget_bytes=100, used_bytes=50, peak_bytes=60, files=(usage,)),
            ),
            AttemptFinished(at_s=at_s + 0.4, file=item.file, result=result),
        ]
        records.append(FileAttempts(file=item.file, attempts=(result,), reasons=(None,)))
    results = TestResults(
        records=tuple(records), duration_s=len(files) + 0.5, peak_bytes=60 + shards.shard.number
    )
    return [*events, RunFinished(at_s=len(files) + 0.5, results=results)]


def write_record(
    directory: Path, events: Sequence[RunEvent], *, environ: Mapping[str, str] | None = None
) -> Path:
    """Write a record as a run does, and return its folder; that of a run without an end breaks off."""
    reporter = RecordReporter(directory, root=directory, environ=environ or {})
    for event in events:
        reporter.handle(event)
    reporter.close()
    reporter.finish()
    assert reporter.folder is not None
    return reporter.folder
