"""Builds finished runs for the tests of what a CI shows."""

from __future__ import annotations

from dispatcher.model.events import AttemptFinished, RunFinished, RunStarted
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.results import FileAttempts, Measure, Regression, TestResults
from passmuster.model.executor import Limit
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status
from passmuster.model.task import Limits, TestTask

HOSTILE = (
    "::error file=x::a|b `c` <script>alert(1)</script> <!-- --> [l](https://evil.example) ![i](x) **b** "
    "_i_ ~~s~~ \\| \\` @octocat a@evil.example www.evil.example #1 &lt; ``` ~~~ %0A %% ; :crit, 1, 2 \n\r"
    "\x1b[31m ##[error]x"
)
"""A name or message with something in it for every reader."""


def file(path: str) -> TestFile:
    return TestFile(path=path, label=path)


def case(name: str, message: str = "", outcome: Outcome = Outcome.FAILED) -> CaseResult:
    return CaseResult(case_id=name, outcome=outcome, message=message)


def result(
    path: str,
    status: Status = Status.FAIL,
    *cases: CaseResult,
    output: str = "",
    error: str = "",
    attempt: int = 1,
    started_at: float = 1000.0,
    seconds: float = 2.0,
    peak_bytes: int | None = None,
    stacks: str = "",
    slot: int = 0,
    worker: str = "",
) -> TestResult:
    return TestResult(
        file_path=path,
        status=status,
        cases=cases,
        output=output,
        error=error,
        attempt=attempt,
        started_at=started_at,
        duration=seconds,
        peak_bytes=peak_bytes,
        stacks=stacks,
        slot=slot,
        worker=worker,
    )


def record(*attempts: TestResult) -> FileAttempts:
    return FileAttempts(file=file(attempts[0].file_path), attempts=attempts, reasons=(None,) * len(attempts))


def results(*records: FileAttempts, peak_bytes: int = 0) -> TestResults:
    return TestResults(records=records, duration_s=12.5, peak_bytes=peak_bytes)


def planned(path: str, *, memory_bytes: int | None = None, failed_before: bool = False) -> PlannedFile:
    task = TestTask(run_id="r", file_path=path, limits=Limits(memory_bytes=memory_bytes))
    return PlannedFile(file=file(path), task=task, failed_before=failed_before)


def started(*files: PlannedFile, limits: tuple[Limit, ...] = ()) -> RunStarted:
    return RunStarted(at_s=0.0, started_at=1000.0, plan=RunPlan(run_id="r", files=files), limits=limits)


def ended(attempt: TestResult) -> AttemptFinished:
    return AttemptFinished(at_s=1.0, file=file(attempt.file_path), result=attempt)


def finished(*records: FileAttempts) -> RunFinished:
    return RunFinished(at_s=9.0, results=results(*records))


def grown_results(*, fails_on_regression: bool) -> TestResults:
    """Return a run of one file that passed and took three times its usual memory."""
    mib, path = 1024**2, "tests/test_big.py"
    grown = Regression(file=file(path), measure=Measure.MEMORY, baseline=100.0 * mib, now=300.0 * mib)
    return TestResults(
        records=(record(result(path, Status.PASS)),),
        duration_s=2.0,
        regressions=(grown,),
        fails_on_regression=fails_on_regression,
    )
