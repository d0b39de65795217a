"""Reads records without trusting them: checks the form of each line and the digest of the whole.

An incomplete record is returned as far as it can be read, and marked as such.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from dispatcher.merge.record_format import (
    COVERAGE_NAME,
    END,
    EVENTS,
    FINISHED,
    FORMAT,
    HEADER,
    MAX_CHARS,
    RECORD_NAME,
    Header,
    RecordedFile,
    RecordedRunEnd,
    Trailer,
)
from dispatcher.model.events import AttemptFinished, RunEvent, RunFinished, RunStarted
from dispatcher.model.results import FileAttempts, TestResults
from passmuster.model.errors import InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.version import VERSION
from passmuster.wire.codec import CodecError, decode

_Line = TypeVar("_Line", bound=Struct)


class RecordedRun(Struct, frozen=True, kw_only=True):
    """The record of a run.

    Args:
        folder: where it was read.
        events: in their order, without the last event if the record is incomplete.
        broken: why it is incomplete; empty: it is complete.
        is_cut: whether it merely ends early: its run was killed, and its content can be trusted.
        coverage: the combined coverage data; None: there is none.
        files_without_data: labels of the files that passed and delivered no coverage data.
    """

    folder: Path
    header: Header
    events: tuple[RunEvent, ...]
    broken: str = ""
    is_cut: bool = False
    coverage: Path | None = None
    files_without_data: tuple[str, ...] = ()

    @property
    def started(self) -> RunStarted | None:
        """The first event; None: the record ends before it."""
        return next((event for event in self.events if isinstance(event, RunStarted)), None)

    @property
    def results(self) -> TestResults | None:
        """The results of the run; None: the record ends before them."""
        last = self.events[-1] if self.events else None
        return last.results if isinstance(last, RunFinished) else None


def find_records(directory: Path) -> tuple[Path, ...]:
    """Return the directories at or below `directory` that contain a record, sorted.

    Raises:
        InfrastructureError: the directory does not exist or is not readable.
    """
    try:
        if not directory.is_dir():
            raise InfrastructureError(
                f"there are no records in {str(directory)!r}: it is no folder; give what --record wrote"
            )
        return tuple(sorted(path.parent for path in directory.rglob(RECORD_NAME)))
    except OSError as error:
        raise InfrastructureError(
            f"cannot look for records in {str(directory)!r}: {error.strerror}"
        ) from error


def read_record(folder: Path) -> RecordedRun:
    """Return the record in a directory, which may be incomplete.

    Raises:
        InfrastructureError: there is none, or nothing in it can be used.
    """
    path = folder / RECORD_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InfrastructureError(f"cannot read the record {str(path)!r}: {error.strerror}") from error
    *lines, tail = data.split(b"\n")
    try:
        if not lines:
            raise CodecError("it breaks off in its first line")
        header = _header(lines[0])
    except CodecError as error:
        raise InfrastructureError(
            f"{str(path)!r} is no record that can be merged: {error}; it must have been written by "
            f"Passmuster {VERSION}"
        ) from error
    telling = _Telling()
    broken = telling.take_all(lines[1:])
    end = telling.end
    is_cut = not broken and end is None
    if not broken and (end is None or tail):
        broken = f"it breaks off after {len(lines)} lines"
    if not broken and end is not None:
        broken = _what_is_wrong(end, lines, folder)
    has_data = end is not None and end.coverage is not None and not broken
    return RecordedRun(
        folder=folder,
        header=header,
        events=tuple(telling.events),
        broken=broken,
        is_cut=is_cut,
        coverage=folder / COVERAGE_NAME if has_data else None,
        files_without_data=end.coverage.files_without_data if end and end.coverage else (),
    )


class _Telling:
    """The lines of a record, one after the other."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.end: Trailer | None = None
        self._told: dict[tuple[str, int], TestResult] = {}

    def take_all(self, lines: Sequence[bytes]) -> str:
        """Read lines until one is wrong; return the problem with it, empty: none."""
        for number, line in enumerate(lines, start=2):
            try:
                self._take(line)
            except CodecError as error:
                return f"line {number} cannot be read: {error}"
        return ""

    def _take(self, line: bytes) -> None:
        word = line.partition(b" ")[0].decode("ascii", "replace")
        if self.end is not None:
            raise CodecError("it stands behind the end")
        if word == END:
            self.end = _read(Trailer, END, line)
        elif word == FINISHED:
            self.events.append(self._finished(_read(RecordedRunEnd, FINISHED, line)))
        elif word in EVENTS:
            event = _read(EVENTS[word], word, line)
            if isinstance(event, AttemptFinished):
                self._told[event.result.file_path, event.result.attempt] = event.result
            self.events.append(event)
        else:
            raise CodecError(f"{word[:40]!r} is no word of a record")

    def _finished(self, finished: RecordedRunEnd) -> RunFinished:
        results = TestResults(
            records=tuple(map(self._record, finished.files)),
            duration_s=finished.duration_s,
            peak_bytes=finished.peak_bytes,
            interrupted=finished.interrupted,
            is_verified=finished.is_verified,
        )
        return RunFinished(at_s=finished.at_s, results=results)

    def _record(self, end: RecordedFile) -> FileAttempts:
        path = end.file.path
        untold = {result.attempt: result for result in end.untold}
        attempts = [untold.get(number) or self._told.get((path, number)) for number in end.attempts]
        known = tuple(attempt for attempt in attempts if attempt is not None)
        if not known or len(known) < len(attempts) or len(end.reasons) not in (0, len(known)):
            raise CodecError(f"what came of {ascii(path)[:100]} is not in the record")
        if end.verdict_attempt is not None and not 0 <= end.verdict_attempt < len(known):
            raise CodecError(f"no attempt {end.verdict_attempt} stands for {ascii(path)[:100]}")
        return FileAttempts(
            file=end.file,
            attempts=known,
            started=end.started,
            reasons=end.reasons,
            verdict_attempt=end.verdict_attempt,
            is_unverified=end.is_unverified,
        )


def _header(line: bytes) -> Header:
    """Return the header. It must have this version: in another one the same words may mean something else."""
    body = line.partition(b" ")[2]
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    version = found.get("version") if isinstance(found, dict) else None
    if isinstance(version, str) and version != VERSION:
        raise CodecError(f"it was written by Passmuster {version[:40]!r}")
    header = _read(Header, HEADER, line)
    if header.format != FORMAT:
        raise CodecError(f"it has the form {header.format}, this is {FORMAT}")
    return header


def _read(kind: type[_Line], word: str, line: bytes) -> _Line:
    head, _, body = line.partition(b" ")
    if head != word.encode():
        raise CodecError(f"a line of the kind {word} was expected")
    return decode(kind, body.decode("ascii", "replace"), what=word, max_chars=MAX_CHARS)


def _what_is_wrong(end: Trailer, lines: Sequence[bytes], folder: Path) -> str:
    """Return in what the record and its trailer disagree; empty: in nothing."""
    digest = hashlib.sha256()
    for line in lines[:-1]:
        digest.update(line + b"\n")
    if (end.lines, end.sha256) != (len(lines) - 1, digest.hexdigest()):
        return "it was changed after it was written: its digest differs"
    if end.coverage is None:
        return ""
    try:
        data = (folder / COVERAGE_NAME).read_bytes()
    except OSError as error:
        return f"its coverage data {COVERAGE_NAME} cannot be read: {error.strerror}"
    if hashlib.sha256(data).hexdigest() != end.coverage.sha256:
        return f"its coverage data {COVERAGE_NAME} is not what was written: the digest differs"
    return ""
