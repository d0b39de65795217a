"""The history file: what is written is read again, and nothing that happens to it stops a run."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from dispatcher.history.file_history import FileHistory
from dispatcher.history.history import History
from dispatcher.history.merge import read_outcomes
from dispatcher.model.plan import TestFile
from passmuster.model.result import TestResult
from passmuster.model.status import Status

REPOSITORY = Path(__file__).parents[4]


def a_file(path: str = "tests/test_a.py") -> TestFile:
    return TestFile(path=path, label=path, size_bytes=10, mtime_ns=1_700_000_000_123_456_789)


def result(status: Status = Status.PASS, seconds: float = 1.5, peak: int | None = 2**33) -> TestResult:
    return TestResult(file_path="", status=status, duration=seconds, cpu_s=0.25, peak_bytes=peak)


def put(root: Path, *paths: str, run_id: str = "r1", now: float = 1.0, max_files: int = 100) -> History:
    history = History(root, clock=lambda: now, max_files=max_files)
    for path in paths:
        history.record(a_file(path), result(), run_id=run_id)
    history.close()
    return history


def load(root: Path) -> Mapping[str, FileHistory]:
    with closing(History(root)) as history:
        return history.load()


def database(root: Path) -> Path:
    return root / ".passmuster" / "history.sqlite3"


def test_what_was_recorded_is_there_in_the_next_run(tmp_path: Path) -> None:
    history = put(tmp_path, "tests/test_a.py")
    (loaded,) = load(tmp_path).values()
    assert (loaded.path, loaded.spawned.duration_s, loaded.spawned.cpu_s) == ("tests/test_a.py", 1.5, 0.25)
    assert (loaded.spawned.peak_bytes, loaded.spawned.runs, loaded.last_status) == (2**33, 1, Status.PASS)
    assert (loaded.size_bytes, loaded.mtime_ns) == (10, 1_700_000_000_123_456_789)
    assert history.notices == []


def test_what_was_recorded_shows_before_it_is_flushed(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.record(a_file(), result(seconds=4), run_id="r1")
    assert history.load()["tests/test_a.py"].spawned.duration_s == 4
    history.flush()
    history.record(a_file(), result(seconds=2), run_id="r2")
    assert history.load()["tests/test_a.py"].spawned.duration_s == 3
    assert history.load()["tests/test_a.py"].spawned.duration_s == 3
    history.close()


def test_the_directory_is_ignored_by_git_and_an_own_ignore_file_is_kept(tmp_path: Path) -> None:
    put(tmp_path, "a")
    ignore_file = tmp_path / ".passmuster" / ".gitignore"
    assert ignore_file.read_text() == "*\n"
    ignore_file.write_text("mine\n")
    put(tmp_path, "a")
    assert ignore_file.read_text() == "mine\n"


@pytest.mark.parametrize("path", ["tests/test_é 中.py", "tests/test_\udcff.py", "tests/new\nline's \"%?.py"])
def test_any_path_survives(tmp_path: Path, path: str) -> None:
    put(tmp_path, path)
    put(tmp_path, path, run_id="r2")
    loaded = load(tmp_path)
    assert loaded[path].path == path
    assert loaded[path].spawned.runs == 2


def test_outcomes_of_runs_are_stored(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.record(a_file(), result(Status.FAIL), run_id="r1")
    history.record(a_file(), result(), run_id="r1")
    history.flush()
    history.record(a_file(), result(), run_id="r2")
    outcomes = read_outcomes(history.load()["tests/test_a.py"].outcomes)
    assert outcomes == ((Status.FAIL, Status.PASS), (Status.PASS,))
    history.close()


def test_earlier_runs_are_those_before_this_one(tmp_path: Path) -> None:
    with closing(History(tmp_path)) as history:
        for run_id, status in (("r1", Status.FAIL), ("r2", Status.PASS), ("r3", Status.PASS)):
            for path in ("steady.py", "shaky.py"):
                passes = path == "steady.py"
                history.record(a_file(path), result(Status.PASS if passes else status), run_id=run_id)
        history.flush()
        wanted = history.load_earlier_runs(["steady.py", "new.py"], run_id="r3")
        unsteady = history.load_earlier_runs([], run_id="r4", or_unsteady=["steady.py", "shaky.py"])

    assert {path: len(runs) for path, runs in wanted.items()} == {"steady.py": 2}
    assert [run.statuses for run in unsteady["shaky.py"]] == [(Status.FAIL,), (Status.PASS,), (Status.PASS,)]
    assert unsteady.keys() == {"shaky.py"}


def test_the_longest_unseen_are_dropped_beyond_the_bound(tmp_path: Path) -> None:
    put(tmp_path, "old", now=1.0, max_files=2)
    put(tmp_path, "a", now=2.0, max_files=2)
    put(tmp_path, "b", now=3.0, max_files=2)
    assert set(load(tmp_path)) == {"a", "b"}


def test_more_paths_than_one_query_takes_are_merged(tmp_path: Path) -> None:
    paths = [f"test_{number}.py" for number in range(1203)]
    put(tmp_path, *paths, max_files=2000)
    put(tmp_path, *paths, run_id="r2", max_files=2000)
    assert {file.spawned.runs for file in load(tmp_path).values()} == {2}


def test_two_runs_that_flush_at_once_lose_nothing(tmp_path: Path) -> None:
    flushes = 20

    def run(name: str) -> list[str]:
        history = History(tmp_path)
        for _ in range(flushes):
            history.record(a_file(), result(), run_id=name)
            history.flush()
        history.close()
        return history.notices

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, ["r1", "r2", "r3"])) == [[], [], []]
    assert load(tmp_path)["tests/test_a.py"].spawned.runs == 3 * flushes


def make_garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 500)


def make_foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE files (name TEXT)")
    connection.close()


def make_newer(path: Path) -> None:
    put(path.parent.parent, "a")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def make_without_table(path: Path) -> None:
    put(path.parent.parent, "a")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE files")
    connection.close()


@pytest.mark.parametrize("make", [make_garbage, make_foreign, make_newer, make_without_table])
def test_a_file_that_cannot_be_read_is_put_aside_and_rebuilt(tmp_path: Path, make: object) -> None:
    path = database(tmp_path)
    path.parent.mkdir()
    assert callable(make)
    make(path)
    spoilt = path.read_bytes()
    history = put(tmp_path, "b")
    assert set(load(tmp_path)) == {"b"}
    assert path.with_name("history.sqlite3.broken").read_bytes() == spoilt
    (notice,) = history.notices
    assert "starts anew" in notice


def test_a_journal_of_the_broken_file_does_not_reach_the_new_one(tmp_path: Path) -> None:
    path = database(tmp_path)
    path.parent.mkdir()
    make_foreign(path)
    journal = path.with_name(path.name + "-journal")
    # A journal without a valid header is ignored by SQLite, so it survives being looked at.
    journal.write_bytes(b"left behind")
    put(tmp_path, "b")
    assert not journal.exists()


def test_a_file_that_breaks_while_a_run_is_under_way_costs_only_the_past(tmp_path: Path) -> None:
    put(tmp_path, "old")
    history = History(tmp_path)
    history.load()
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("DROP TABLE files")
    connection.close()
    history.record(a_file("new"), result(), run_id="r2")
    history.flush()
    assert set(load(tmp_path)) == {"new"}
    assert len(history.notices) == 1
    history.close()


def test_a_new_file_that_is_broken_too_is_not_replaced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr("dispatcher.history.schema.write_rows", fail)
    history = History(tmp_path)
    for number in (1, 2):
        history.record(a_file(), result(), run_id=f"r{number}")
        history.flush()

    assert history.load()["tests/test_a.py"].spawned.runs == 2
    history.close()
    assert [notice.split(":")[0] for notice in history.notices] == [
        "the history of earlier runs could not be read and starts anew",
        "the history of this run is not kept",
    ]


def test_a_row_that_makes_no_sense_is_a_broken_file(tmp_path: Path) -> None:
    put(tmp_path, "a")
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("UPDATE files SET last_status = 'SPLENDID'")
    connection.close()
    history = History(tmp_path)
    assert history.load() == {}
    assert len(history.notices) == 1
    history.close()


def test_a_damaged_page_is_a_broken_file(tmp_path: Path) -> None:
    put(tmp_path, *[f"test_{number}.py" for number in range(200)], max_files=1000)
    with database(tmp_path).open("r+b") as stream:
        stream.seek(4096 * 2)
        stream.write(b"\xff" * 4096 * 2)
    history = put(tmp_path, "test_7.py", run_id="r2")
    assert len(history.notices) == 1
    assert load(tmp_path)["test_7.py"].spawned.runs == 1


def test_without_a_directory_the_history_stays_in_memory_with_one_warning(tmp_path: Path) -> None:
    (tmp_path / ".passmuster").write_text("in the way")
    history = History(tmp_path)
    for number in (1, 2):
        history.record(a_file(), result(), run_id=f"r{number}")
        history.flush()
    assert history.load()["tests/test_a.py"].spawned.runs == 2
    history.close()
    (notice,) = history.notices
    assert "is not kept" in notice


def test_a_lock_held_by_another_process_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.history.schema.BUSY_TIMEOUT_S", 0.01)
    put(tmp_path, "a")
    other = sqlite3.connect(database(tmp_path), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    history = History(tmp_path)
    history.record(a_file("b"), result(), run_id="r2")
    history.flush()
    assert "b" in history.load()
    other.execute("ROLLBACK")
    other.close()
    assert len(history.notices) == 1
    assert set(load(tmp_path)) == {"a"}
    history.close()


FULL_DISK = """
import resource, sys
from pathlib import Path
from dispatcher.model.plan import TestFile
from dispatcher.history.history import History
from dispatcher.history.merge import read_outcomes
from dispatcher.history.file_history import FileHistory
from passmuster.model.result import TestResult
from passmuster.model.status import Status
history = History(Path(sys.argv[1]))
history.load()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for number in range(500):
    file = TestFile(path=f"tests/test_{number}.py", label="")
    history.record(file, TestResult(file_path=file.path, status=Status.PASS), run_id="r")
history.flush()
files = history.load()
history.close()
print(len(files), len(history.notices), "old" in files)
"""


def test_a_disk_that_is_full_stops_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    put(tmp_path, "old")
    # A limit on the size of files behaves as a disk without room for more.
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout == "501 1 True\n", done.stderr
    assert set(load(tmp_path)) == {"old"}
