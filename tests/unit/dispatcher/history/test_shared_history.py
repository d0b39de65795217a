"""A history that was given is read, never written, and refused where it cannot be read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.history.history import History, read_shared_history
from dispatcher.history.schema import FILE_NAME
from dispatcher.model.plan import TestFile
from passmuster.model.errors import ConfigurationError
from passmuster.model.result import TestResult
from passmuster.model.status import Status

FILE = TestFile(path="tests/test_\udce4.py", label="", size_bytes=3, mtime_ns=4)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A history in a folder where nothing can be written by most."""
    history = History(tmp_path / "made #1?")
    history.record(FILE, TestResult(file_path=FILE.path, status=Status.PASS, duration=2.5), run_id="r")
    history.close()
    path = tmp_path / "made #1?" / ".passmuster" / FILE_NAME
    path.chmod(0o444)
    path.parent.chmod(0o555)
    return path


def test_it_is_read_and_left_alone(written: Path) -> None:
    before = (written.read_bytes(), written.stat().st_mtime_ns, sorted(written.parent.iterdir()))

    known = read_shared_history(written, origin="--history-from").files

    assert known[FILE.path].spawned.duration_s == 2.5
    assert before == (written.read_bytes(), written.stat().st_mtime_ns, sorted(written.parent.iterdir()))


def test_one_of_an_older_program_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "old"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE files (path BLOB PRIMARY KEY, duration_s REAL NOT NULL, cpu_s REAL,"
            " peak_bytes INTEGER, last_status TEXT NOT NULL, size_bytes INTEGER NOT NULL,"
            " mtime_ns INTEGER NOT NULL, runs INTEGER NOT NULL, outcomes TEXT NOT NULL,"
            " last_run_id TEXT NOT NULL, seen_at REAL NOT NULL) WITHOUT ROWID;"
            "PRAGMA application_id = 0x504D5431; PRAGMA user_version = 1;"
            "INSERT INTO files VALUES (x'61', 1.5, 1, 2, 'PASS', 3, 4, 5, 'P', 'r', 6);"
        )
    connection.close()
    before = path.read_bytes()

    assert read_shared_history(path, origin="x").files["a"].spawned.duration_s == 1.5
    assert path.read_bytes() == before


def other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE files (path)")
    connection.close()


def newer_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA application_id = 0x504D5431; PRAGMA user_version = 99;")
    connection.close()


def wrong_row(path: Path) -> None:
    history = History(path.parent)
    history.record(FILE, TestResult(file_path=FILE.path, status=Status.PASS), run_id="r")
    history.close()
    (path.parent / ".passmuster" / FILE_NAME).rename(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE files SET last_status = 'odd'")
    connection.close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file"),
        (Path.mkdir, "it is not a regular file"),
        (os.mkfifo, "it is not a regular file"),
        (Path.touch, "it is empty"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + b"x" * 5000), "file is not a database"),
        (lambda path: path.write_text("hello" * 1000), "file is not a database"),
        (other_program, "made by another program"),
        (newer_program, "format 99"),
        (wrong_row, "cannot have written"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    make: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "given.sqlite3"
    make(path)

    with pytest.raises(ConfigurationError) as caught:
        read_shared_history(path, origin="--history-from")

    assert f"cannot use the history {path} (from --history-from): " in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
