"""What the history keeps of forked files, and of files that need room."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.history.history import History
from dispatcher.model.plan import TestFile
from dispatcher.model.results import Finding
from dispatcher.model.usage_stats import UsageStats
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status, StopReason

FILE = TestFile(path="tests/test_a.py", label="test_a.py", size_bytes=10, mtime_ns=20)
FORKED = TestResult(
    file_path=FILE.path, status=Status.PASS, duration=1.0, cpu_s=0.5, peak_bytes=100, isolation=Isolation.FORK
)
SPAWNED = TestResult(file_path=FILE.path, status=Status.PASS, duration=4.0, cpu_s=3.0, peak_bytes=900)

FORKED_FIGURES = UsageStats(duration_s=1.0, cpu_s=0.5, peak_bytes=100, runs=1, max_s=1.0, max_cpu_s=0.5)
SPAWNED_FIGURES = UsageStats(duration_s=4.0, cpu_s=3.0, peak_bytes=900, runs=1, max_s=4.0, max_cpu_s=3.0)


def after(root: Path, *attempts: tuple[TestResult, Finding | None], file: TestFile = FILE) -> FileHistory:
    """Return what is remembered in the next run."""
    with closing(History(root)) as history:
        for result, finding in attempts:
            history.record(file, result, run_id="r1", finding=finding)
    with closing(History(root)) as history:
        return history.load()[file.path]


def test_a_confirmation_does_not_change_what_a_fork_is_expected_to_take(tmp_path: Path) -> None:
    known = after(tmp_path, (FORKED, None), (SPAWNED, Finding.VERIFIED))

    assert known.forking is ForkObservation.CONFIRMED
    assert known.forked == FORKED_FIGURES
    assert known.spawned == SPAWNED_FIGURES
    assert known.as_run(FILE, Isolation.AUTO).spawned.duration_s == 1.0


def test_the_highest_time_and_its_run_are_kept_for_a_while(tmp_path: Path) -> None:
    busy = replace(FORKED, duration=9.0, cpu_s=8.0)

    once = after(tmp_path, (FORKED, None), (busy, None))
    later = after(tmp_path, (FORKED, None), (FORKED, None))

    assert once.forked is not None
    assert later.forked is not None
    assert (once.forked.max_s, once.forked.max_cpu_s) == (9.0, 8.0)
    assert (later.forked.max_s, later.forked.max_cpu_s) == (5.5, 4.71875)
    assert later.last_run_id == "r1"


def test_runs_that_alternate_between_the_ways_do_not_mix_them(tmp_path: Path) -> None:
    known = after(tmp_path, *[(FORKED, None), (SPAWNED, None)] * 3)

    assert (known.forked, known.spawned) == (
        replace(FORKED_FIGURES, runs=3),
        replace(SPAWNED_FIGURES, runs=3),
    )


def test_an_evicted_fork_raises_only_the_peak_of_forks(tmp_path: Path) -> None:
    evicted = replace(FORKED, status=Status.MEMORY, peak_bytes=500, stop_reason=StopReason.MEMORY_BUDGET)

    known = after(tmp_path, (SPAWNED, None), (evicted, None))

    assert known.forked == UsageStats(peak_bytes=500)
    assert known.spawned.peak_bytes == 900


@pytest.mark.parametrize(
    ("finding", "forking", "fails_in_parallel"),
    [
        (Finding.VERIFIED, ForkObservation.CONFIRMED, False),
        (Finding.FAILS_WHEN_FORKED, ForkObservation.HARMFUL, False),
        (Finding.PASSES_ONLY_FORKED, ForkObservation.HARMFUL, False),
        (Finding.FAILS_IN_PARALLEL, ForkObservation.UNKNOWN, True),
        (Finding.UNVERIFIED, ForkObservation.UNVERIFIED, False),
        (None, ForkObservation.UNKNOWN, False),
    ],
)
def test_a_finding_is_stored_and_outlives_further_runs(
    tmp_path: Path, finding: Finding | None, forking: ForkObservation, fails_in_parallel: bool
) -> None:
    for attempts in ([(SPAWNED, finding)], [(FORKED, None)]):
        known = after(tmp_path, *attempts)
        assert (known.forking, known.fails_in_parallel) == (forking, fails_in_parallel)


@pytest.mark.parametrize("finding", [Finding.FAILS_WHEN_FORKED, Finding.VERIFIED, Finding.FAILS_IN_PARALLEL])
def test_a_finding_is_forgotten_when_the_file_changes(tmp_path: Path, finding: Finding) -> None:
    after(tmp_path, (SPAWNED, finding))

    known = after(tmp_path, (FORKED, None), file=replace(FILE, size_bytes=11))

    assert (known.forking, known.fails_in_parallel) == (ForkObservation.UNKNOWN, False)
    assert known.spawned.runs == 1


FORKED_FAILURE = replace(FORKED, status=Status.FAIL)
SPAWNED_FAILURE = replace(SPAWNED, status=Status.FAIL)


@pytest.mark.parametrize(
    ("later", "forking"),
    [
        ([], ForkObservation.UNVERIFIED),
        ([(FORKED, None)], ForkObservation.UNVERIFIED),
        ([(SPAWNED, None)], ForkObservation.CONFIRMED),
        ([(FORKED, None), (SPAWNED, None)], ForkObservation.CONFIRMED),
        ([(SPAWNED_FAILURE, None)], ForkObservation.UNKNOWN),
        ([(FORKED_FAILURE, None), (SPAWNED, None)], ForkObservation.UNKNOWN),
        ([(SPAWNED, None), (FORKED_FAILURE, Finding.FAILS_WHEN_FORKED)], ForkObservation.HARMFUL),
    ],
)
def test_a_pass_when_forked_is_verified_by_a_pass_when_spawned_in_a_later_run(
    tmp_path: Path, later: list[tuple[TestResult, Finding | None]], forking: ForkObservation
) -> None:
    known = after(tmp_path, (FORKED, Finding.UNVERIFIED), *later)

    assert known.forking is forking


def test_another_version_of_a_file_does_not_verify_it(tmp_path: Path) -> None:
    after(tmp_path, (FORKED, Finding.UNVERIFIED))

    known = after(tmp_path, (SPAWNED, None), file=replace(FILE, size_bytes=11))

    assert known.forking is ForkObservation.UNKNOWN


def test_a_history_of_the_first_version_is_given_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / ".passmuster" / "history.sqlite3"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE files (
                path BLOB PRIMARY KEY, duration_s REAL NOT NULL, cpu_s REAL, peak_bytes INTEGER,
                last_status TEXT NOT NULL, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
                runs INTEGER NOT NULL, outcomes TEXT NOT NULL, last_run_id TEXT NOT NULL,
                seen_at REAL NOT NULL
            ) WITHOUT ROWID;
            INSERT INTO files VALUES
                (CAST('tests/test_a.py' AS BLOB), 4.0, 3.0, 900, 'PASS', 10, 20, 1, 'P', 'r0', 1.0);
            PRAGMA application_id = 1347245105;
            PRAGMA user_version = 1;
            """
        )

    known = after(tmp_path, (FORKED, None))

    assert known.spawned == UsageStats(duration_s=4.0, cpu_s=3.0, peak_bytes=900, runs=1)
    assert known.forked == FORKED_FIGURES
    assert not path.with_name("history.sqlite3.broken").exists()
    with closing(History(tmp_path)) as history:
        assert history.notices == []
