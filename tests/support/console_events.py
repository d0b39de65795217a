"""Builds the events of a run, and prints them: shared by the tests of what people are told."""

from __future__ import annotations

import io

from dispatcher.config.choices import Verbosity
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    RunEvent,
    RunFinished,
    RunStarted,
)
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.console.line_reporter import ConsoleContext
from dispatcher.reporters.console.reporter import ConsoleReporter
from passmuster.model.executor import Limit
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask

LIMITS = (
    Limit(name="slots", value="2", source="2 CPUs"),
    Limit(name="memory budget", value="4 GiB", source="the default"),
)


def file(path: str) -> TestFile:
    return TestFile(path=f"mvp_site/{path}", label=path)


def started(*files: TestFile, limits: tuple[Limit, ...] = LIMITS) -> RunStarted:
    planned = tuple(PlannedFile(file=one, task=TestTask(run_id="r1", file_path=one.path)) for one in files)
    return RunStarted(at_s=0.0, started_at=0.0, plan=RunPlan(run_id="r1", files=planned), limits=limits)


def begun(one: TestFile, attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(at_s=0.1, file=one, attempt=attempt)


def ended(one: TestFile, result: TestResult, again: RerunReason | None = None) -> AttemptFinished:
    return AttemptFinished(at_s=1.0, file=one, result=result, rerun_reason=again)


def result(one: TestFile, status: Status, output: str = "", error: str = "", attempt: int = 1) -> TestResult:
    return TestResult(
        file_path=one.path, status=status, output=output, error=error, attempt=attempt, duration=1.5
    )


def finished(*records: FileAttempts, peak_bytes: int = 0) -> RunFinished:
    return RunFinished(
        at_s=9.0, results=TestResults(records=records, duration_s=12.34, peak_bytes=peak_bytes)
    )


def once(one: TestFile, *results: TestResult, started: bool = True) -> FileAttempts:
    return FileAttempts(file=one, attempts=results, started=started)


def printed(
    *events: RunEvent, verbosity: Verbosity = Verbosity.NORMAL, color: bool = False
) -> tuple[str, str]:
    out, warnings = io.StringIO(), io.StringIO()
    context = ConsoleContext(
        stream=out,
        warn_stream=warnings,
        color=color,
        warn_color=color,
        verbosity=verbosity,
        rerun=lambda record: f"./run_tests.py {record.file.label}",
    )
    reporter = ConsoleReporter(context)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return out.getvalue(), warnings.getvalue()


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
