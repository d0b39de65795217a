"""What a program or a coding agent reads of a run: at most 100 lines, none of which a CI obeys."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.model.events import RunFinished
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.brief import BRIEF_LEVELS, MAX_LINES, brief_lines
from dispatcher.reporters.console.line_reporter import Hints
from dispatcher.reporters.failure_report import MAX_BLOCK_LINES, failed_file_lines
from dispatcher.reporters.failures import failures_of
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from tests.unit.dispatcher.reporters.console.test_compact import ASSERT_5, a_red_run, failed, file, result

HINTS = Hints(
    rerun=lambda record: f"run-tests {record.file.label}", log=lambda record: f"logs/{record.file.path}.log"
)


def lines_of(*records: FileAttempts) -> list[str]:
    return brief_lines(TestResults(records=records, duration_s=12.3), HINTS)


def many(count: int, cases: int = 50) -> list[FileAttempts]:
    files = [file(f"tests/test_{number:04}.py") for number in range(count)]
    long = ASSERT_5 + "".join(f"\nE       line {number}" for number in range(40))
    failures = [failed(f"T.test_{number}", long) for number in range(cases)]
    return [
        FileAttempts(
            file=one,
            attempts=(
                TestResult(file_path=one.path, status=Status.PASS, attempt=1),
                result(one, Status.FAIL, *failures, output="x\n" * 100, kept_tmp="/tmp/kept", attempt=2),
            ),
        )
        for one in files
    ]


def test_a_red_run() -> None:
    golden = Path(__file__).parent / "console" / "golden" / "brief.txt"
    end = a_red_run()[-1]
    assert isinstance(end, RunFinished)
    assert "\n".join(brief_lines(end.results, HINTS)) + "\n" == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [1, 13, 14, 15, 99, 3000])
@pytest.mark.parametrize("cases", [0, 1, 50])
def test_however_much_failed_100_lines_say_it(count: int, cases: int) -> None:
    lines = lines_of(*many(count, cases))
    assert len(lines) <= MAX_LINES
    assert lines[0].startswith(f"FAILED: {count:,} file(s): 0 passed, {count:,} failed")
    named = {line.removeprefix("[FAIL] ") for line in lines if line.startswith("[FAIL] ")}
    left_out = count - len(named)
    assert lines[-1] == f"and {left_out} more failed file(s)" or left_out == 0
    assert len(named) >= min(count, MAX_LINES // MAX_BLOCK_LINES)


def test_a_block_without_detail_is_never_longer_than_assumed() -> None:
    [record] = many(1)
    found = list(failures_of(record.file, record.final))
    assert len(list(failed_file_lines(record, found, BRIEF_LEVELS[-1], HINTS))) == MAX_BLOCK_LINES


def test_a_green_run_is_one_line_and_one_without_tests_says_why() -> None:
    good = file("tests/test_a.py")
    assert lines_of(FileAttempts(file=good, attempts=(result(good, Status.PASS),))) == [
        "OK: 1 file(s): 1 passed; 0 test(s): 0 passed; in 12.3s"
    ]
    stopped = FileAttempts(file=good, attempts=(result(good, Status.CANCELLED),))
    assert lines_of(stopped) == [
        "FAILED: 1 file(s): 0 passed, 1 not run; 0 test(s): 0 passed; in 12.3s",
        "[WARN] 1 file(s) did not run to their end:",
        "  - tests/test_a.py (stopped after 1.5s)",
        "[WARN] The run is not complete: 1 file(s) did not run to their end",
    ]


def test_no_line_is_a_command_of_a_ci() -> None:
    evil = file("tests/test_a.py")
    messages = "E   ValueError: x\nE   ::error::a\nE   ##[error]b\nE   ##vso[task.complete]c" + "d" * 1000
    record = FileAttempts(file=evil, attempts=(result(evil, Status.FAIL, failed("T.x", messages)),))
    lines = lines_of(record)
    assert [line[:30] for line in lines[3:6]] == [
        "    | ::error::a",
        "    | ##\\[error]b",
        "    | ##vso\\[task.complete]cdd",
    ]
    assert max(map(len, lines)) < 600
