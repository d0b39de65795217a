"""Missing, duplicate, mismatching and incomplete records are named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.merge.reader import RecordedRun, read_record
from dispatcher.merge.record_check import RecordCheck, check_records
from dispatcher.merge.record_format import RECORD_NAME
from dispatcher.model.events import RunFinished, RunStarted
from dispatcher.model.plan import ShardPlan
from tests.support.recorded import WHOLE, shard_events, shard_plan, write_record


def record(directory: Path, shards: ShardPlan, environ: Mapping[str, str] | None = None) -> RecordedRun:
    return read_record(write_record(directory, shard_events(shards), environ=environ))


def proof(*records: RecordedRun) -> RecordCheck:
    return check_records(records)


@pytest.fixture
def first(tmp_path: Path) -> RecordedRun:
    return record(tmp_path / "one", shard_plan(1))


def test_records_of_all_shards_of_one_plan_match(first: RecordedRun, tmp_path: Path) -> None:
    assert proof(first, record(tmp_path, shard_plan(2))) == RecordCheck()


def test_a_missing_shard_is_named_with_its_files(first: RecordedRun) -> None:
    found = proof(first)
    assert found.missing == (2,)
    assert found.incomplete == ("shard 2 of 2 left no record: 1 file(s) (a/tests/test_2.py)",)


def test_a_file_of_which_a_missing_shard_ran_several_parts_is_named_once(tmp_path: Path) -> None:
    parts = {f"a/tests/test_2.py/part-{number}-of-2-0123abcd": 2 for number in (1, 2)}
    shards = shard_plan(1, {"a/tests/test_1.py": 1, **parts})
    [line] = proof(record(tmp_path, shards)).incomplete
    assert line == "shard 2 of 2 left no record: 1 file(s) (a/tests/test_2.py)"


def test_a_missing_shard_without_files_is_missing_too(tmp_path: Path) -> None:
    shards = shard_plan(1, {"a/tests/test_1.py": 1})
    assert proof(record(tmp_path, shards)).incomplete == ("shard 2 of 2 left no record: 0 files",)


def test_an_incomplete_record_is_named_with_its_directory(first: RecordedRun, tmp_path: Path) -> None:
    folder = write_record(tmp_path / "two", shard_events(shard_plan(2)))
    path = folder / RECORD_NAME
    path.write_bytes(path.read_bytes()[:-10])
    (gap,) = proof(first, read_record(folder)).incomplete
    assert f"shard 2/2 in {folder} is incomplete: it ends after 7 lines" in gap


def test_two_records_of_one_shard_are_named_with_both_directories(first: RecordedRun, tmp_path: Path) -> None:
    again = record(tmp_path / "again", shard_plan(1))
    (line,) = proof(first, record(tmp_path, shard_plan(2)), again).mismatches
    assert f"shard 1/2 left 2 records: {first.folder}, {again.folder}" in line


def test_plans_that_differ_are_named_with_both_digests_and_the_file(
    first: RecordedRun, tmp_path: Path
) -> None:
    other = shard_plan(2, {**WHOLE, "a/tests/test_new.py": 2})
    (line,) = proof(first, record(tmp_path, other)).mismatches
    assert first.header.digest[:12] in line
    assert other.digest[:12] in line
    assert "1 file(s) (a/tests/test_new.py) only on the machine of shard 2/2" in line


def test_a_history_that_exists_on_one_machine_only_is_named(first: RecordedRun, tmp_path: Path) -> None:
    moved = shard_plan(2, {**WHOLE, "a/tests/test_1.py": 2, "a/tests/test_2.py": 1}, history="abcdef")
    (line,) = proof(first, record(tmp_path, moved)).mismatches
    assert "balanced by different histories (none and abcdef)" in line


def test_a_plan_that_was_split_differently_is_explained(first: RecordedRun, tmp_path: Path) -> None:
    moved = shard_plan(2, {**WHOLE, "a/tests/test_1.py": 2})
    (line,) = proof(first, record(tmp_path, moved)).mismatches
    assert "pass the same arguments to every job" in line


def test_a_file_that_only_one_machine_cut_is_no_missing_file(first: RecordedRun, tmp_path: Path) -> None:
    parts = {f"a/tests/test_1.py/part-{number}-of-2-0123abcd": 1 for number in (1, 2)}
    cut = shard_plan(2, {**parts, "a/tests/test_2.py": 2, "a/tests/test_3.py": 1}, history="abcdef")
    (line,) = proof(first, record(tmp_path, cut)).mismatches
    assert "balanced by different histories (none and abcdef)" in line


def test_another_number_of_shards_is_named(first: RecordedRun, tmp_path: Path) -> None:
    (line,) = proof(first, record(tmp_path, shard_plan(2, total=3))).mismatches
    assert "different numbers of shards: 2 (shard 1/2" in line
    assert "3 (shard 2/3" in line


def test_a_record_of_another_ci_run_does_not_match(tmp_path: Path) -> None:
    one = record(tmp_path / "one", shard_plan(1), {"GITHUB_RUN_ID": "77"})
    two = record(tmp_path / "two", shard_plan(2), {"GITHUB_RUN_ID": "78"})
    (line,) = proof(one, two).mismatches
    assert "different CI runs: GITHUB_RUN_ID=77" in line
    assert "GITHUB_RUN_ID=78" in line


def _of_commit(record: RecordedRun, commit: str) -> RecordedRun:
    return structs.replace(record, header=structs.replace(record.header, commit=commit))


def test_a_record_of_another_commit_does_not_match(first: RecordedRun, tmp_path: Path) -> None:
    second = record(tmp_path, shard_plan(2))
    (line,) = proof(_of_commit(first, "aaaa"), _of_commit(second, "bbbb")).mismatches
    assert "different commits: aaaa (shard 1/2" in line
    assert "bbbb (shard 2/2" in line


def test_a_record_of_an_unknown_commit_is_not_one_of_another_commit(
    first: RecordedRun, tmp_path: Path
) -> None:
    second = record(tmp_path, shard_plan(2))
    assert proof(_of_commit(first, "aaaa"), _of_commit(second, "")) == RecordCheck()


def test_a_record_with_other_results_than_its_plan_does_not_match(tmp_path: Path) -> None:
    events = shard_events(shard_plan(1))
    last = events[-1]
    assert isinstance(last, RunFinished)
    fewer = structs.replace(last.results, records=last.results.records[:1])
    events[-1] = structs.replace(last, results=fewer)
    (line,) = proof(read_record(write_record(tmp_path, events))).mismatches
    assert "contains other files than its plan" in line


def test_a_record_with_other_planned_files_than_its_shard_does_not_match(tmp_path: Path) -> None:
    events = shard_events(shard_plan(1))
    begin = events[0]
    assert isinstance(begin, RunStarted)
    fewer = structs.replace(begin.plan, files=begin.plan.files[:1])
    events[0] = structs.replace(begin, plan=fewer)
    (line,) = proof(read_record(write_record(tmp_path, events))).mismatches
    assert "contains other files than its plan" in line
