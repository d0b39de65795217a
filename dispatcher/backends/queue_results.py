"""What a worker's message says of a file, and where its coverage data goes."""

from __future__ import annotations

import dataclasses
import os
import secrets
from pathlib import Path

from passmuster.codec import decode_result
from passmuster.envelope import MAX_PARTS_BYTES, Envelope, EnvelopeError, unpack_bytes
from passmuster.result import TestResult

RESULT_KIND = "result"


class ResultOpener:
    """Makes results of messages.

    Args:
        envelope: with the run's secret.
        coverage_dir: where coverage data is put; None: what comes is not kept.
    """

    def __init__(self, envelope: Envelope, coverage_dir: Path | None) -> None:
        self._envelope = envelope
        self._coverage_dir = coverage_dir

    def open(self, body: str) -> TestResult:
        """Return the result in a message, its coverage data written here.

        Raises:
            PassmusterError: the message is not ours, or damaged.
        """
        parts = self._envelope.open(RESULT_KIND, body)
        if len(parts) != 2:
            raise EnvelopeError(f"a {RESULT_KIND} message has {len(parts)} parts, 2 were expected")
        text, packed = parts
        # The paths in it are the worker's: never to be opened here.
        return dataclasses.replace(decode_result(text), coverage_files=self._keep(packed))

    def _keep(self, packed: str) -> tuple[str, ...]:
        if not packed or self._coverage_dir is None:
            return ()
        data = unpack_bytes(packed, limit_bytes=MAX_PARTS_BYTES)
        # The name is ours, so that nothing on the wire chooses where something is written.
        path = self._coverage_dir / f".coverage.{secrets.token_hex(8)}"
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
        except OSError as error:
            raise EnvelopeError(f"its coverage data cannot be written to {path}: {error}") from error
        return (str(path),)
