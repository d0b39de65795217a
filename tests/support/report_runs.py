"""Runs as the HTML report is told of them, made up: any number of files on any number of machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    UsageSampled,
)
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, TestResults
from passmuster.model.executor import Limit, Usage, WorkerUsage
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status
from passmuster.model.task import TestTask

MIB = 1024 * 1024
STARTED_AT = 1_795_600_000.0
LIMITS = (
    Limit(name="slots", value="2", source="2 CPUs"),
    Limit(name="memory budget", value="4 GiB", source="the default"),
)


def file(path: str) -> TestFile:
    return TestFile(path=path, label=path)


def result(
    path: str,
    status: Status = Status.PASS,
    *,
    attempt: int = 1,
    at_s: float = 0.0,
    duration: float = 1.0,
    worker: str = "box-1",
    slot: int = 0,
    output: str = "",
    error: str = "",
    cases: tuple[CaseResult, ...] = (),
) -> TestResult:
    return TestResult(
        file_path=path,
        status=status,
        attempt=attempt,
        started_at=STARTED_AT + at_s,
        duration=duration,
        cpu_s=duration / 2,
        peak_bytes=50 * MIB,
        worker=worker,
        slot=slot,
        output=output,
        error=error,
        cases=cases,
        exit_code=0 if status is Status.PASS else 1,
    )


def record(*attempts: TestResult, reasons: Sequence[RerunReason | None] = ()) -> FileAttempts:
    return FileAttempts(file=file(attempts[0].file_path), attempts=attempts, reasons=tuple(reasons))


def failing_case(case_id: str, message: str) -> CaseResult:
    return CaseResult(case_id=case_id, outcome=Outcome.FAILED, seconds=0.25, message=message)


def sample(at_s: float, used_bytes: int, *, workers: tuple[WorkerUsage, ...] = ()) -> UsageSampled:
    budget = sum(worker.budget_bytes for worker in workers) or 4096 * MIB
    usage = Usage(
        slots=2, budget_bytes=budget, used_bytes=used_bytes, peak_bytes=used_bytes, files=(), workers=workers
    )
    return UsageSampled(at_s=at_s, usage=usage, waiting=0)


def told(
    *records: FileAttempts,
    samples: Sequence[UsageSampled] = (),
    notices: Sequence[str] = (),
    duration_s: float = 10.0,
    limits: tuple[Limit, ...] = LIMITS,
) -> Iterator[RunEvent]:
    """Yield the events of a run that came to `records`, in the order in which a run tells them."""
    planned = tuple(
        PlannedFile(file=one.file, task=TestTask(run_id="r1", file_path=one.file.path)) for one in records
    )
    plan = RunPlan(run_id="20261125-120000-abcdef", files=planned)
    yield RunStarted(at_s=0.0, started_at=STARTED_AT, plan=plan, limits=limits)
    for text in notices:
        yield Notice(at_s=0.0, text=text)
    for one in records:
        for attempt in one.attempts:
            if attempt.started_at:
                began_s = attempt.started_at - STARTED_AT
                yield AttemptStarted(
                    at_s=began_s, file=one.file, attempt=attempt.attempt, worker=attempt.worker
                )
                yield AttemptFinished(at_s=began_s + attempt.duration, file=one.file, result=attempt)
    yield from samples
    peak = max((event.usage.used_bytes for event in samples), default=0)
    results = TestResults(records=records, duration_s=duration_s, peak_bytes=peak)
    yield RunFinished(at_s=duration_s, results=results)


def many_files(
    count: int, *, machines: int = 1, slots: int = 4, failing_every: int = 0
) -> Iterator[RunEvent]:
    """Yield the events of a run of `count` files, every so many of which fail with a long output."""
    places = [(f"box-{number:02}", slot) for number in range(1, machines + 1) for slot in range(slots)]
    free_s = dict.fromkeys(places, 0.0)
    records = []
    for number in range(count):
        path = f"tests/area_{number % 37:02}/test_feature_{number:05}.py"
        worker, slot = min(places, key=lambda place: free_s[place])
        seconds = 0.3 + (number * 7919 % 100) / 25
        fails = bool(failing_every) and number % failing_every == 0
        cases = (failing_case(f"{path}::test_one", "E   assert 1 == 2\n"),) if fails else ()
        records.append(
            record(
                result(
                    path,
                    Status.FAIL if fails else Status.PASS,
                    at_s=free_s[worker, slot],
                    duration=seconds,
                    worker=worker,
                    slot=slot,
                    output="a line of output <&>\n" * 3000 if fails else "",
                    cases=cases,
                )
            )
        )
        free_s[worker, slot] += seconds + 0.05
    end_s = max(free_s.values())
    moments = [end_s * step / 300 for step in range(301)]
    usages = [
        tuple(
            WorkerUsage(
                name=f"box-{number:02}",
                slots=slots,
                busy=slots,
                budget_bytes=4096 * MIB,
                used_bytes=(200 + (number * 131 + step * 37) % 900) * MIB,
            )
            for number in range(1, machines + 1)
        )
        for step in range(301)
    ]
    samples = [
        sample(at_s, sum(one.used_bytes for one in usage), workers=usage if machines > 1 else ())
        for at_s, usage in zip(moments, usages, strict=True)
    ]
    yield from told(*records, samples=samples, duration_s=end_s)
