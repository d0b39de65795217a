"""The events file is an interface: names, values and limits stay as documented."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStopping,
    StopCause,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.jsonl import TAIL_CHARS, JsonlReporter
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import FileUsage, Limit, OtherRuns, Usage, WorkerUsage
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status, StopReason
from passmuster.model.task import TestTask

FILE = TestFile(path="app/tests/a.py", label="tests/a.py")


def written(path: Path, *events: RunEvent) -> list[Mapping[str, object]]:
    reporter = JsonlReporter(path)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def usage(at_s: float) -> UsageSampled:
    running = FileUsage(attempt_id="i", file_path=FILE.path, slot=1, seconds=2.0, used_bytes=5, worker="w")
    worker = WorkerUsage(name="w", slots=2, busy=1, budget_bytes=10, used_bytes=5)
    sample = Usage(
        slots=2,
        budget_bytes=10,
        used_bytes=5,
        peak_bytes=6,
        files=(running,),
        workers=(worker,),
        other_runs=OtherRuns(what="memory", seconds=2.5, needed_bytes=7, held_by="x"),
    )
    return UsageSampled(at_s=at_s, usage=sample, waiting=3)


def test_a_whole_run_is_written_as_documented(tmp_path: Path) -> None:
    task = TestTask(run_id="r1", file_path=FILE.path, predicted_s=1.5)
    plan = RunPlan(run_id="r1", files=(PlannedFile(file=FILE, task=task, order_reason="longest first"),))
    result = TestResult(
        file_path=FILE.path,
        status=Status.TIMEOUT,
        output="o",
        duration=1.23456789,
        error="late",
        attempt=2,
        runner=RunnerKind.PYTEST,
        signal=15,
        stop_reason=StopReason.TIMEOUT,
        cases=(CaseResult(case_id="T.x", outcome=Outcome.FAILED, seconds=0.5, message="m"),),
        peak_bytes=9,
        started_at=5.0,
        worker="w",
        interpreter="CPython 3.11.7",
        slot=1,
        start_delayed_by="memory",
        leaked=("sleep",),
        stacks="s",
        output_dropped_bytes=4,
        kept_tmp="/tmp/x",
        isolation=Isolation.FORK,
        isolation_note="n",
        was_alone=False,
    )
    record = FileAttempts(file=FILE, attempts=(result,))
    limits = (Limit(name="slots", value="2", source="CPUs"),)
    where = {"path": "app/tests/a.py", "label": "tests/a.py"}
    assert written(
        tmp_path / "new" / "e.jsonl",
        RunStarted(at_s=0.0, started_at=7.0, plan=plan, limits=limits),
        AttemptStarted(at_s=0.1, file=FILE, attempt=2, attempt_reason=RerunReason.RETRY, worker="w"),
        FileSlow(at_s=0.2, file=FILE, seconds=60.0),
        usage(0.3),
        Notice(at_s=0.4, text="careful"),
        RunStopping(at_s=0.5, cause=StopCause.MAX_FAIL),
        AttemptFinished(at_s=0.6, file=FILE, result=result, rerun_reason=RerunReason.RETRY),
        VerdictSettled(at_s=0.65, file=FILE, result=result, attempt_reason=RerunReason.EXCLUSIVE),
        RunFinished(at_s=0.7, results=TestResults(records=(record,), duration_s=0.7, peak_bytes=9)),
    ) == [
        {
            "event": "run-started",
            "version": 2,
            "at_s": 0.0,
            "run_id": "r1",
            "started_at": 7.0,
            "files": 1,
            "limits": [{"name": "slots", "value": "2", "source": "CPUs"}],
            "shard": None,
            "shards": None,
            "plan_digest": None,
        },
        {"event": "file-planned", "at_s": 0.0, **where, "kind": "unit", "order_reason": "longest first"}
        | {"predicted_s": 1.5, "predicted_bytes": None, "parts": 0},
        {
            "event": "file-started",
            "at_s": 0.1,
            **where,
            "attempt": 2,
            "attempt_reason": "retry",
            "worker": "w",
        },
        {"event": "file-slow", "at_s": 0.2, **where, "elapsed_s": 60.0},
        {
            "event": "usage",
            "at_s": 0.3,
            "slots": 2,
            "budget_bytes": 10,
            "used_bytes": 5,
            "peak_bytes": 6,
            "waiting": 3,
            "other_runs": {"what": "memory", "duration_s": 2.5, "needed_bytes": 7, "held_by": "x"},
            "files": [{"path": FILE.path, "slot": 1, "duration_s": 2.0, "used_bytes": 5, "worker": "w"}],
            "workers": [{"name": "w", "slots": 2, "busy": 1, "budget_bytes": 10, "used_bytes": 5}],
        },
        {"event": "notice", "at_s": 0.4, "text": "careful"},
        {"event": "run-stopping", "at_s": 0.5, "cause": "too many failures"},
        {
            "event": "file-finished",
            "at_s": 0.6,
            **where,
            "rerun_reason": "retry",
            "attempt_reason": None,
            "finding": None,
            "attempt": 2,
            "status": "TIMEOUT",
            "error": "late",
            "note": "",
            "cached": False,
            "duration_s": 1.234568,
            "started_at": 5.0,
            "runner": "pytest",
            "exit_code": None,
            "signal": 15,
            "stop_reason": "timeout",
            "peak_bytes": 9,
            "cpu_s": None,
            "worker": "w",
            "interpreter": "CPython 3.11.7",
            "slot": 1,
            "start_delayed_by": "memory",
            "leaked": ["sleep"],
            "cases": [{"id": "T.x", "outcome": "failed", "duration_s": 0.5, "message": "m"}],
            "output_tail": "o",
            "output_chars": 1,
            "output_dropped_bytes": 4,
            "stacks_tail": "s",
            "kept_tmp": "/tmp/x",
            "isolation": "fork",
            "isolation_note": "n",
            "was_alone": False,
        },
        {
            "event": "file-settled",
            "at_s": 0.65,
            **where,
            "attempt": 2,
            "status": "TIMEOUT",
            "attempt_reason": "exclusive",
        }
        | {"finding": None},
        {
            "event": "run-finished",
            "at_s": 0.7,
            "duration_s": 0.7,
            "peak_bytes": 9,
            "tests_cpu_s": 0.0,
            "own_cpu_s": None,
            "interrupted": False,
            "total": 1,
            "passed": 0,
            "failed": 1,
            "not_run": 0,
            "without_tests": 0,
            "flaky": 0,
            "forked": 1,
            "cached": 0,
            "failed_paths": [FILE.path],
            "not_run_paths": [],
            "flaky_paths": [],
            "fails_when_forked_paths": [],
            "passes_only_forked_paths": [],
            "fails_in_parallel_paths": [],
            "fails_in_parts_paths": [],
            "indivisible_paths": [],
            "unverified_paths": [],
            "differences": [],
            "regressions": [],
        },
    ]


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_written_by_its_name(tmp_path: Path, status: Status) -> None:
    (line,) = written(
        tmp_path / "e",
        AttemptFinished(at_s=0, file=FILE, result=TestResult(file_path=FILE.path, status=status)),
    )
    assert line["status"] == status.value


def test_text_without_utf_8_is_escaped_and_flagged_and_other_text_is_kept(tmp_path: Path) -> None:
    strange = TestFile(path="t/\udcff.py", label="t/\udcff.py")
    result = TestResult(
        file_path="", status=Status.FAIL, output="\x00\x1b[0m\u2028 größe 🎉 \ud83d", leaked=("\udc80",)
    )
    first, second = written(
        tmp_path / "e",
        Notice(at_s=0, text="\x00\x1b[0m\u2028größe 🎉\n"),
        AttemptFinished(at_s=0, file=strange, result=result),
    )
    assert first == {"event": "notice", "at_s": 0, "text": "\x00\x1b[0m\u2028größe 🎉\n"}
    assert second["escaped"] is True
    assert second["path"] == "t/\\udcff.py"
    assert second["leaked"] == ["\\udc80"]
    assert second["output_tail"] == "\x00\x1b[0m\u2028 größe 🎉 \\ud83d"


def test_usage_is_written_at_most_once_a_second(tmp_path: Path) -> None:
    samples = [usage(at_s / 4) for at_s in range(13)]
    assert [line["at_s"] for line in written(tmp_path / "e", *samples)] == [0.0, 1.0, 2.0, 3.0]


def test_long_output_is_cut_to_its_end(tmp_path: Path) -> None:
    result = TestResult(file_path="", status=Status.FAIL, output="x" * 1_000_000 + "end")
    (line,) = written(tmp_path / "e", AttemptFinished(at_s=0, file=FILE, result=result))
    assert line["output_tail"] == "x" * (TAIL_CHARS - 3) + "end"
    assert line["output_chars"] == 1_000_003


def test_each_event_can_be_read_at_once(tmp_path: Path) -> None:
    reporter = JsonlReporter(tmp_path / "e")
    reporter.handle(Notice(at_s=0, text="now"))
    assert json.loads((tmp_path / "e").read_text())["text"] == "now"
    reporter.close()
    reporter.close()


def test_a_file_that_cannot_be_opened_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--events"):
        JsonlReporter(tmp_path)


def test_a_full_disk_is_one_clear_line() -> None:
    reporter = JsonlReporter(Path("/dev/full"))
    with pytest.raises(InfrastructureError, match="No space left on device"):
        reporter.handle(Notice(at_s=0, text="x"))
    with pytest.raises(InfrastructureError, match="No space left on device"):
        reporter.close()
