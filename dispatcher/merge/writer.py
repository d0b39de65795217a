"""Writes the record of a run while it runs, so that a killed run leaves everything but the end.

The header describes the run, its plan and the CI around it. The shard's directory, below the one that the
user names, belongs to this record alone: an older record of the same shard is replaced, and two programs
cannot write the same one at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct, structs

from dispatcher.engine.state import trim_output
from dispatcher.merge.record_format import (
    COVERAGE_NAME,
    END,
    EVENTS,
    FINISHED,
    FORMAT,
    HEADER,
    MAX_CHARS,
    RECORD_NAME,
    CoverageData,
    Header,
    RecordedFile,
    RecordedRunEnd,
    Trailer,
)
from dispatcher.model.ci import ci_run
from dispatcher.model.events import AttemptFinished, RunEvent, RunFinished, RunStarted, UsageSampled
from dispatcher.model.plan import RunPlan, ShardPlan
from dispatcher.model.results import FileAttempts
from dispatcher.model.shard_option import Shard
from dispatcher.planning.shard_selection import split_digest
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.version import VERSION
from passmuster.source.git import run_git
from passmuster.wire.codec import TextCodec


def make_header(plan: RunPlan, *, root: Path, environ: Mapping[str, str]) -> Header:
    """Return the header of the record of a run."""
    shards = plan.shard or _single_shard(plan)
    return Header(
        format=FORMAT,
        version=VERSION,
        run_id=plan.run_id,
        shard=shards.shard,
        digest=shards.digest,
        history_digest=shards.history_digest,
        whole=shards.whole,
        commit=_commit(root),
        ci_run=ci_run(environ),
        host=platform.node(),
        root=os.path.realpath(root),
        has_coverage=any(planned.task.coverage is not None for planned in plan.files),
    )


def _single_shard(plan: RunPlan) -> ShardPlan:
    """Return the shard plan of a run that was not split."""
    whole = tuple(sorted((planned.file.path, 1) for planned in plan.files))
    return ShardPlan(
        shard=Shard(number=1, total=1),
        whole=whole,
        digest=split_digest(1, whole, (planned.file for planned in plan.files)),
        history_digest="",
        slots=0,
        budget_bytes=0,
    )


def _commit(root: Path) -> str:
    """Return the commit of the checkout; empty: git does not know."""
    try:
        return run_git(root, "rev-parse", "HEAD").decode("ascii", "replace").strip()
    except InfrastructureError:
        return ""


SAMPLE_EVERY_S = 1.0
"""The minimum number of seconds between two usage samples."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW

_WORDS = {kind: word for word, kind in EVENTS.items()}


class RecordReporter:
    """Writes each event; `finish` completes the record.

    Args:
        directory: the parent of the record's own directory.
        environ: may contain the ID of the CI run.

    Raises:
        ConfigurationError: nothing can be written there.
    """

    def __init__(self, directory: Path, *, root: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._root, self._environ = root, environ
        self.folder: Path | None = None
        """The record's directory; None before the run has started."""
        self._descriptor = -1
        self._lines = 0
        self._digest = hashlib.sha256()
        self._with_event: dict[str, set[int]] = {}
        self._sampled_s = -SAMPLE_EVERY_S
        self._is_finished = False
        self._coverage: CoverageData | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"--record: cannot create the directory {str(directory)!r}: {error.strerror}; "
                "choose another one"
            ) from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"--record: the directory {str(directory)!r} is not writable; choose another one"
            )

    def handle(self, event: RunEvent) -> None:
        """Write one event.

        Raises:
            ConfigurationError: another program writes this record.
            InfrastructureError: it cannot be written.
        """
        if isinstance(event, RunStarted):
            self._start(event)
        if isinstance(event, UsageSampled):
            if event.at_s - self._sampled_s < SAMPLE_EVERY_S:
                return
            self._sampled_s = event.at_s
        if isinstance(event, RunFinished):
            self._write(FINISHED, _finished(event, self._with_event))
            self._is_finished = True
            return
        if isinstance(event, AttemptFinished):
            self._with_event.setdefault(event.file.path, set()).add(event.result.attempt)
            event = structs.replace(event, result=_portable(event.result))
        self._write(_WORDS[type(event)], event)

    def close(self) -> None:
        """Do nothing: every event is already written; `finish` completes the record."""

    def keep_coverage(self, combined: Path, files_without_data: tuple[str, ...]) -> None:
        """Copy the run's combined coverage data into the record.

        Raises:
            InfrastructureError: it cannot be written.
        """
        assert self.folder is not None
        try:
            data = combined.read_bytes()
            with open(os.open(self.folder / COVERAGE_NAME, _NEW, 0o600), "wb") as file:
                file.write(data)
        except OSError as error:
            raise self._broken(error) from error
        self._coverage = CoverageData(
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            files_without_data=files_without_data,
        )

    def finish(self) -> None:
        """Complete the record of a finished run; that of any other run stays incomplete.

        Raises:
            InfrastructureError: it cannot be written.
        """
        if self._is_finished and self._descriptor >= 0:
            end = Trailer(lines=self._lines, sha256=self._digest.hexdigest(), coverage=self._coverage)
            self._write(END, end)
            os.close(self._descriptor)
            self._descriptor = -1

    def _start(self, event: RunStarted) -> None:
        header = make_header(event.plan, root=self._root, environ=self._environ)
        self.folder = self._directory / header.name
        path = self.folder / RECORD_NAME
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            (self.folder / COVERAGE_NAME).unlink(missing_ok=True)
        except BlockingIOError:
            raise InfrastructureError(
                f"another run is writing the record {str(path)!r}: two jobs have the same shard "
                f"{header.shard}, or the same --record directory"
            ) from None
        except OSError as error:
            raise self._broken(error) from error
        self._write(HEADER, header)

    def _write(self, word: str, record: Struct) -> None:
        text = TextCodec(type(record), f"the record ({word})", MAX_CHARS).encode(record)
        data = f"{word} {text}\n".encode("ascii")
        self._lines += 1
        self._digest.update(data)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> InfrastructureError:
        return InfrastructureError(
            f"cannot write the record below {str(self._directory)!r}: {error.strerror or error}; "
            "free space there, or choose another directory"
        )


def _portable(result: TestResult) -> TestResult:
    """Return a result without paths of this machine, and with only the end of its output."""
    return structs.replace(trim_output(result), coverage_files=(), coverage_root="")


def _finished(event: RunFinished, with_event: Mapping[str, set[int]]) -> RecordedRunEnd:
    """Return the end of a run; `with_event` has the attempts of each file that an event contains."""
    results = event.results
    return RecordedRunEnd(
        at_s=event.at_s,
        files=tuple(_file_end(record, with_event.get(record.file.path, set())) for record in results.records),
        duration_s=results.duration_s,
        peak_bytes=results.peak_bytes,
        own_cpu_s=results.own_cpu_s,
        interrupted=results.interrupted,
        is_verified=results.is_verified,
        inputs=results.inputs,
    )


def _file_end(record: FileAttempts, with_event: set[int]) -> RecordedFile:
    others = [result for result in record.attempts if result.attempt not in with_event]
    return RecordedFile(
        file=record.file,
        attempts=tuple(result.attempt for result in record.attempts),
        without_event=tuple(map(_portable, others)),
        started=record.started,
        reasons=record.reasons,
        verdict_attempt=record.verdict_attempt,
        is_unverified=record.is_unverified,
    )
