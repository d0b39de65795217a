"""Tests the journal of a run, and what of it counts when the run is resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from msgspec.structs import replace

from dispatcher.engine.journal import (
    FILE_NAME,
    Journal,
    find_run,
    has_coverage_data,
    open_journal,
    read_journal,
    resume_message,
)
from dispatcher.model.plan import TestFile
from dispatcher.run.prepare import new_run_id
from passmuster.model.errors import ConfigurationError
from passmuster.model.result import PartRun, TestResult
from passmuster.model.status import Status
from passmuster.model.test_selection import FilePart, TestSelection

A = TestFile(path="test_a.py", label="test_a.py", size_bytes=1, mtime_ns=1)
B = TestFile(path="test_b.py", label="test_b.py", size_bytes=2, mtime_ns=2)
PASS_A = TestResult(file_path="test_a.py", status=Status.PASS, output="gr\udcfc\u00df\n")
FAIL_B = TestResult(file_path="test_b.py", status=Status.FAIL, attempt=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "20260101-000000-abcdef"
    folder.mkdir()
    return folder / FILE_NAME


def written(path: Path, *results: TestResult, is_over: bool = False) -> None:
    journal = Journal(path, is_durable=True)
    assert journal.is_new
    journal.start(path.parent.name, [A, B])
    journal.add(results)
    if is_over:
        journal.end()
    journal.close()


def test_written_results_are_read(path: Path) -> None:
    written(path, PASS_A, FAIL_B)

    assert read_journal(path, [A, B]) == ({("test_a.py", 1): PASS_A, ("test_b.py", 2): FAIL_B}, 0)


def test_a_file_in_parts_has_run_when_all_its_parts_have(path: Path) -> None:
    parts = [FilePart(number=number, total=2, first="test_2" if number == 2 else "") for number in (1, 2)]
    one, two = (replace(PASS_A, parts=(PartRun(part=part),)) for part in parts)
    written(path, one, FAIL_B)

    finished, _ = read_journal(path, [A, B])
    assert finished == {(f"test_a.py/{parts[0].name}", 1): one, ("test_b.py", 2): FAIL_B}
    assert resume_message("r", finished, 2) == "resuming run r: 1 of 2 files have already run"
    assert "2 of 2 files" in resume_message("r", {**finished, (two.key, 1): two}, 2)


def test_a_part_that_was_cut_elsewhere_is_another_part() -> None:
    cuts = [FilePart(number=1, total=2, until=until).name for until in ("test_1", "test_2")]

    assert len(set(cuts)) == 2


def test_a_journal_is_continued(path: Path) -> None:
    written(path, PASS_A)
    journal = Journal(path, is_durable=False)
    assert not journal.is_new
    journal.add([FAIL_B])
    journal.close()

    assert len(read_journal(path, [A, B])[0]) == 2


def test_a_truncated_line_does_not_count(path: Path) -> None:
    written(path, PASS_A, FAIL_B)
    path.write_bytes(path.read_bytes()[:-10])

    assert read_journal(path, [A, B]) == ({("test_a.py", 1): PASS_A}, 0)


def test_the_line_after_a_truncated_one_is_read(path: Path) -> None:
    written(path, PASS_A)
    path.write_bytes(path.read_bytes()[:-10])

    journal = Journal(path, is_durable=False)
    journal.add([FAIL_B])
    journal.close()

    assert read_journal(path, [A, B]) == ({("test_b.py", 2): FAIL_B}, 1)


@pytest.mark.parametrize(
    ("selection", "counts"),
    [
        (TestSelection(), True),
        (TestSelection(seed="7"), True),
        (TestSelection(keyword="one"), False),
        (TestSelection(quarantined=("test_one",)), False),
        (TestSelection(arguments=("--runslow",)), False),
    ],
)
def test_a_result_of_other_tests_of_the_file_does_not_count(
    path: Path, selection: TestSelection, counts: bool
) -> None:
    written(path, FAIL_B)

    finished, _ = read_journal(path, [A, replace(B, selection=selection)])

    assert bool(finished) is counts


def test_a_result_of_a_changed_file_does_not_count(path: Path) -> None:
    written(path, PASS_A, FAIL_B)
    changed = TestFile(path="test_a.py", label="test_a.py", size_bytes=1, mtime_ns=9)

    assert read_journal(path, [changed, B]) == ({("test_b.py", 2): FAIL_B}, 0)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([A], "test_b.py is missing"),
        ([A, B, TestFile(path="test_c.py", label="test_c.py")], "test_c.py is new"),
    ],
)
def test_a_run_of_other_files_is_refused(path: Path, files: list[TestFile], words: str) -> None:
    written(path, PASS_A)

    with pytest.raises(ConfigurationError, match=words):
        read_journal(path, files)


def test_a_finished_run_is_refused(path: Path) -> None:
    written(path, PASS_A, is_over=True)

    with pytest.raises(ConfigurationError, match="has finished"):
        read_journal(path, [A, B])


@pytest.mark.parametrize("text", ["", "[]\n", '{"format": 99}\n', "\0\0\n"])
def test_a_damaged_journal_is_named(path: Path, text: str) -> None:
    path.write_text(text)

    with pytest.raises(ConfigurationError, match="cannot be resumed, its journal"):
        read_journal(path, [A, B])


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[: len(line) // 2],
        lambda line: bytes(byte ^ 1 for byte in line),
        lambda line: line.replace(b"test_a.py", b"test_b.py"),
        lambda line: line.replace(b"PASS", b"FAIL"),
        lambda line: bytes(len(line)),
        lambda _: b"",
        lambda _: b"[]",
        lambda _: b"ffffffff " + b"9" * 5000,
    ],
)
def test_a_damaged_line_is_counted_and_ignored(path: Path, damage: Callable[[bytes], bytes]) -> None:
    written(path, PASS_A, FAIL_B)
    head, first, *rest = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([head, damage(first), *rest]))

    assert read_journal(path, [A, B]) == ({("test_b.py", 2): FAIL_B}, 1)


@pytest.mark.parametrize("text", ['"other"', "[]", "[1]", "[1, 2]", "null", "{}", "9" * 5000])
def test_a_line_of_another_form_is_counted_and_ignored(path: Path, text: str) -> None:
    written(path, PASS_A)
    journal = Journal(path, is_durable=False)
    journal._write(text)
    journal.close()

    assert read_journal(path, [A, B]) == ({("test_a.py", 1): PASS_A}, 1)


def test_ignored_lines_are_reported(path: Path) -> None:
    written(path, PASS_A, FAIL_B)
    path.write_bytes(path.read_bytes().replace(b"test_b.py", b"test_c.py", 2))
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0].replace(b"test_c.py", b"test_b.py"), *lines[1:]]))

    with ExitStack() as stack:
        opened = open_journal(path, "r", [A, B], is_durable=False, needs_data=False, stack=stack)

    assert "1 damaged line(s) of" in opened.notice
    assert "their files rerun" in opened.notice


def test_a_journal_of_another_format_names_both_numbers(path: Path) -> None:
    journal = Journal(path, is_durable=False)
    journal._write(json.dumps({"format": 99, "run": "r", "files": {}}))
    journal.close()

    with pytest.raises(ConfigurationError, match="its format is 99, this version reads 5"):
        read_journal(path, [A, B])


def test_runs_that_start_within_one_second_sort_by_their_start() -> None:
    ids = [new_run_id(1_700_000_000_000_000_000 + number * 1000) for number in (0, 1, 15, 16, 999_999)]

    assert ids == sorted(ids)
    assert len({len(each) for each in ids}) == 1


def test_a_run_in_progress_is_not_resumed(path: Path) -> None:
    journal = Journal(path, is_durable=False)

    with pytest.raises(ConfigurationError, match="is still in progress"):
        Journal(path, is_durable=False)
    journal.close()
    Journal(path, is_durable=False).close()


def test_a_run_is_found_by_its_id_and_as_the_last(tmp_path: Path) -> None:
    for name in ("20260101-000000-aaaaaa", "20260102-000000-bbbbbb"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE_NAME).touch()
    (tmp_path / "20260103-000000-cccccc").mkdir()

    assert find_run(tmp_path, "last") == "20260102-000000-bbbbbb"
    assert find_run(tmp_path, "20260101-000000-aaaaaa") == "20260101-000000-aaaaaa"
    with pytest.raises(ConfigurationError, match="no run 20260103-000000-cccccc to resume"):
        find_run(tmp_path, "20260103-000000-cccccc")
    with pytest.raises(ConfigurationError, match="no run to resume in"):
        find_run(tmp_path / "nothing", "last")


def test_a_result_without_its_coverage_data_does_not_count(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.touch()

    def result(*files: Path) -> TestResult:
        return TestResult(file_path="a", status=Status.PASS, coverage_files=tuple(map(str, files)))

    assert has_coverage_data(result(data))
    assert not has_coverage_data(result(data, tmp_path / "gone"))
    assert not has_coverage_data(result())
