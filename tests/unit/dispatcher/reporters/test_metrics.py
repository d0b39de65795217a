"""The metrics of a run follow its events."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    RunEvent,
    RunFinished,
    RunStarted,
    UsageSampled,
)
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.metrics import MetricsReporter
from passmuster.model.executor import FileUsage, Usage, WorkerUsage
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask

FILE = TestFile(path="tests/a.py", label="tests/a.py")
OTHER = TestFile(path="tests/b.py", label="tests/b.py")
PLAN = RunPlan(
    run_id="r",
    files=(PlannedFile(file=FILE, task=TestTask(run_id="r", file_path=FILE.path), order_reason=""),),
)
FAILED = TestResult(file_path=FILE.path, status=Status.FAIL, duration=1.5)
PASSED = TestResult(file_path=FILE.path, status=Status.PASS, duration=0.25, attempt=2)
WORKER = WorkerUsage(name="w", slots=2, busy=1, budget_bytes=10, used_bytes=5)
SAMPLE = Usage(
    slots=2,
    budget_bytes=10,
    used_bytes=5,
    peak_bytes=6,
    files=(FileUsage(attempt_id="i", file_path=FILE.path, slot=1, seconds=2.0, used_bytes=5),),
    workers=(WORKER,),
    lost_workers=1,
)
RUNNING: tuple[RunEvent, ...] = (
    RunStarted(at_s=0, started_at=1000.0, plan=PLAN, limits=()),
    UsageSampled(at_s=0.3, usage=SAMPLE, waiting=3),
    AttemptFinished(at_s=1.5, file=FILE, result=FAILED, rerun_reason=RerunReason.RETRY),
    AttemptStarted(at_s=1.5, file=FILE, attempt=2, attempt_reason=RerunReason.RETRY),
    # A verification for which the run did not wait.
    AttemptFinished(at_s=1.6, file=OTHER, result=FAILED, rerun_reason=RerunReason.VERIFY_FAILURE),
)
ENDED = RunFinished(
    at_s=4,
    results=TestResults(records=(FileAttempts(file=FILE, attempts=(FAILED, PASSED)),), duration_s=4.0),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.prom"


def exported(path: Path, *events: RunEvent) -> dict[str, float]:
    """Return the last values by name and own label, without those that are 0."""
    reporter = MetricsReporter("shop", address=None, path=path, say=lambda line: None)
    for event in events:
        reporter.handle(event)
    reporter.close()
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert all('project="shop"' in line for line in lines)
    pairs = [line.replace('project="shop",', "").replace('{project="shop"}', "").split() for line in lines]
    return {name.removeprefix("passmuster_run_"): float(value) for name, value in pairs if float(value)}


def test_a_run_in_progress_shows_what_waits_runs_and_ended(path: Path) -> None:
    assert exported(path, *RUNNING) == {
        "files": 1,
        "files_waiting": 3,
        "files_running": 1,
        "slots": 2,
        "memory_used_bytes": 5,
        "memory_peak_bytes": 6,
        "memory_budget_bytes": 10,
        "workers": 1,
        "workers_lost_total": 1,
        'attempts_total{status="FAIL"}': 2,
        'attempt_seconds_total{status="FAIL"}': 3.0,
        'reruns_total{reason="retry"}': 1,
        "started_timestamp_seconds": 1000,
    }


def test_the_file_keeps_the_verdicts_of_a_run_that_ended(path: Path) -> None:
    found = exported(path, *RUNNING, AttemptFinished(at_s=4, file=FILE, result=PASSED), ENDED)

    assert found['verdicts{status="PASS"}'] == 1
    assert 'verdicts{status="FAIL"}' not in found
    assert found['attempts_total{status="PASS"}'] == 1
    assert found["finished_timestamp_seconds"] == 1004
    assert not {"files_waiting", "files_running", "memory_used_bytes"} & found.keys()


def test_every_status_and_reason_exists_from_the_start(path: Path) -> None:
    MetricsReporter("shop", address=None, path=path, say=lambda line: None).close()
    text = path.read_text()

    for status in Status:
        assert f'attempts_total{{project="shop",status="{status}"}} 0.0' in text
    assert 'reruns_total{project="shop",reason="retry"} 0.0' in text
    assert "settled" not in text
