"""A record is read as it was written, and every change to it is detected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.merge.reader import find_records, read_record
from dispatcher.merge.record_format import COVERAGE_NAME, RECORD_NAME
from dispatcher.merge.writer import RecordReporter
from dispatcher.model.events import AttemptFinished, RunFinished, RunStopping, StopCause
from dispatcher.model.results import FileAttempts, TestResults
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from tests.support.recorded import planned, shard_events, shard_plan, write_record

FAILED = "a/tests/test_3.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_record(tmp_path, shard_events(shard_plan(1), failed=[FAILED]))


def test_a_record_is_read_as_it_was_written(folder: Path) -> None:
    record = read_record(folder)
    told = shard_events(shard_plan(1), failed=[FAILED])
    assert record.broken == ""
    assert folder.name == "shard-1-of-2"
    assert [type(event) for event in record.events] == [type(event) for event in told]
    assert record.started == told[0]
    assert record.results is not None
    assert [item.status for item in record.results.records] == [Status.PASS, Status.FAIL]
    assert record.results.records[1].final.output == "printed \x1b[31m\udcff\n"
    assert record.results.records[1].final.cases == told[-1].results.records[1].final.cases  # type: ignore[union-attr]


def test_neither_paths_of_the_machine_nor_outputs_of_passed_files_are_written(folder: Path) -> None:
    text = (folder / RECORD_NAME).read_text(encoding="ascii")
    assert "/private/" not in text
    assert text.count("printed") == 1


def test_an_attempt_without_an_event_is_in_the_record(tmp_path: Path) -> None:
    events = shard_events(shard_plan(2))
    cancelled = TestResult(file_path="a/tests/test_2.py", status=Status.CANCELLED, error="not run", attempt=2)
    last = events[-1]
    assert isinstance(last, RunFinished)
    (item,) = last.results.records
    item = structs.replace(item, attempts=(*item.attempts, cancelled), reasons=(None, None))
    events[-1] = structs.replace(last, results=structs.replace(last.results, records=(item,)))
    events.insert(-1, RunStopping(at_s=1.0, cause=StopCause.INTERRUPT))
    record = read_record(write_record(tmp_path, events))
    assert record.results is not None
    assert [attempt.status for attempt in record.results.records[0].attempts] == [
        Status.PASS,
        Status.CANCELLED,
    ]


def test_a_record_that_ends_anywhere_is_incomplete_and_read_as_far_as_possible(folder: Path) -> None:
    path = folder / RECORD_NAME
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    for size in (*range(first, len(data), 97), len(data) - 1):
        path.write_bytes(data[:size])
        record = read_record(folder)
        assert record.broken, size
        assert record.coverage is None


def test_a_record_without_a_header_is_refused(folder: Path) -> None:
    path = folder / RECORD_NAME
    for data in (b"", path.read_bytes()[:50], b"\0\0\0\n", b"header {}\n", b"{}\n"):
        path.write_bytes(data)
        with pytest.raises(InfrastructureError, match="cannot merge the record"):
            read_record(folder)


def test_a_changed_byte_is_noticed(folder: Path) -> None:
    path = folder / RECORD_NAME
    path.write_bytes(path.read_bytes().replace(b'"status":"FAIL"', b'"status":"PASS"'))
    assert "its digest differs" in read_record(folder).broken


def test_another_version_is_named(folder: Path) -> None:
    path = folder / RECORD_NAME
    path.write_bytes(path.read_bytes().replace(b'"version":"', b'"version":"9', 1))
    with pytest.raises(InfrastructureError, match="written by Passmuster '9"):
        read_record(folder)


def test_coverage_data_is_kept_beside_it_and_must_be_what_was_written(tmp_path: Path) -> None:
    combined = tmp_path / "combined"
    combined.write_bytes(b"data")
    reporter = RecordReporter(tmp_path / "records", root=tmp_path, environ={})
    for event in shard_events(shard_plan(1)):
        reporter.handle(event)
    reporter.keep_coverage(combined, ("tests/test_1.py",))
    reporter.finish()
    assert reporter.folder is not None
    record = read_record(reporter.folder)
    assert record.coverage == reporter.folder / COVERAGE_NAME
    assert record.files_without_data == ("tests/test_1.py",)
    (reporter.folder / COVERAGE_NAME).write_bytes(b"dada")
    assert "coverage.data was changed" in read_record(reporter.folder).broken
    (reporter.folder / COVERAGE_NAME).unlink()
    assert "coverage.data cannot be read" in read_record(reporter.folder).broken


def test_a_later_run_of_the_same_shard_replaces_its_record(tmp_path: Path) -> None:
    write_record(tmp_path, shard_events(shard_plan(1), failed=[FAILED]))
    folder = write_record(tmp_path, shard_events(shard_plan(1)))
    assert find_records(tmp_path) == (folder,)
    results = read_record(folder).results
    assert results is not None
    assert not results.failed


def test_two_jobs_cannot_write_the_same_record_at_once(tmp_path: Path) -> None:
    first = RecordReporter(tmp_path, root=tmp_path, environ={})
    first.handle(shard_events(shard_plan(1))[0])
    second = RecordReporter(tmp_path, root=tmp_path, environ={})
    with pytest.raises(InfrastructureError, match="two jobs have the same shard 1/2"):
        second.handle(shard_events(shard_plan(1))[0])


def test_a_run_that_did_not_finish_leaves_an_incomplete_record(tmp_path: Path) -> None:
    folder = write_record(tmp_path, shard_events(shard_plan(1))[:-1])
    record = read_record(folder)
    assert "it ends after" in record.broken
    assert sum(isinstance(event, AttemptFinished) for event in record.events) == 2


def test_a_directory_that_is_not_writable_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"--record: cannot create the directory"):
        RecordReporter(tmp_path / "file" / "records", root=tmp_path, environ={})


def test_a_record_and_its_folder_are_private(folder: Path) -> None:
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / RECORD_NAME).stat().st_mode & 0o077 == 0


def test_a_file_name_that_is_not_utf_8_survives(tmp_path: Path) -> None:
    path = os.fsdecode(b"tests/test_\xff.py")
    events = shard_events(shard_plan(1, {path: 1}, total=1))
    record = read_record(write_record(tmp_path, events))
    assert record.header.whole == ((path, 1),)
    assert record.results == TestResults(
        records=(
            FileAttempts(
                file=planned(path).file,
                attempts=record.results.records[0].attempts if record.results else (),
                reasons=(None,),
            ),
        ),
        duration_s=1.5,
        peak_bytes=61,
    )
