"""The diary of a run on the dispatcher's disk: which attempts have ended, and how. `--resume` reads it.

.passmuster/runs/RUN_ID/journal     a line for the run, and one for each attempt that ended

Each line is the CRC-32 of a JSON text, a space, and the text. A line is written by one call, so a killed
dispatcher loses at most the line that it was writing. A line whose checksum does not match is ignored, and
its file runs again: a damaged line could otherwise name another file, or another status. The file is locked
while its run lasts, so that no two programs resume the same run.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, Protocol

from dispatcher.model.plan import RunPlan, TestFile
from passmuster.model.errors import ConfigurationError, PassmusterError
from passmuster.model.result import TestResult

FILE_NAME = "journal"
LAST = "last"
"""What stands for the run that began last, in place of its id."""

_FORMAT = 3
END = "end"
"""The entry that says that the run has finished."""

Ended = Mapping[tuple[str, int], TestResult]
"""The results of the attempts that have ended, by path and attempt."""


class JournalWriter(Protocol):
    """Where it is written down that attempts have ended."""

    def add(self, results: Sequence[TestResult]) -> None:
        """Write down that attempts have ended; they are safe once this returns.

        Raises:
            OSError: they cannot be written.
        """

    def end(self) -> None:
        """Write down that the run has come to its end.

        Raises:
            OSError: it cannot be written.
        """


class JoinedRunHandle(Protocol):
    """A run that several machines may hold, one after the other."""

    @property
    def run_id(self) -> str:
        """The run, unlike any other; the same on every machine."""

    def open(self, plan: RunPlan, coverage_dir: Path | None) -> tuple[RunPlan, JournalWriter, Ended]:
        """Return the plan, its diary, and the attempts that have ended already, wherever that was.

        What passed in an earlier round is marked in the plan as nothing to look into any further.

        Args:
            plan: of this machine.
            coverage_dir: where coverage data is put; None: none is measured.
        """


class Journal:
    """The diary of a run under way.

    Args:
        path: the file; made, or continued.
        is_durable: whether a line must outlive a crash of the machine too, not only of this program.

    Raises:
        OSError: it cannot be written.
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
                f"run {path.parent.name} is still under way: wait for its end, or stop it"
            ) from None

    def begin(self, run_id: str, files: Sequence[TestFile]) -> None:
        """Write down what the run is about."""
        known = {file.path: [file.size_bytes, file.mtime_ns] for file in files}
        self._write(json.dumps({"format": _FORMAT, "run": run_id, "files": known}))

    def add(self, results: Sequence[TestResult]) -> None:
        """Write down that attempts have ended; they are safe once this returns.

        Raises:
            OSError: they cannot be written.
        """
        from passmuster.wire.codec import encode_result  # No first test waits for it.

        for result in results:
            try:
                self._write(json.dumps([result.attempt, encode_result(result)]))
            except PassmusterError:
                continue  # A path that no wire takes: the file runs again after a resumption, that is all.
        if self._is_durable:
            os.fdatasync(self._descriptor)

    def end(self) -> None:
        """Write down that the run has come to its end.

        Raises:
            OSError: it cannot be written.
        """
        self._write(json.dumps(END))

    def close(self) -> None:
        """Let others have it."""
        os.close(self._descriptor)

    def _write(self, line: str) -> None:
        data = line.encode("utf-8", "surrogateescape")
        data = b"%08x %s\n" % (zlib.crc32(data), data)
        if self._is_cut_short():
            data = b"\n" + data
        while data:
            data = data[os.write(self._descriptor, data) :]

    def _is_cut_short(self) -> bool:
        """Whether the last line has no end: a full disk took a part of it, or its writer was killed."""
        size = os.fstat(self._descriptor).st_size
        return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"


class Opened(NamedTuple):
    """A run's diary as it was found.

    Its `journal` is None where it cannot be written; `ended` has the attempts that have ended, and `notice`
    what the user should know.
    """

    journal: Journal | None
    ended: Ended
    notice: str


def open_journal(
    path: Path,
    run_id: str,
    files: Sequence[TestFile],
    *,
    is_durable: bool,
    needs_data: bool,
    stack: ExitStack,
) -> Opened:
    """Return the diary of a new run, or of one that is gone on with, and what has ended in that.

    Args:
        path: the file.
        run_id: the run.
        files: what it consists of.
        is_durable: as for `Journal`.
        needs_data: whether only attempts count whose coverage data is still there.
        stack: closes it.

    Raises:
        ConfigurationError: the run cannot be gone on with.
    """
    try:
        journal = stack.enter_context(closing(Journal(path, is_durable=is_durable)))
        if journal.is_new:
            journal.begin(run_id, files)
            return Opened(journal, {}, "")
    except OSError as error:
        notice = f"this run could not be resumed, its journal cannot be written: {error}"
        return Opened(None, {}, notice)
    ended, damaged = read_journal(path, files)
    if needs_data:
        ended = {key: result for key, result in ended.items() if has_data(result)}
    notice = resume_message(run_id, ended, len(files))
    if damaged:
        notice += f"; {damaged} damaged line(s) of {path} ignored, their files run again"
    return Opened(journal, ended, notice)


def resume_message(run_id: str, ended: Ended, total: int) -> str:
    """Return the line that says how much of a run had been done before."""
    paths = {file_path for file_path, _ in ended}
    return f"going on with run {run_id}: {len(paths)} of {total} files had been run"


def find_run(runs_dir: Path, wanted: str) -> str:
    """Return the id of the run to go on with.

    Args:
        runs_dir: where the runs are.
        wanted: its id, or `last`.

    Raises:
        ConfigurationError: there is none that can be gone on with.
    """
    # The ids begin with the time at which their run started, so they sort by it.
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


def read_journal(path: Path, files: Sequence[TestFile]) -> tuple[Ended, int]:
    """Return the attempts of a run at files that are unchanged, and the number of damaged lines.

    Args:
        path: the file.
        files: what the run consists of now.

    Raises:
        ConfigurationError: the run has finished, consisted of other files, or its first line is damaged.
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
    unchanged = {file.path for file in files if known[file.path] == [file.size_bytes, file.mtime_ns]}
    ended: dict[tuple[str, int], TestResult] = {}
    damaged = 0
    for entry in read_entries(lines[:-1]):  # What stands behind the last line's end was cut short.
        if entry == END:
            raise ConfigurationError(f"run {run_id} has come to its end: start one without --resume")
        if not isinstance(entry, TestResult):
            damaged += 1
        elif entry.file_path in unchanged:
            ended[entry.file_path, entry.attempt] = entry
    return ended, damaged


def read_entries(lines: Iterable[bytes]) -> Iterator[TestResult | str | None]:
    """Yield what each line below the first says: a result, `END`, or None for a damaged line.

    Args:
        lines: without their ends.
    """
    from passmuster.wire.codec import decode_result  # As above.

    for line in lines:
        try:
            entry = _checked(line)
            if entry == END:
                yield END
            elif isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str):
                yield decode_result(entry[1])
            else:
                yield None
        except (ValueError, PassmusterError):
            yield None


def _checked(line: bytes) -> object:
    """Return what a line says.

    Raises:
        ValueError: it is damaged.
    """
    checksum, _, data = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(data):
        raise ValueError("its first line is damaged, or of another version of Passmuster")
    return json.loads(data.decode("utf-8", "surrogateescape"))


def has_data(result: TestResult) -> bool:
    """Whether the coverage data of an attempt is still there: the report of a broken-off run removes it."""
    return bool(result.coverage_files) and all(map(os.path.exists, result.coverage_files))


def _known(head: object) -> dict[str, object]:
    number = head.get("format") if isinstance(head, dict) else None
    files = head.get("files") if isinstance(head, dict) else None
    if number != _FORMAT or not isinstance(files, dict):
        raise ValueError(f"its format is {number!r}, this version reads {_FORMAT}")
    return files


def _compare(run_id: str, known: Mapping[str, object], files: Sequence[TestFile]) -> None:
    """Refuse a run of other files: give the arguments it had, or the tree it had."""
    now = {file.path for file in files}
    for paths, words in ((now - known.keys(), "did not belong to it"), (known.keys() - now, "does now not")):
        if paths:
            raise ConfigurationError(
                f"run {run_id} cannot be resumed: {min(paths)} {words}"
                f"{f' (and {len(paths) - 1} more)' if len(paths) > 1 else ''}; "
                "give the same arguments, with the same files in place"
            )
