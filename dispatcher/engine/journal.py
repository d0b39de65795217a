"""The journal of a run on the dispatcher's disk: the finished attempts and their results. `--resume` reads
it.

    .passmuster/runs/RUN_ID/journal     a line for the run, and one for each finished attempt

Each line is the CRC-32 of a JSON text, a space, and the text. One write call writes one line, so a killed
dispatcher loses at most the line that it was writing. A line whose checksum does not match is ignored and its
file runs again, because a damaged line could name another file or another status. The file is locked during
its run, so that no two programs resume the same run.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from dispatcher.model.plan import RunPlan, TestFile
from passmuster.model.errors import ConfigurationError, PassmusterError
from passmuster.model.result import TestResult
from passmuster.model.test_selection import FilePart

FILE_NAME = "journal"
LAST = "last"
"""The value that stands for the run that started last, in place of its ID."""

_FORMAT = 5
END = "end"
"""The entry that says that the run has finished."""

FinishedAttempts = Mapping[tuple[str, int], TestResult]
"""The results of the finished attempts, by key (`TestResult.key`) and attempt."""


class JournalWriter(Protocol):
    """Records finished attempts."""

    def add(self, results: Sequence[TestResult]) -> None:
        """Record finished attempts. They are on disk when this returns.

        Raises:
            OSError: they cannot be written.
        """

    def end(self) -> None:
        """Record that the run is complete.

        Raises:
            OSError: it cannot be written.
        """


class OpenedJournal(NamedTuple):
    """A run's journal as it was found."""

    journal: JournalWriter | None = None
    """None: there is none, or it cannot be written."""
    finished: FinishedAttempts = MappingProxyType({})
    notice: str = ""
    """A line for the user; empty: there is none."""


class JoinedRunHandle(Protocol):
    """A run that several machines may lead, one after the other."""

    @property
    def run_id(self) -> str:
        """The run's unique ID, the same on every machine."""

    def open(self, plan: RunPlan, coverage_dir: Path | None) -> tuple[RunPlan, OpenedJournal]:
        """Return the plan and its journal, with the attempts that already finished on any machine.

        Files that passed in an earlier round are marked in the plan as needing no further investigation.

        Args:
            coverage_dir: the directory for coverage data; None: coverage is off.
        """


class Journal:
    """The journal of a run in progress.

    Args:
        path: created if missing, else continued.
        is_durable: whether a line must survive a crash of the machine, not only of this program.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, *, is_durable: bool) -> None:
        self.is_new = not path.exists()
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._is_durable = is_durable
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigurationError(
                f"run {path.parent.name} is still in progress: wait until it finishes, or stop it"
            ) from None

    def start(self, run_id: str, files: Sequence[TestFile]) -> None:
        """Write the first line, which identifies the run."""
        known = {file.path: _state_of(file) for file in files}
        self._write(json.dumps({"format": _FORMAT, "run": run_id, "files": known}))

    def add(self, results: Sequence[TestResult]) -> None:
        """See `JournalWriter.add`."""
        from passmuster.wire.codec import RESULT_CODEC  # No first test waits for it.

        for result in results:
            try:
                self._write(json.dumps([result.attempt, RESULT_CODEC.encode(result)]))
            except PassmusterError:
                continue  # A path that cannot be encoded: the file just runs again after a resume.
        if self._is_durable:
            os.fdatasync(self._descriptor)

    def end(self) -> None:
        """See `JournalWriter.end`."""
        self._write(json.dumps(END))

    def close(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def _write(self, line: str) -> None:
        data = line.encode("utf-8", "surrogateescape")
        data = b"%08x %s\n" % (zlib.crc32(data), data)
        if self._is_cut_short():
            data = b"\n" + data
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _is_cut_short(self) -> bool:
        """Whether the last line is incomplete: the disk was full, or its writer was killed."""
        size = os.fstat(self._descriptor).st_size
        return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"


def open_journal(
    path: Path,
    run_id: str,
    files: Sequence[TestFile],
    *,
    is_durable: bool,
    needs_data: bool,
    stack: ExitStack,
) -> OpenedJournal:
    """Return the journal of a new or resumed run, with the attempts that already finished.

    Args:
        is_durable: as for `Journal`.
        needs_data: whether an attempt counts only if its coverage data still exists.
        stack: closes the journal.

    Raises:
        ConfigurationError: the run cannot be resumed.
    """
    try:
        journal = stack.enter_context(closing(Journal(path, is_durable=is_durable)))
        if journal.is_new:
            journal.start(run_id, files)
            return OpenedJournal(journal)
    except OSError as error:
        notice = f"this run cannot be resumed later, because its journal cannot be written: {error}"
        return OpenedJournal(notice=notice)
    finished, damaged = read_journal(path, files)
    if needs_data:
        finished = {key: result for key, result in finished.items() if has_coverage_data(result)}
    notice = resume_message(run_id, finished, len(files))
    if damaged:
        notice += f"; {damaged} damaged line(s) of {path} ignored, their files rerun"
    return OpenedJournal(journal, finished, notice)


def resume_message(run_id: str, finished: FinishedAttempts, total: int) -> str:
    """Return the line that says how much of a run is already done."""
    ran: dict[tuple[str, int], set[int]] = {}  # the numbers of the parts, by file and how many there are
    for result in finished.values():
        part = result.parts[0].part if result.parts else FilePart(number=1, total=1)
        ran.setdefault((result.file_path, part.total), set()).add(part.number)
    complete = {path for (path, parts), numbers in ran.items() if len(numbers) == parts}
    return f"resuming run {run_id}: {len(complete)} of {total} files have already run"


def find_run(runs_dir: Path, wanted: str) -> str:
    """Return the ID of the run to resume; `wanted` is its ID, or `last`.

    Raises:
        ConfigurationError: there is no such run, or it cannot be resumed.
    """
    # A run ID begins with the time at which its run started, so IDs sort by time.
    names = sorted(path.parent.name for path in runs_dir.glob(f"*/{FILE_NAME}"))
    if not names:
        raise ConfigurationError(f"there is no run to resume in {runs_dir}: start one without --resume")
    if wanted == LAST:
        return names[-1]
    if wanted not in names:
        raise ConfigurationError(
            f"there is no run {ascii(wanted)[1:-1][:80]} to resume in {runs_dir}; there are "
            f"{', '.join(names[-3:])} (the newest last)"
        )
    return wanted


def read_journal(path: Path, files: Sequence[TestFile]) -> tuple[FinishedAttempts, int]:
    """Return the attempts of a run at files that are unchanged, and the number of damaged lines.

    Raises:
        ConfigurationError: the run has finished, had other files, or its first line is damaged.
    """
    run_id = path.parent.name
    try:
        head, *lines = path.read_bytes().split(b"\n")
        known = _known(_checked(head))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"run {run_id} cannot be resumed, its journal {path}: {error}; start a new run without --resume"
        ) from error
    _compare(run_id, known, files)
    unchanged = {file.path for file in files if known[file.path] == _state_of(file)}
    finished: dict[tuple[str, int], TestResult] = {}
    damaged = 0
    for entry in read_entries(lines[:-1]):  # Text after the last complete line was cut off.
        if entry == END:
            raise ConfigurationError(f"run {run_id} has finished: start a new one without --resume")
        if not isinstance(entry, TestResult):
            damaged += 1
        elif entry.file_path in unchanged:
            finished[entry.key, entry.attempt] = entry
    return finished, damaged


def read_entries(lines: Iterable[bytes]) -> Iterator[TestResult | str | None]:
    """Yield the content of each line after the first: a result, `END`, or None for a damaged line.

    Args:
        lines: without line ends.
    """
    from passmuster.wire.codec import RESULT_CODEC  # As above.

    for line in lines:
        try:
            entry = _checked(line)
            if entry == END:
                yield END
            elif isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str):
                yield RESULT_CODEC.decode(entry[1])
            else:
                yield None
        except (ValueError, PassmusterError):
            yield None


def _checked(line: bytes) -> object:
    """Return the content of a line.

    Raises:
        ValueError: the line is damaged.
    """
    checksum, _, data = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(data):
        raise ValueError("its first line is damaged, or of another version of Passmuster")
    return json.loads(data.decode("utf-8", "surrogateescape"))


def has_coverage_data(result: TestResult) -> bool:
    """Whether the coverage data of an attempt still exists: the report of an interrupted run removes it."""
    return bool(result.coverage_files) and all(map(os.path.exists, result.coverage_files))


def _state_of(file: TestFile) -> list[object]:
    """Return what must be the same for a result to count again: the file, and which of its tests run.

    In which order they run does not matter: a resumed run draws a seed of its own.
    """
    return [file.size_bytes, file.mtime_ns, *replace(file.selection, seed="").as_words()]


def _known(head: object) -> dict[str, object]:
    number = head.get("format") if isinstance(head, dict) else None
    files = head.get("files") if isinstance(head, dict) else None
    if number != _FORMAT or not isinstance(files, dict):
        raise ValueError(f"its format is {number!r}, this version reads {_FORMAT}")
    return files


def _compare(run_id: str, known: Mapping[str, object], files: Sequence[TestFile]) -> None:
    """Refuse a run of other files; the message names its arguments or its tree."""
    now = {file.path for file in files}
    for paths, words in ((now - known.keys(), "is new"), (known.keys() - now, "is missing")):
        if paths:
            raise ConfigurationError(
                f"run {run_id} cannot be resumed: {min(paths)} {words}"
                f"{f' (and {len(paths) - 1} more)' if len(paths) > 1 else ''}; "
                "give the same arguments, with the same files in place"
            )
