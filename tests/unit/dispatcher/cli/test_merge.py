"""Merged records are reported as one run, with one exit status."""

from __future__ import annotations

import io
import json
import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.cli.main import Command
from dispatcher.history.history import History
from dispatcher.merge.combine import combine_records
from dispatcher.merge.reader import read_record
from dispatcher.merge.record_check import check_records
from dispatcher.merge.record_format import RECORD_NAME
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    Notice,
    RunFinished,
    RunStarted,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import Finding
from dispatcher.model.usage_stats import Baseline, UsageStats
from passmuster.model.status import Isolation, Status
from tests.support.recorded import WHOLE, shard_events, shard_plan, write_record
from tests.unit.dispatcher.scripted_target import ScriptedTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    status: int
    out: str
    err: str


MIB = 1024**2


def merge(root: Path, *argv: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    command = Command(
        ("merge", *argv),
        environ={"PATH": os.environ["PATH"]},
        cwd=root,
        target=ScriptedTarget(),
        warm_target=ScriptedTarget,
        program="./run_tests.py",
        stdout=out,
        stderr=err,
    )
    return Ran(status=command.run(), out=out.getvalue(), err=err.getvalue())


def write_both(root: Path, *failed: str, apart_s: float = 0.0) -> tuple[Path, Path]:
    one = write_record(root / "one", shard_events(shard_plan(1), failed=failed))
    later = shard_events(shard_plan(2), started_at=1000.0 + apart_s, failed=failed, run_id="r2")
    return one, write_record(root / "two", later)


def test_all_passed_is_one_green_run(tmp_path: Path) -> None:
    write_both(tmp_path)
    ran = merge(tmp_path, "one", "two")
    assert ran.status == ExitCode.OK
    assert "Merging 2 of 2 record(s): 3 file(s), plan " in ran.out
    assert "  Total tests: 3\n  Passed: 3\n  Failed: 0\n" in ran.out
    assert "All tests passed!" in ran.out
    assert "peak memory 62 B of 4 GiB" in ran.out
    assert "Running:" not in ran.out


def test_one_directory_above_all_records_suffices(tmp_path: Path) -> None:
    write_both(tmp_path)
    assert merge(tmp_path, ".").status == ExitCode.OK


def test_a_failed_file_of_any_shard_makes_the_whole_fail(tmp_path: Path) -> None:
    write_both(tmp_path, "a/tests/test_2.py")
    ran = merge(tmp_path, "one", "two")
    assert ran.status == ExitCode.FAILED
    assert ran.out.endswith("SUMMARY: 2 passed, 1 failed\nFAILED TESTS:\ntests/test_2.py\n")
    assert "run_tests.py tests/test_2.py" in ran.out
    assert "merge tests/test_2.py" not in ran.out


def test_a_missing_shard_is_red_and_its_files_are_lost_in_every_report(tmp_path: Path) -> None:
    write_record(tmp_path / "one", shard_events(shard_plan(1)))
    ran = merge(tmp_path, "one", "--junit-xml", "j.xml", "--events", "e.jsonl")
    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "shard 2 of 2 left no record: 1 file(s) (a/tests/test_2.py)" in ran.err
    assert "  Total tests: 3\n  Passed: 2\n  Failed: 1\n" in ran.out
    assert "SUMMARY: 2 passed, 1 failed\nFAILED TESTS:\ntests/test_2.py\n" in ran.out
    assert ET.parse(tmp_path / "j.xml").getroot().get("errors") == "1"
    last = json.loads((tmp_path / "e.jsonl").read_text().splitlines()[-1])
    assert last["failed_paths"] == ["a/tests/test_2.py"]


def test_a_record_that_was_changed_is_red_and_nothing_of_it_counts_as_passed(tmp_path: Path) -> None:
    one, _ = write_both(tmp_path)
    path = one / RECORD_NAME
    path.write_bytes(path.read_bytes().replace(b"mind the gap", b"mind the cat"))
    ran = merge(tmp_path, "one", "two")
    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "shard 1/2" in ran.err
    assert "is incomplete" in ran.err
    assert "  Passed: 1\n  Failed: 2\n" in ran.out


def test_a_record_that_lacks_its_last_line_is_red_and_loses_no_result(tmp_path: Path) -> None:
    one, _ = write_both(tmp_path, "a/tests/test_1.py")
    path = one / RECORD_NAME
    path.write_bytes(path.read_bytes()[:-5])
    ran = merge(tmp_path, "one", "two")
    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "is incomplete: it ends after" in ran.err
    assert "  Passed: 2\n  Failed: 1\n" in ran.out


def test_of_a_killed_shard_only_files_without_a_result_are_lost(tmp_path: Path) -> None:
    whole = dict.fromkeys((f"a/tests/test_{number}.py" for number in range(1, 5)), 1)
    events = shard_events(shard_plan(1, whole, total=1), failed=["a/tests/test_1.py"])
    third = [event for event in events if isinstance(event, AttemptStarted)][2]
    cut = [*events[: events.index(third) + 2], Notice(at_s=third.at_s + 7, text="still there")]
    write_record(tmp_path / "one", cut)

    ran = merge(tmp_path, "one", "--junit-xml", "j.xml")

    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "  Total tests: 4\n  Passed: 1\n  Failed: 3\n" in ran.out
    assert "printed " in ran.out  # By the one that failed.
    broken_off = "the record of shard 1 of 1 ends"
    used = "running for 7.0s, with 50 B when last measured, when"
    assert f"{used} {broken_off}" in ran.out
    assert f"not started when {broken_off}" in ran.out
    root = ET.parse(tmp_path / "j.xml").getroot()
    assert (root.get("failures"), root.get("errors")) == ("0", "3")


def test_a_verdict_that_awaited_verification_counts_in_an_incomplete_record(
    tmp_path: Path,
) -> None:
    path = "a/tests/test_1.py"
    events = shard_events(shard_plan(1, {path: 1}, total=1))
    cut = [
        structs.replace(event, rerun_reason=RerunReason.VERIFY_PASS)
        if isinstance(event, AttemptFinished)
        else event
        for event in events[:-1]
    ]
    record = read_record(write_record(tmp_path, cut))

    *_, settled, last = combine_records([record], check_records([record]))

    assert isinstance(settled, VerdictSettled)
    assert (settled.result.status, settled.attempt_reason) == (Status.PASS, RerunReason.VERIFY_PASS)
    assert isinstance(last, RunFinished)
    [file] = last.results.records
    assert (file.status, file.is_unverified, len(file.attempts)) == (Status.PASS, True, 1)


def test_a_file_that_an_earlier_attempt_decided_is_decided_in_an_incomplete_record(
    tmp_path: Path,
) -> None:
    path = "a/tests/test_1.py"
    [*before, first, _] = shard_events(shard_plan(1, {path: 1}, total=1))
    assert isinstance(first, AttemptFinished)
    fork, spawn = Isolation.FORK, Isolation.SPAWN
    proof = (
        (Status.FAIL, fork, None, RerunReason.VERIFY_FAILURE),
        (Status.PASS, spawn, RerunReason.VERIFY_FAILURE, RerunReason.RECHECK),
        (Status.PASS, spawn, RerunReason.RECHECK, RerunReason.REFORK),
        (Status.FAIL, fork, RerunReason.REFORK, RerunReason.SETTLED),
    )
    ended = [
        structs.replace(
            first,
            result=structs.replace(first.result, status=status, isolation=isolation, attempt=number),
            attempt_reason=reason,
            rerun_reason=again,
        )
        for number, (status, isolation, reason, again) in enumerate(proof, 1)
    ]
    settled = VerdictSettled(
        at_s=first.at_s, file=first.file, result=ended[2].result, attempt_reason=RerunReason.REFORK
    )
    record = read_record(write_record(tmp_path, [*before, *ended, settled]))

    last = combine_records([record], check_records([record]))[-1]

    assert isinstance(last, RunFinished)
    [file] = last.results.records
    assert (file.status, file.final.attempt, len(file.attempts)) == (Status.PASS, 3, 4)
    assert file.finding is Finding.FAILS_WHEN_FORKED


def test_a_failure_that_awaits_a_rerun_is_no_verdict_in_an_incomplete_record(tmp_path: Path) -> None:
    path = "a/tests/test_1.py"
    events = shard_events(shard_plan(1, {path: 1}, total=1), failed=[path])
    cut = [
        structs.replace(event, rerun_reason=RerunReason.RETRY)
        if isinstance(event, AttemptFinished)
        else event
        for event in events[:-1]
    ]
    record = read_record(write_record(tmp_path, cut))

    last = combine_records([record], check_records([record]))[-1]

    assert isinstance(last, RunFinished)
    [file] = last.results.records
    assert [attempt.status for attempt in file.attempts] == [Status.FAIL, Status.LOST]
    assert "waiting to rerun when the record" in file.final.error


def test_of_a_cancelled_run_what_is_missing_is_no_failure_and_there_is_no_verdict(tmp_path: Path) -> None:
    write_record(tmp_path / "one", shard_events(shard_plan(1))[:-2])  # Ends in the middle of its second file.

    ran = merge(tmp_path, "one", "--cancelled", "--events", "e.jsonl")

    assert ran.status == ExitCode.INTERRUPTED
    assert "[FAIL]" not in ran.out + ran.err
    said = "[WARN] the CI cancelled the run: "
    assert f"{said}shard 2 of 2 left no record: 1 file(s) (a/tests/test_2.py)" in ran.err
    assert f"{said}the record of shard 1/2 in " in ran.err
    last = json.loads((tmp_path / "e.jsonl").read_text().splitlines()[-1])
    assert (last["interrupted"], last["failed_paths"]) == (True, [])
    assert sorted(last["not_run_paths"]) == ["a/tests/test_2.py", "a/tests/test_3.py"]


@pytest.mark.parametrize("left", [b"", b'header {"form'])
def test_a_shard_that_was_killed_at_its_start_does_not_hide_the_results_of_others(
    tmp_path: Path, left: bytes
) -> None:
    _, two = write_both(tmp_path)
    (two / RECORD_NAME).write_bytes(left)

    ran = merge(tmp_path, "one", "two", "--junit-xml", "j.xml")

    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "[FAIL] shard 2 of 2 left no record: 1 file(s) (a/tests/test_2.py)" in ran.err
    assert len(ET.parse(tmp_path / "j.xml").getroot().findall("testsuite")) == 3


def test_a_run_that_was_cancelled_before_a_shard_left_a_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / RECORD_NAME).touch()

    ran = merge(tmp_path, "empty", "nowhere", "--cancelled")

    assert (ran.status, ran.out) == (ExitCode.INTERRUPTED, "")
    assert ran.err == "[WARN] the CI cancelled the run before a shard left a record\n"


def test_a_record_that_was_changed_is_red_in_a_cancelled_run_too(tmp_path: Path) -> None:
    one, _ = write_both(tmp_path)
    path = one / RECORD_NAME
    path.write_bytes(path.read_bytes().replace(b"mind the gap", b"mind the cat"))

    ran = merge(tmp_path, "one", "two", "--cancelled")

    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "[FAIL] the record of shard 1/2 in " in ran.err


def test_a_run_of_which_a_shard_was_interrupted_has_no_verdict(tmp_path: Path) -> None:
    write_record(tmp_path / "one", shard_events(shard_plan(1)))
    *events, last = shard_events(shard_plan(2))
    assert isinstance(last, RunFinished)
    interrupted = structs.replace(last, results=structs.replace(last.results, interrupted=True))
    write_record(tmp_path / "two", [*events, interrupted])

    assert merge(tmp_path, "one", "two").status == ExitCode.INTERRUPTED


@pytest.mark.parametrize("kind", ["doubled", "foreign"])
def test_records_that_do_not_belong_together_are_not_merged(kind: str, tmp_path: Path) -> None:
    write_both(tmp_path)
    shards = shard_plan(1) if kind == "doubled" else shard_plan(2, {**WHOLE, "a/tests/test_9.py": 1})
    write_record(tmp_path / "three", shard_events(shards))
    ran = merge(tmp_path, "one", "two", "three", "--junit-xml", "j.xml")
    assert ran.status == ExitCode.INFRASTRUCTURE
    assert ran.out == ""
    assert ("left 2 records" if kind == "doubled" else "the plans differ") in ran.err
    assert not (tmp_path / "j.xml").exists()


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        ((), ExitCode.USAGE, "merge needs the directories with the records"),
        (("nowhere",), ExitCode.INFRASTRUCTURE, "it is not a directory"),
        (("empty",), ExitCode.INFRASTRUCTURE, "no shard left one"),
        (("empty", "--shard", "1/2"), ExitCode.USAGE, "unknown argument: --shard"),
        (("empty", "--nonsense"), ExitCode.USAGE, "unknown argument: --nonsense"),
    ],
)
def test_records_that_cannot_be_merged_are_one_line(
    argv: tuple[str, ...], status: ExitCode, text: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    ran = merge(tmp_path, *argv)
    assert (ran.status, ran.out) == (status, "")
    assert text in ran.err
    assert ran.err.count("\n") == 1


def test_regressions_are_found_in_the_whole_run_and_can_fail_it(tmp_path: Path) -> None:
    usual = UsageStats(duration_s=0.01, cpu_s=0.001, peak_bytes=MIB, runs=3)
    for number, name in ((1, "one"), (2, "two")):
        events = shard_events(shard_plan(number), baseline=Baseline(spawned=usual), peak_bytes=90 * MIB)
        write_record(tmp_path / name, events)

    told, failed = merge(tmp_path, "one", "two"), merge(tmp_path, "one", "two", "--fail-on-regression")
    lenient = merge(tmp_path, "one", "two", "--fail-on-regression", "--regression-factor", "99")

    assert (told.status, failed.status, lenient.status) == (ExitCode.OK, ExitCode.FAILED, ExitCode.OK)
    assert "[WARN] 3 file(s) regressed:" in told.out
    assert "  - tests/test_2.py: peak memory 90 MiB instead of 1 MiB (90.0 times)" in told.out
    assert "took" not in lenient.out


def test_different_clocks_do_not_move_events(tmp_path: Path) -> None:
    for apart_s in (0.0, -7200.0):
        folders = write_both(tmp_path / str(apart_s), apart_s=apart_s)
        records = [read_record(folder) for folder in folders]
        events = combine_records(records, check_records(records))
        first, last = events[0], events[-1]
        assert isinstance(first, RunStarted)
        assert isinstance(last, RunFinished)
        assert last.results.duration_s == 2.5
        starts = {record.final.started_at - first.started_at for record in last.results.records}
        assert starts == {0.5, 1.5}


def test_each_machine_is_a_worker_of_the_whole(tmp_path: Path) -> None:
    records = [read_record(folder) for folder in write_both(tmp_path)]
    events = combine_records(records, check_records(records))
    assert list(events[1:-1]) == sorted(events[1:-1], key=lambda event: event.at_s)
    workers = {event.result.worker for event in events if isinstance(event, AttemptFinished)}
    assert workers == {"shard 1", "shard 2"}
    samples = [event.usage for event in events if isinstance(event, UsageSampled)]
    assert samples[-1].used_bytes == 0  # Whoever has ended uses nothing.
    sample = samples[-3]
    assert [worker.name for worker in sample.workers] == ["shard 1", "shard 2"]
    assert (sample.budget_bytes, sample.used_bytes, sample.slots) == (200, 100, 4)


def test_a_notice_of_all_machines_appears_once_and_others_name_the_machine(tmp_path: Path) -> None:
    one, two = shard_events(shard_plan(1)), shard_events(shard_plan(2))
    two.insert(1, Notice(at_s=0.1, text="a slow disk"))
    records = [read_record(write_record(tmp_path, events)) for events in (one, two)]
    notices = [
        event.text for event in combine_records(records, check_records(records)) if isinstance(event, Notice)
    ]
    assert notices == ["mind the gap", "shard 2: a slow disk"]


def test_the_record_of_a_run_without_shards_is_replayed_unchanged(tmp_path: Path) -> None:
    told = shard_events(shard_plan(1, {"a/tests/test_1.py": 1}, total=1), failed=["a/tests/test_1.py"])
    record = read_record(write_record(tmp_path, told))
    again = combine_records([record], check_records([record]))
    assert again[1:-1] == record.events[1:-1]
    assert again[-1] == record.events[-1]


def test_the_history_gets_the_results_of_all_shards(tmp_path: Path) -> None:
    write_both(tmp_path, "a/tests/test_3.py")
    assert merge(tmp_path, "one", "two").status == ExitCode.FAILED
    history = History(tmp_path)
    remembered = history.load()
    history.close()
    assert remembered.keys() == WHOLE.keys()
    assert remembered["a/tests/test_3.py"].last_status.is_failure
    assert merge(tmp_path, "one", "two", "--no-history").status == ExitCode.FAILED


def test_help_says_what_it_does(tmp_path: Path) -> None:
    ran = merge(tmp_path, "--help")
    assert ran.status == ExitCode.OK
    assert ran.out.startswith("usage: ./run_tests.py merge [OPTION...] DIR...")
