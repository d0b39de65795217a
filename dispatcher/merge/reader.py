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
from passmuster.wire.codec import CodecError, TextCodec

_Line = TypeVar("_Line", bound=Struct)


class RecordedRun(Struct, frozen=True, kw_only=True):
    """The record of a run."""

    folder: Path
    header: Header
    events: tuple[RunEvent, ...]
    """In their order, without the last event if the record is incomplete."""
    broken: str = ""
    """Why it is incomplete; empty: it is complete."""
    is_cut: bool = False
    """Whether it merely ends early, because its run was killed, so that its content can be trusted."""
    coverage: Path | None = None
    """The combined coverage data; None: there is none."""
    files_without_data: tuple[str, ...] = ()
    """Labels of the files that passed and delivered no coverage data."""

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

    A record without its whole first line is none: its run was killed at the start, and said nothing yet.

    Raises:
        InfrastructureError: the directory does not exist or is not readable.
    """
    try:
        if not directory.is_dir():
            raise InfrastructureError(
                f"cannot find records in {str(directory)!r}: it is not a directory; pass the directory given "
                "to --record"
            )
        return tuple(sorted(path.parent for path in directory.rglob(RECORD_NAME) if _has_header(path)))
    except OSError as error:
        raise InfrastructureError(f"cannot find records in {str(directory)!r}: {error.strerror}") from error


def _has_header(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


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
            raise CodecError("it ends in its first line")
        header = _header(lines[0])
    except CodecError as error:
        raise InfrastructureError(
            f"cannot merge the record {str(path)!r}: {error}; records must be written by Passmuster {VERSION}"
        ) from error
    reader = _EventReader()
    broken = reader.read(lines[1:])
    end = reader.end
    is_cut = not broken and end is None
    if not broken and (end is None or tail):
        broken = f"it ends after {len(lines)} lines"
    if not broken and end is not None:
        broken = _trailer_problem(end, lines, folder)
    has_data = end is not None and end.coverage is not None and not broken
    return RecordedRun(
        folder=folder,
        header=header,
        events=tuple(reader.events),
        broken=broken,
        is_cut=is_cut,
        coverage=folder / COVERAGE_NAME if has_data else None,
        files_without_data=end.coverage.files_without_data if end and end.coverage else (),
    )


class _EventReader:
    """Reads the lines of a record after the header."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.end: Trailer | None = None
        self._results: dict[tuple[str, int], TestResult] = {}

    def read(self, lines: Sequence[bytes]) -> str:
        """Read lines until one is malformed; return the problem with it, or ""."""
        for number, line in enumerate(lines, start=2):
            try:
                self._read_line(line)
            except CodecError as error:
                return f"line {number} cannot be read: {error}"
        return ""

    def _read_line(self, line: bytes) -> None:
        word = line.partition(b" ")[0].decode("ascii", "replace")
        if self.end is not None:
            raise CodecError("it follows the end")
        if word == END:
            self.end = _decode(Trailer, END, line)
        elif word == FINISHED:
            self.events.append(self._finished(_decode(RecordedRunEnd, FINISHED, line)))
        elif word in EVENTS:
            event = _decode(EVENTS[word], word, line)
            if isinstance(event, AttemptFinished):
                self._results[event.result.file_path, event.result.attempt] = event.result
            self.events.append(event)
        else:
            raise CodecError(f"it starts with {word[:40]!r}, which no line of a record does")

    def _finished(self, finished: RecordedRunEnd) -> RunFinished:
        results = TestResults(
            records=tuple(map(self._file, finished.files)),
            duration_s=finished.duration_s,
            peak_bytes=finished.peak_bytes,
            own_cpu_s=finished.own_cpu_s,
            interrupted=finished.interrupted,
            is_verified=finished.is_verified,
            inputs=finished.inputs,
        )
        return RunFinished(at_s=finished.at_s, results=results)

    def _file(self, recorded: RecordedFile) -> FileAttempts:
        path = recorded.file.path
        others = {result.attempt: result for result in recorded.without_event}
        attempts = [others.get(number) or self._results.get((path, number)) for number in recorded.attempts]
        known = tuple(attempt for attempt in attempts if attempt is not None)
        if not known or len(known) < len(attempts) or len(recorded.reasons) not in (0, len(known)):
            raise CodecError(f"the record lacks the results of {ascii(path)[:100]}")
        verdict = recorded.verdict_attempt
        if verdict is not None and not 0 <= verdict < len(known):
            raise CodecError(f"the verdict of {ascii(path)[:100]} is attempt {verdict}, which does not exist")
        return FileAttempts(
            file=recorded.file,
            attempts=known,
            started=recorded.started,
            reasons=recorded.reasons,
            verdict_attempt=verdict,
            is_unverified=recorded.is_unverified,
        )


def _header(line: bytes) -> Header:
    """Return the header. It must have this version, because another one may give the words other meanings."""
    try:
        found = json.loads(line.partition(b" ")[2])
    except ValueError:
        found = None
    version = found.get("version") if isinstance(found, dict) else None
    if isinstance(version, str) and version != VERSION:
        raise CodecError(f"it was written by Passmuster {version[:40]!r}")
    header = _decode(Header, HEADER, line)
    if header.format != FORMAT:
        raise CodecError(f"it has format {header.format}, this version reads {FORMAT}")
    return header


def _decode(kind: type[_Line], word: str, line: bytes) -> _Line:
    head, _, body = line.partition(b" ")
    if head != word.encode():
        raise CodecError(f"it must start with {word}")
    return TextCodec(kind, word, MAX_CHARS).decode(body.decode("ascii", "replace"))


def _trailer_problem(end: Trailer, lines: Sequence[bytes], folder: Path) -> str:
    """Return how the record differs from its trailer, or ""."""
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
        return f"its coverage data {COVERAGE_NAME} was changed after it was written: the digest differs"
    return ""
