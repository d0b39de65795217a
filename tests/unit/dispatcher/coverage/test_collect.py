"""The coverage data of the attempts that count is collected."""

from __future__ import annotations

from pathlib import Path

from dispatcher.coverage.combine import collect_data
from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts, TestResults
from passmuster.model.result import TestResult
from passmuster.model.status import Status


def record(name: str, *attempts: tuple[Status, tuple[str, ...]]) -> FileAttempts:
    return FileAttempts(
        file=TestFile(path=f"root/{name}", label=name),
        attempts=tuple(
            TestResult(file_path=f"root/{name}", status=status, coverage_files=files)
            for status, files in attempts
        ),
    )


def make(directory: Path, *names: str) -> tuple[str, ...]:
    for name in names:
        (directory / name).write_text("data")
    return tuple(str(directory / name) for name in names)


def results(*records: FileAttempts) -> TestResults:
    return TestResults(records=records, duration_s=1.0)


def test_data_of_passed_and_failed_files_is_collected(tmp_path: Path) -> None:
    first, second, third = make(tmp_path, "1", "2", "3")
    collected = collect_data(
        results(record("a", (Status.PASS, (second, first))), record("b", (Status.TIMEOUT, (third,))))
    )
    assert collected.data_files == (first, second, third)
    assert collected.files_without_data == ()


def test_the_roots_of_remote_workers_are_collected(tmp_path: Path) -> None:
    [data] = make(tmp_path, "1")
    found = [
        TestResult(file_path=name, status=Status.PASS, coverage_files=(data,), coverage_root=root)
        for name, root in (("a", "/there"), ("b", ""), ("c", "/here"), ("d", "/there"))
    ]
    files = [FileAttempts(file=TestFile(path=one.file_path, label="x"), attempts=(one,)) for one in found]

    assert collect_data(results(*files)).roots == ("/here", "/there")


def test_only_the_attempt_that_counts_gives_data(tmp_path: Path) -> None:
    first, second = make(tmp_path, "1", "2")
    collected = collect_data(results(record("a", (Status.FAIL, (first,)), (Status.PASS, (second,)))))
    assert collected.data_files == (second,)


def test_passed_files_without_data_are_named_and_failed_ones_are_not(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    (journal,) = make(tmp_path, ".coverage.host.pid1.X-journal")
    collected = collect_data(
        results(
            record("nothing", (Status.PASS, ())),
            record("vanished", (Status.PASS, (gone,))),
            record("killed", (Status.PASS, (journal,))),
            record("crashed", (Status.CRASH, ())),
        )
    )
    assert collected.data_files == ()
    assert collected.files_without_data == ("nothing", "vanished", "killed")
