"""What is written down for others to read stays the same, byte for byte.

Each file of `golden/` holds one format. A format that changes on purpose changes its file: delete it and run
this test, which writes it anew and fails once.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from dispatcher.engine.journal import Journal
from dispatcher.history.history import History
from dispatcher.merge import reader
from dispatcher.merge import writer as header
from dispatcher.merge.writer import RecordReporter
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
from dispatcher.model.results import FileAttempts, Finding, TestResults
from dispatcher.reporters.jsonl import JsonlReporter
from dispatcher.reporters.junit import JunitReporter
from passmuster.host import machine_claims
from passmuster.host.machine_claims import RunClaim
from passmuster.model.executor import FileUsage, Limit, OtherRuns, Usage, WorkerUsage
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status, StopReason
from passmuster.model.task import CoverageRequest, Limits, TestTask
from passmuster.source.manifest import EntryType, TreeEntry, TreeManifest, decode_manifest, encode_manifest
from passmuster.wire.codec import RESULT_CODEC, TASK_CODEC
from passmuster.wire.run_spec import SPEC_CODEC, RunSpec
from tests.support.recorded import shard_plan

GOLDEN = Path(__file__).with_name("golden")

FILE = TestFile(path="app/tests/a\udcff.py", label="tests/a\udcff.py", size_bytes=10, mtime_ns=5)

TASK = TestTask(
    run_id="r1",
    file_path=FILE.path,
    attempt=2,
    runner=RunnerKind.PYTEST,
    limits=Limits(timeout_s=1.5, grace_s=0.1, memory_bytes=1 << 40, output_bytes=7),
    environment=(("A", "größe\n"), ("B", None)),
    predicted_s=1e22,
    predicted_bytes=5,
    predicted_cpu_s=0.30000000000000004,
    exclusive=True,
    coverage=CoverageRequest(source=("src", "lib")),
    group="g",
    retries=0,
    isolation=Isolation.FORK,
    source_identity="abc",
)

RESULT = TestResult(
    file_path=FILE.path,
    status=Status.TIMEOUT,
    output='printed \x1b[31m"größe" 🎉\udcff\x00\n',
    duration=1.23456789,
    error="late",
    note="n",
    attempt=2,
    runner=RunnerKind.UNITTEST,
    exit_code=None,
    signal=15,
    stop_reason=StopReason.TIMEOUT,
    cases=(
        CaseResult(case_id="mod.T.bad", outcome=Outcome.FAILED, seconds=0.5, message="<m> & more"),
        CaseResult(case_id="t.py::good", outcome=Outcome.PASSED),
    ),
    peak_bytes=9,
    cpu_s=0.1,
    started_at=1000.0,
    worker="box-1",
    slot=1,
    start_delayed_by="memory",
    leaked=("sleep 9",),
    stacks="Thread 1",
    output_dropped_bytes=4,
    coverage_files=("/private/.coverage",),
    coverage_root="/private",
    kept_tmp="/tmp/x",
    isolation=Isolation.FORK,
    isolation_note="i",
    was_alone=False,
    was_extra=True,
    is_worker_fault=True,
)

PLAIN_TASK = TestTask(run_id="r1", file_path="a.py")
PASSED = TestResult(file_path=FILE.path, status=Status.PASS, attempt=3, duration=2.0, started_at=1005.0)


def assert_golden(name: str, data: bytes) -> None:
    path = GOLDEN / name
    if not path.exists():
        path.write_bytes(data)
        pytest.fail(f"{path} was missing and is written: look at it")
    assert data == path.read_bytes()


def events() -> Iterable[RunEvent]:
    """Return one event of each kind, each field with a value of its own where it has one."""
    limits = (Limit(name="slots", value="2", source="CPUs"),)
    items = (
        PlannedFile(file=FILE, task=TASK, order_reason="longest first"),
        PlannedFile(file=TestFile(path="b.py", label="b.py"), task=PLAIN_TASK),
    )
    plan = RunPlan(run_id="r1", files=items, shard=shard_plan(1, {FILE.path: 1, "b.py": 1, "c.py": 2}))
    running = FileUsage(attempt_id="i", file_path=FILE.path, slot=1, seconds=2.0, used_bytes=5, worker="w")
    usage = Usage(
        slots=2,
        budget_bytes=10,
        used_bytes=5,
        peak_bytes=6,
        files=(running,),
        workers=(WorkerUsage(name="w", slots=2, busy=1, budget_bytes=10, used_bytes=5),),
        other_runs=OtherRuns(what="memory", seconds=2.5, needed_bytes=7, held_by="x"),
    )
    records = (
        FileAttempts(file=FILE, attempts=(RESULT, PASSED), reasons=(None, RerunReason.RETRY)),
        FileAttempts(
            file=items[1].file,
            attempts=(TestResult(file_path="b.py", status=Status.CANCELLED),),
            reasons=(None,),
            started=False,
        ),
    )
    yield RunStarted(at_s=0.0, started_at=1000.0, plan=plan, limits=limits)
    yield AttemptStarted(at_s=0.1, file=FILE, attempt=2, attempt_reason=RerunReason.RETRY, worker="w")
    yield FileSlow(at_s=0.2, file=FILE, seconds=60.0)
    yield UsageSampled(at_s=0.3, usage=usage, waiting=3)
    yield Notice(at_s=0.4, text="careful \udcff")
    yield AttemptFinished(at_s=0.6, file=FILE, result=RESULT, rerun_reason=RerunReason.RETRY)
    yield VerdictSettled(
        at_s=0.65,
        file=FILE,
        result=RESULT,
        attempt_reason=RerunReason.EXCLUSIVE,
        finding=Finding.FAILS_IN_PARALLEL,
    )
    yield AttemptFinished(at_s=0.7, file=FILE, result=PASSED, attempt_reason=RerunReason.RETRY)
    yield RunStopping(at_s=0.75, cause=StopCause.MAX_FAIL)
    results = TestResults(
        records=records, duration_s=0.8, peak_bytes=9, own_cpu_s=0.5, interrupted=True, is_verified=True
    )
    yield RunFinished(at_s=0.8, results=results)


def test_messages() -> None:
    terms = RunSpec(run_id="r1", version="0", grace_s=5, has_coverage=True, environment_names=("A",))
    manifest = TreeManifest(
        entries=(
            TreeEntry(path="a", kind=EntryType.FILE, size_bytes=7, sha256="0" * 64),
            TreeEntry(path="b\udcff", kind=EntryType.LINK, target="a"),
        )
    )
    texts = {
        "task": TASK_CODEC.encode(TASK),
        "plain task": TASK_CODEC.encode(PLAIN_TASK),
        "result": RESULT_CODEC.encode(RESULT),
        "terms": SPEC_CODEC.encode(terms),
        "manifest": encode_manifest(manifest).decode("ascii"),
    }

    assert_golden("messages.txt", "".join(f"{name}: {text}\n" for name, text in texts.items()).encode())
    assert TASK_CODEC.decode(texts["task"]) == TASK
    assert RESULT_CODEC.decode(texts["result"]) == RESULT
    assert SPEC_CODEC.decode(texts["terms"]) == terms
    assert decode_manifest(texts["manifest"].encode()) == manifest


def test_a_claim_on_the_machine() -> None:
    claim = RunClaim(
        run="r1", pid=5, root="/home/größe", started_at=1.5, processors=3, levels=("a",), waits_for="memory"
    )

    data = machine_claims.encode(claim)

    assert_golden("claim.txt", data.rstrip() + b"\n")
    assert machine_claims.decode("r1", data) == claim


def test_a_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", is_durable=False)
    journal.start("r1", [FILE])
    journal.add([RESULT, PASSED])
    journal.end()
    journal.close()

    assert_golden("journal.txt", (tmp_path / "journal").read_bytes())


def test_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "VERSION", "0")
    monkeypatch.setattr(reader, "VERSION", "0")
    monkeypatch.setattr(platform, "node", lambda: "box-1")
    monkeypatch.setattr(os.path, "realpath", lambda path, **_: "/project")
    recorder = RecordReporter(tmp_path, root=tmp_path, environ={"GITHUB_RUN_ID": "1"})
    for event in events():
        recorder.handle(event)
    (tmp_path / "data").write_bytes(b"coverage")
    recorder.keep_coverage(tmp_path / "data", ("b.py",))
    recorder.close()
    recorder.finish()
    assert recorder.folder is not None

    assert_golden("run.record", (recorder.folder / "run.record").read_bytes())
    read = reader.read_record(recorder.folder)
    assert read.broken == ""
    assert [type(event) for event in read.events] == [type(event) for event in events()]


def test_events(tmp_path: Path) -> None:
    reporter = JsonlReporter(tmp_path / "events")
    for event in events():
        reporter.handle(event)
    reporter.close()

    data = (tmp_path / "events").read_bytes()
    assert_golden("events.jsonl", data)
    assert len({json.loads(line)["event"] for line in data.splitlines()}) == 10


def test_junit(tmp_path: Path) -> None:
    reporter = JunitReporter(tmp_path / "report.xml")
    for event in events():
        reporter.handle(event)
    reporter.close()

    assert_golden("junit.xml", (tmp_path / "report.xml").read_bytes())


def test_history(tmp_path: Path) -> None:
    history = History(tmp_path, clock=lambda: 1000.0)
    history.record(FILE, RESULT, run_id="r1")
    history.record(FILE, PASSED, run_id="r1", finding=Finding.VERIFIED)
    history.close()

    connection = sqlite3.connect(next(tmp_path.rglob("*.sqlite3")))
    text = "\n".join(connection.iterdump())
    connection.close()
    assert_golden("history.sql", text.encode("utf-8", "surrogateescape") + b"\n")
