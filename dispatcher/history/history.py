"""The measurements of earlier runs of a project, in `.passmuster/history.sqlite3` of its root.

`merge` computes what an attempt changes, and `schema` manages the file. This module decides what happens if
the file cannot be used: the run continues without it and warns once. Two simultaneous runs are safe: a flush
reads, merges and writes in one transaction that holds the write lock from its start. A history that balances
shards is only read.

Importing `sqlite3` takes about 10 ms, so import this module only where history is used.
"""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.history import schema as history_schema
from dispatcher.history.file_history import EarlierRun, FileHistory
from dispatcher.history.merge import (
    AttemptSample,
    is_unsteady,
    merge_attempt,
    read_earlier_runs,
)
from dispatcher.inputs.record import InputRecord, decode_record, encode_record, make_records
from dispatcher.model.events import AttemptFinished, RunEvent, RunFinished, RunStarted, VerdictSettled
from dispatcher.model.plan import RunPlan, TestFile
from dispatcher.model.results import Finding
from passmuster.host.state_directory import STATE_DIRECTORY, ignore_by_git
from passmuster.model.errors import ConfigurationError
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.settings.values import on_one_line

MAX_FILES = 20_000
"""The maximum number of files, about 20 MB if each has 15 tests; beyond it the longest unseen are dropped."""

Answer = TypeVar("Answer")

_BROKEN_ERRORS = (history_schema.ForeignFileError, sqlite3.DatabaseError)


class KnownRuns(Struct, frozen=True, kw_only=True):
    """The content of a history, by path."""

    files: Mapping[str, FileHistory]
    inputs: Mapping[str, InputRecord]
    """What each file read when it last passed."""


class History:
    """The history of all files of a project. Used from one thread.

    Attributes:
        notices: warnings for the user, one line each, for example that history cannot be kept.
    """

    def __init__(
        self, root: Path, *, clock: Callable[[], float] = time.time, max_files: int = MAX_FILES
    ) -> None:
        """Open the history; after any failure it stays in memory.

        Args:
            clock: Unix time in seconds; decides which files were unseen for longest.
        """
        self.notices: list[str] = []
        self._path = root / STATE_DIRECTORY / history_schema.FILE_NAME
        self._clock = clock
        self._max_files = max_files
        self._pending: list[AttemptSample] = []
        self._pending_inputs: dict[str, bytes] = {}
        self._connection: sqlite3.Connection | None = None
        self._in_memory: dict[str, FileHistory] = {}
        self._has_warned = False
        self._inode = -1
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            ignore_by_git(self._path.parent)
        except OSError as exc:
            self._give_up(exc)
            return
        self._connection = self._connect()

    def load(self) -> Mapping[str, FileHistory]:
        """Return the whole history, by path, including what this run has recorded so far."""
        rows = self._read_all()
        _apply(rows, self._pending)
        return rows

    def load_earlier_runs(
        self, paths: Collection[str], *, run_id: str, or_unsteady: Collection[str] = ()
    ) -> dict[str, tuple[EarlierRun, ...]]:
        """Return the last runs of files, oldest first, without the run `run_id`.

        Args:
            or_unsteady: more files, of which only those are returned that did not always pass at once.
        """
        rows = self._read_all()
        return {
            path: read_earlier_runs(row)[: -1 if row.last_run_id == run_id else None]
            for path, row in rows.items()
            if path in paths or (path in or_unsteady and is_unsteady(row))
        }

    def record(
        self, file: TestFile, result: TestResult, *, run_id: str, finding: Finding | None = None
    ) -> None:
        """Record one attempt; nothing is written before `flush`.

        Args:
            finding: derived from all attempts of that run at the file; None: none, or not yet.
        """
        result = replace(result, output="", inputs=None)  # It may be large, and the history does not need it.
        self._pending.append(AttemptSample(file=file, run_id=run_id, result=result, finding=finding))

    def settle(self, file: TestFile, status: Status, *, run_id: str, finding: Finding | None = None) -> None:
        """Record the verdict on a file, after its last attempt was recorded.

        Args:
            status: the verdict, which may differ from the status of the last attempt.
            finding: derived from all attempts; None: none.
        """
        nothing_new = TestResult(file_path=file.path, status=Status.CANCELLED)
        self._pending.append(
            AttemptSample(file=file, run_id=run_id, result=nothing_new, finding=finding, verdict=status)
        )

    def load_runs(self) -> KnownRuns:
        """Return the whole history, with what files read as far as that can be read."""
        files, inputs = self.load(), {}
        if self._connection is not None:
            with suppress(sqlite3.Error):
                inputs = _decoded(history_schema.read_inputs(self._connection))
        return KnownRuns(files=files, inputs=inputs)

    def record_inputs(self, path: str, record: InputRecord) -> None:
        """Record what a file has read that passed; nothing is written before `flush`."""
        self._pending_inputs[path] = encode_record(record)

    def flush(self) -> None:
        """Write what was recorded, in one transaction. A full disk or a missing permission never raises."""
        if not self._pending and not self._pending_inputs:
            return
        self._use_file(self._write)
        if self._connection is None:
            _apply(self._in_memory, self._pending)
            self._pending.clear()

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection | None:
        """Open the file; rebuild it if it is broken; None: it cannot be used."""
        try:
            return self._open_file()
        except (OSError, *_BROKEN_ERRORS) as exc:
            if _is_broken(exc):
                return self._rebuild(exc, proven_inode=None)
            self._give_up(exc)
            return None

    def _open_file(self) -> sqlite3.Connection:
        connection = history_schema.connect(self._path)
        self._inode = self._path.stat().st_ino
        return connection

    def _rebuild(self, error: Exception, *, proven_inode: int | None) -> sqlite3.Connection | None:
        """Set the broken file aside and create a new one, unless another run just did.

        Args:
            proven_inode: the file that turned out to be broken after it was opened; None: it could not be
                opened.
        """
        try:
            with history_schema.exclusive(self._path.parent):
                if proven_inode is None or self._path.stat().st_ino != proven_inode:
                    try:
                        return self._open_file()
                    except _BROKEN_ERRORS as exc:
                        if not _is_broken(exc):
                            raise
                history_schema.set_aside(self._path)
                self.notices.append(
                    f"the history of earlier runs could not be read and starts anew: {self._path}: {error}; "
                    f"the old file is kept as {history_schema.BROKEN_NAME}"
                )
                return self._open_file()
        except (OSError, *_BROKEN_ERRORS) as exc:
            self._give_up(exc)
            return None

    def _read_all(self) -> dict[str, FileHistory]:
        rows = self._use_file(history_schema.read_rows)
        if rows is not None:
            # Kept in memory, so that this run loses nothing if the file becomes unusable later.
            self._in_memory = rows
        return dict(self._in_memory)

    def _use_file(self, step: Callable[[sqlite3.Connection], Answer]) -> Answer | None:
        """Return the answer of a step, repeated on a new file if this one is broken; None: it failed."""
        for is_new in (False, True):
            if self._connection is None:
                break
            try:
                return step(self._connection)
            except sqlite3.Error as exc:
                self._connection.close()
                self._connection = None
                if _is_broken(exc) and not is_new:
                    self._connection = self._rebuild(exc, proven_inode=self._inode)
                else:
                    self._give_up(exc)
        return None

    def _write(self, connection: sqlite3.Connection) -> None:
        paths = list(dict.fromkeys(attempt.file.path for attempt in self._pending))
        connection.execute("BEGIN IMMEDIATE")
        with history_schema.transaction_end(connection):
            rows = history_schema.read_rows(connection, paths)
            _apply(rows, self._pending)
            history_schema.write_rows(
                connection, rows.values(), seen_at=self._clock(), max_files=self._max_files
            )
            history_schema.write_inputs(connection, self._pending_inputs)
        self._pending.clear()
        self._pending_inputs.clear()

    def _give_up(self, error: Exception) -> None:
        """Warn once that nothing will be kept."""
        if not self._has_warned:
            self._has_warned = True
            self.notices.append(f"the history of this run is not kept: {self._path}: {error}")


def _apply(rows: dict[str, FileHistory], attempts: list[AttemptSample]) -> None:
    """Merge attempts into `rows`, in their order."""
    for attempt in attempts:
        row = merge_attempt(rows.get(attempt.file.path), attempt)
        if row is not None:
            rows[attempt.file.path] = row


def _decoded(records: Mapping[str, bytes]) -> dict[str, InputRecord]:
    """Return the records of inputs that this version can read."""
    pairs = ((path, decode_record(data)) for path, data in records.items())
    return {path: record for path, record in pairs if record is not None}


def _is_broken(error: Exception) -> bool:
    """Return whether the file itself is at fault, not the disk, a lock or a permission.

    SQLite reports a missing table or column, which only a foreign file has, as an operational error.
    """
    if isinstance(error, sqlite3.OperationalError):
        return "no such" in str(error)
    return isinstance(error, history_schema.ForeignFileError | sqlite3.DatabaseError)


FLUSH_AFTER_S = 2.0
"""Seconds between two transactions: a killed runner loses at most this much history."""


class HistoryReporter:
    """Records every attempt.

    Args:
        history: open; closed with this reporter.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._plan: RunPlan | None = None
        self._flushed_s = 0.0

    @property
    def _run_id(self) -> str:
        return self._plan.run_id if self._plan is not None else ""

    def handle(self, event: RunEvent) -> None:
        """Record a finished attempt, or a verdict that became final without a further one."""
        if isinstance(event, RunStarted):
            self._plan = event.plan
        elif isinstance(event, RunFinished) and self._plan is not None:
            results = event.results
            for path, record in make_records(self._plan, results.records, results.inputs):
                self._history.record_inputs(path, record)
        elif isinstance(event, AttemptFinished) and event.result.is_cached:
            return
        elif isinstance(event, AttemptFinished | VerdictSettled) and not event.file.selection.is_whole_file:
            # Only the attempt that counts: the others say nothing about the file as a whole.
            if isinstance(event, VerdictSettled) or event.rerun_reason is None:
                self._history.record(event.file, event.result, run_id=self._run_id)
        elif isinstance(event, AttemptFinished):
            self._history.record(event.file, event.result, run_id=self._run_id, finding=event.finding)
        elif isinstance(event, VerdictSettled):
            self._history.settle(event.file, event.result.status, run_id=self._run_id, finding=event.finding)
        else:
            return
        if event.at_s - self._flushed_s >= FLUSH_AFTER_S:
            self._flushed_s = event.at_s
            self._history.flush()

    def close(self) -> None:
        """Write the rest."""
        self._history.close()


def read_shared_history(path: Path, *, origin: str) -> KnownRuns:
    """Return the content of a history file.

    Raises:
        ConfigurationError: it does not exist or cannot be read; without it the split would differ from that
            of other machines.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("it is not a regular file")
        with path.open("rb"):
            pass  # The operating system's message is clearer than SQLite's.
        rows, inputs = history_schema.read_file(path)
        return KnownRuns(files=rows, inputs=_decoded(inputs))
    except (OSError, sqlite3.Error, history_schema.ForeignFileError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(
            f"cannot use the history {on_one_line(str(path))} (from {origin}): {reason}; give the same "
            f"{history_schema.FILE_NAME} of a run to every machine, or leave it out on all of them"
        ) from error
