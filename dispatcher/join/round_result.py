"""Publishes and fetches the record of a round: compressed, in parts, each signed."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from dispatcher.join.liveness import JoinedRun
from passmuster.model.errors import InfrastructureError
from passmuster.wire.envelope import EnvelopeError, pack_bytes, unpack_bytes
from passmuster.wire.join_messages import RecordFile, RoundOutcome
from passmuster.wire.join_store import LeaderLease

CHUNK_BYTES = 2 * 1024 * 1024
"""Compressed bytes of one part: less than 4 MiB as the text it travels as."""

MAX_FILE_BYTES = 1 << 30
"""Bytes of one file of a record: bounds the damage of a forged one."""

_NAME = re.compile(r"[a-z][a-z0-9.-]{0,40}")


def publish(
    run: JoinedRun, lease: LeaderLease, directory: Path, *, status: int, failed_paths: Sequence[str]
) -> None:
    """Upload the record in a directory for all machines, and mark the round as complete.

    Args:
        directory: its files are uploaded, not its subdirectories.
        status: the exit status of every machine.

    Raises:
        NotLeadingError: another machine leads; the round is not complete.
        InfrastructureError: the broker was unavailable for too long, or a file is too large.
    """
    files = []
    for path in sorted(path for path in directory.iterdir() if path.is_file()):
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if size_bytes > MAX_FILE_BYTES:
            raise InfrastructureError(
                f"the run's record is larger than {MAX_FILE_BYTES} bytes, so no other machine can have it: "
                "let files print less (--output-limit)"
            )
        count = 0
        for index, chunk in enumerate(_compressed(path)):
            text = run.codec.encode_chunk(digest, index, pack_bytes(chunk))
            run.retry.call(run.store.put_chunk, lease.number, path.name, index, text)
            count += 1
        files.append(RecordFile(name=path.name, size_bytes=size_bytes, sha256=digest, chunks=count))
    outcome = RoundOutcome(
        number=lease.number,
        status=status,
        leader=lease.name,
        failed_paths=tuple(failed_paths),
        files=tuple(files),
    )
    text = run.codec.encode_outcome(outcome)
    run.retry.call(run.store.finish_round, lease, text, is_green=status == 0)


def read_outcome(run: JoinedRun, number: int) -> RoundOutcome:
    """Return the result of a round.

    Raises:
        InfrastructureError: it has expired.
        PassmusterError: it is malformed or not signed with the secret.
    """
    text = run.retry.call(run.store.outcome, number)
    if text is None:
        raise expired_error(number)
    return run.codec.decode_outcome(text, number)


def fetch(run: JoinedRun, outcome: RoundOutcome, directory: Path) -> None:
    """Write the files of a round's record into a directory.

    Raises:
        InfrastructureError: a part has expired, or cannot be written.
        PassmusterError: a part is malformed or not signed with the secret.
    """
    for file in outcome.files:
        if _NAME.fullmatch(file.name) is None or file.size_bytes > MAX_FILE_BYTES:
            raise EnvelopeError(f"a record holds a file that cannot be: {ascii(file.name)[:60]}")
        _write(directory / file.name, file, _chunks(run, outcome.number, file))


def _chunks(run: JoinedRun, number: int, file: RecordFile) -> Iterator[bytes]:
    for index in range(file.chunks):
        text = run.retry.call(run.store.chunk, number, file.name, index)
        if text is None:
            raise expired_error(number)
        packed = run.codec.decode_chunk(text, file.sha256, index)
        yield unpack_bytes(packed, limit_bytes=2 * CHUNK_BYTES)


def _write(path: Path, file: RecordFile, chunks: Iterator[bytes]) -> None:
    unpacker, digest, left_bytes = zlib.decompressobj(), hashlib.sha256(), file.size_bytes
    try:
        with path.open("wb") as target:
            for chunk in chunks:
                # Reading one more byte than allowed detects an oversized file without reading all of it.
                data = unpacker.decompress(chunk, left_bytes + 1)
                left_bytes -= len(data)
                if left_bytes < 0:
                    break
                digest.update(data)
                target.write(data)
    except zlib.error as error:
        raise EnvelopeError(f"the record's file {file.name} is damaged: {error}") from error
    except OSError as error:
        raise InfrastructureError(f"the run's record cannot be written to {path}: {error}") from error
    if left_bytes != 0 or digest.hexdigest() != file.sha256:
        raise EnvelopeError(f"the record's file {file.name} is not what was sent: its digest differs")


def _compressed(path: Path) -> Iterator[bytes]:
    """Yield a file, compressed, in parts of `CHUNK_BYTES`; the last one may be shorter."""
    packer, ready = zlib.compressobj(6), b""
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            ready += packer.compress(data)
            while len(ready) >= CHUNK_BYTES:
                yield ready[:CHUNK_BYTES]
                ready = ready[CHUNK_BYTES:]
    ready += packer.flush()
    yield from (ready[start : start + CHUNK_BYTES] for start in range(0, len(ready), CHUNK_BYTES))


def expired_error(number: int) -> InfrastructureError:
    """Return the error for a round whose result the broker does not have any more."""
    return InfrastructureError(
        f"the result of round {number} has expired (kept for one day); choose a new name for --join"
    )
