"""The SQLite file of the history: its table, its rows, and how a foreign or broken file is set aside.

Only `dispatcher.history.history` and `history` use this. Everything here may raise `sqlite3.Error` or
`OSError`; the caller decides what a run does about it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from msgspec import ValidationError, convert, structs

from dispatcher.history.file_history import FileHistory
from dispatcher.model.usage_stats import UsageStats

FILE_NAME = "history.sqlite3"
BROKEN_NAME = "history.sqlite3.broken"

APPLICATION_ID = 0x504D5431
"""`PMT1` in SQLite's header: distinguishes a history from any other database."""

SCHEMA_VERSION = 8
"""Increases when the tables, or what a cell may contain, change. A file of an older program gets the missing
columns and tables; one of a newer program is set aside, never guessed at.
"""

BUSY_TIMEOUT_S = 5.0
"""How long a write waits for that of another run. A flush takes milliseconds, so this is reached only if a
run was stopped (SIGSTOP) in the middle of one.
"""

_SIDE_FILES = ("-journal", "-wal", "-shm")
_COLUMNS = (
    "path, last_status, size_bytes, mtime_ns, outcomes, last_run_id, forking, is_crowded, failing_tests,"
    " test_times, is_indivisible, measurements,"
    " duration_s, cpu_s, peak_bytes, runs, most_s, most_cpu_s,"
    " forked_duration_s, forked_cpu_s, forked_peak_bytes, forked_runs, forked_most_s, forked_most_cpu_s"
)
_CREATE = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY,
    duration_s REAL NOT NULL,
    cpu_s REAL,
    peak_bytes INTEGER,
    last_status TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    outcomes TEXT NOT NULL,
    last_run_id TEXT NOT NULL,
    seen_at REAL NOT NULL
) WITHOUT ROWID
"""
_CREATE_INPUTS = """
CREATE TABLE IF NOT EXISTS inputs (
    path BLOB PRIMARY KEY,
    record BLOB NOT NULL
) WITHOUT ROWID
"""
"""What each file read when it last passed (`dispatcher.inputs.record`). A table of its
own, because few runs read it, and it is ten times as large as the other one."""


def _columns(*definitions: str) -> tuple[str, ...]:
    return tuple(f"ALTER TABLE files ADD COLUMN {definition}" for definition in definitions)


_UPDATES: Mapping[int, Sequence[str]] = {
    2: _columns(
        "forking TEXT NOT NULL DEFAULT 'unknown'",
        "is_crowded INTEGER NOT NULL DEFAULT 0",
        "forked_duration_s REAL NOT NULL DEFAULT 0.0",
        "forked_cpu_s REAL",
        "forked_peak_bytes INTEGER",
        # Null: it was never forked.
        "forked_runs INTEGER",
    ),
    # Null: it was not recorded yet.
    3: _columns("most_s REAL", "most_cpu_s REAL", "forked_most_s REAL", "forked_most_cpu_s REAL"),
    4: _columns("failing_tests TEXT NOT NULL DEFAULT ''"),
    # `forking` may be `unverified`.
    5: (),
    6: (_CREATE_INPUTS,),
    7: _columns("test_times TEXT NOT NULL DEFAULT ''", "is_indivisible INTEGER NOT NULL DEFAULT 0"),
    8: _columns("measurements TEXT NOT NULL DEFAULT ''"),
}
"""The statements that lead from the version before to each version after the first."""

_SEPARATOR = "\n"
"""Between the names of failing tests."""

_CHUNK = 500
"""Paths in one query: SQLite before 3.32 allows 999 parameters."""

_Cell = bytes | str | int | float | None


class ForeignFileError(Exception):
    """The file is a database that this program does not understand."""


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the history file and check that it is a history.

    Raises:
        ForeignFileError: it belongs to another or to a newer program.
        sqlite3.Error: it is not a database, is damaged, or cannot be opened.
    """
    # `isolation_level=None`: transactions are started explicitly, so that a merge can take the write lock
    # before it reads.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        if not _is_ours(connection):
            _create(connection)
        _bring_up_to_date(connection)
        # This file is a cache. A power cut may destroy it, and then it is rebuilt; waiting for the disk
        # in every run would cost more.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"SELECT {_COLUMNS}, seen_at FROM files LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def read_file(path: Path) -> tuple[dict[str, FileHistory], dict[str, bytes]]:
    """Return the rows of a history file, and the inputs in it, without changing it; it may be read-only.

    Args:
        path: absolute.

    Raises:
        ForeignFileError: it belongs to another or to a newer program, or is empty.
        sqlite3.Error: it is not a database, is damaged, or cannot be opened.
    """
    # All at once, so that an older file is updated only when that costs nothing.
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as file,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as memory,
    ):
        file.backup(memory)
        if not _is_ours(memory):
            raise ForeignFileError("it is empty")
        _bring_up_to_date(memory)
        return read_rows(memory), read_inputs(memory)


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Return whether the file carries the mark of Passmuster; False: it is empty.

    Raises:
        ForeignFileError: it carries the mark of another program, or of a newer version.
    """
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    if application_id == APPLICATION_ID and 1 <= version <= SCHEMA_VERSION:
        return True
    if application_id == 0 and version == 0 and tables == 0:
        return False
    if application_id == APPLICATION_ID:
        raise ForeignFileError(f"it has format {version}, this program writes format {SCHEMA_VERSION}")
    raise ForeignFileError("it was made by another program")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with transaction_end(connection):
        connection.execute(_CREATE)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if _number(connection, "PRAGMA user_version") == 0:  # Another run may have been quicker.
            connection.execute("PRAGMA user_version = 1")


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Add the columns and tables that the file's version lacks."""
    if _number(connection, "PRAGMA user_version") == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    with transaction_end(connection):
        # Asked again under the lock: two runs may start at once.
        for version in range(_number(connection, "PRAGMA user_version") + 1, SCHEMA_VERSION + 1):
            for statement in _UPDATES[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version}")


def _number(connection: sqlite3.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone()
    return int(value)


@contextmanager
def transaction_end(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit the open transaction at the end, or roll it back when an exception passes."""
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the lock under which a broken file is set aside, so that two runs do not do it twice."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> None:
    """Rename the file to its single `.broken` generation, and remove SQLite's companion files.

    SQLite would replay a remaining journal into the new file.
    """
    path.replace(path.with_name(BROKEN_NAME))
    for suffix in _SIDE_FILES:
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink()


def read_rows(connection: sqlite3.Connection, paths: Sequence[str] | None = None) -> dict[str, FileHistory]:
    """Return the rows of `paths` by path; None: all of them, in one query."""
    query = f"SELECT {_COLUMNS} FROM files"
    if paths is None:
        return {row.path: row for row in map(_from_row, connection.execute(query))}
    found: dict[str, FileHistory] = {}
    for start in range(0, len(paths), _CHUNK):
        chunk = [os.fsencode(path) for path in paths[start : start + _CHUNK]]
        marks = ", ".join("?" * len(chunk))
        rows = map(_from_row, connection.execute(f"{query} WHERE path IN ({marks})", chunk))
        found.update((row.path, row) for row in rows)
    return found


def write_rows(
    connection: sqlite3.Connection, rows: Iterable[FileHistory], *, seen_at: float, max_files: int
) -> None:
    """Insert or replace rows, and drop the longest unseen beyond `max_files`; needs a transaction."""
    columns = f"{_COLUMNS}, seen_at"
    marks = ", ".join("?" * len(columns.split(",")))
    connection.executemany(
        f"INSERT OR REPLACE INTO files ({columns}) VALUES ({marks})",
        ((*_to_row(row), seen_at) for row in rows),
    )
    surplus = _number(connection, "SELECT count(*) FROM files") - max_files
    if surplus > 0:
        connection.execute(
            "DELETE FROM files WHERE path IN (SELECT path FROM files ORDER BY seen_at, path LIMIT ?)",
            (surplus,),
        )
        connection.execute("DELETE FROM inputs WHERE path NOT IN (SELECT path FROM files)")


def read_inputs(connection: sqlite3.Connection) -> dict[str, bytes]:
    """Return the stored inputs of all files, by path."""
    rows = connection.execute("SELECT path, record FROM inputs")
    return {os.fsdecode(path): record for path, record in rows if isinstance(record, bytes)}


def write_inputs(connection: sqlite3.Connection, records: Mapping[str, bytes]) -> None:
    """Insert or replace the inputs of files; needs a transaction."""
    rows = [(os.fsencode(path), record) for path, record in records.items()]
    connection.executemany("INSERT OR REPLACE INTO inputs (path, record) VALUES (?, ?)", rows)


def _to_row(file: FileHistory) -> tuple[_Cell, ...]:
    # Paths are bytes to the system and need not be UTF-8, which SQLite's text has to be.
    return (
        os.fsencode(file.path),
        file.last_status.value,
        file.size_bytes,
        file.mtime_ns,
        file.outcomes,
        file.last_run_id,
        file.forking.value,
        int(file.fails_in_parallel),
        _SEPARATOR.join(file.failing_tests),
        file.test_times,
        int(file.is_indivisible),
        file.measurements,
        *structs.astuple(file.spawned),
        *(structs.astuple(file.forked) if file.forked is not None else (0.0, *(None,) * 5)),
    )


def _from_row(cells: Sequence[_Cell]) -> FileHistory:
    path, last_status, size_bytes, mtime_ns, outcomes, last_run_id, forking, fails_in_parallel = cells[:8]
    failing_tests, test_times, is_indivisible, measurements = str(cells[8]), *cells[9:12]
    if not isinstance(path, bytes):
        raise sqlite3.DatabaseError("a row that this program cannot have written: its path is not bytes")
    record = {
        "path": os.fsdecode(path),
        "last_status": last_status,
        "size_bytes": size_bytes,
        "mtime_ns": mtime_ns,
        "outcomes": outcomes,
        "last_run_id": last_run_id,
        "forking": forking,
        "fails_in_parallel": bool(fails_in_parallel),
        "failing_tests": failing_tests.split(_SEPARATOR) if failing_tests else (),
        "test_times": test_times,
        "is_indivisible": bool(is_indivisible),
        "measurements": measurements,
        "spawned": _usage(cells[12:18]),
        "forked": _usage(cells[18:]),
    }
    try:
        return convert(record, FileHistory)
    except ValidationError as error:
        raise sqlite3.DatabaseError(f"a row that this program cannot have written: {error}") from error


def _usage(cells: Sequence[_Cell]) -> dict[str, _Cell] | None:
    """Return the values of one start method; None: the file never ran with it."""
    usage = dict(zip(UsageStats.__struct_fields__, cells, strict=True))
    return None if usage["runs"] is None else {name: cell for name, cell in usage.items() if cell is not None}
