"""Decodes the messages of workers: results, their coverage data, and refusals."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from msgspec import structs

from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.wire.broker_messages import StreamEntry, result_kind
from passmuster.wire.codec import RESULT_CODEC
from passmuster.wire.envelope import MAX_PARTS_BYTES, Envelope, EnvelopeError, unpack_bytes
from passmuster.wire.run_spec import REFUSED_KIND


class ResultDecoder:
    """Decodes the messages of one run.

    Args:
        coverage_dir: the directory for coverage data; None: it is discarded.
    """

    def __init__(self, envelope: Envelope, coverage_dir: Path | None) -> None:
        self._envelope = envelope
        self._coverage_dir = coverage_dir

    def result(self, entry: StreamEntry, task: TestTask) -> TestResult:
        """Return the result of this task in an entry, after writing its coverage data.

        Raises:
            PassmusterError: the entry has no valid result: it is damaged, of another task, or not from a
                worker of this run.
        """
        parts = self._envelope.verify(result_kind(task.run_id), entry.body)
        if len(parts) != 2:
            raise EnvelopeError(f"a result has {len(parts)} parts, 2 were expected")
        result, coverage = RESULT_CODEC.decode(parts[0]), parts[1]
        if (result.key, result.attempt) != (task.key, task.attempt):
            raise EnvelopeError(f"it is that of {result.key}, attempt {result.attempt}")
        try:
            files: tuple[str, ...] = ()
            if coverage and self._coverage_dir is not None:
                files = (write_coverage(coverage, self._coverage_dir),)
        except PassmusterError as error:
            text = f"its result from worker {entry.worker} cannot be used: {error}"
            return TestResult.without_run(task, Status.LOST, text, worker=entry.worker)
        # The paths in it are the worker's: never to be opened here.
        return structs.replace(result, coverage_files=files)

    def refusal(self, entry: StreamEntry) -> str:
        """Return why a worker refuses the run."""
        try:
            (reason,) = self._envelope.verify(REFUSED_KIND, entry.body)
        except (PassmusterError, ValueError):
            return "its reason is signed with another secret: give the same one to all"
        return reason


def write_coverage(packed: str, directory: Path) -> str:
    """Write coverage data from a message into a directory, and return its path.

    This function chooses the name, so that no message decides where a file is written.

    Raises:
        EnvelopeError: the data is damaged or too large.
        InfrastructureError: it cannot be written.
    """
    data = unpack_bytes(packed, limit_bytes=MAX_PARTS_BYTES)
    path = directory / f".coverage.{secrets.token_hex(8)}"
    try:
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except OSError as error:
        raise InfrastructureError(f"coverage data cannot be written to {path}: {error}") from error
    return str(path)
