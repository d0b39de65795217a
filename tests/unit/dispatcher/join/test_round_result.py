"""The record of a round goes whole to all machines, in bounded parts, or not at all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import redis

from dispatcher.join.round_result import CHUNK_BYTES, fetch, publish, read_outcome
from passmuster.model.errors import InfrastructureError
from passmuster.wire.envelope import Envelope, EnvelopeError
from passmuster.wire.join_messages import JoinCodec, RecordFile, RoundOutcome
from passmuster.wire.join_store import LeaderLease, NotLeadingError
from tests.unit.dispatcher.join.join_fakes import FakeRecord, patience

SEALS = JoinCodec(Envelope("secret"), "run")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shard-1-of-1"
    folder.mkdir()
    (folder / "run.record").write_bytes(b"header {}\n" * 100_000)
    # What cannot be compressed needs several parts.
    (folder / "coverage.data").write_bytes(random.Random(7).randbytes(2 * CHUNK_BYTES + 5))
    return folder


def published(folder: Path, record: FakeRecord, claim: LeaderLease | None = None) -> None:
    claim = claim or LeaderLease("box", 3)
    publish(record, SEALS, claim, patience(), folder, status=1, again=["a.py"])


def fetched(record: FakeRecord, target: Path) -> RoundOutcome:
    target.mkdir()
    outcome = read_outcome(record, SEALS, patience(), 3)
    fetch(record, SEALS, patience(), outcome, target)
    return outcome


def test_what_was_published_arrives(folder: Path, tmp_path: Path) -> None:
    record = FakeRecord()
    record.breaks = [redis.ConnectionError("away")]
    published(folder, record)

    outcome = fetched(record, tmp_path / "there")

    assert (outcome.status, outcome.failed_paths, outcome.leader) == (1, ("a.py",), "box")
    assert max(map(len, record.chunks.values())) <= 4 * 1024 * 1024
    assert len(record.chunks) > 3
    for name in ("run.record", "coverage.data"):
        assert (tmp_path / "there" / name).read_bytes() == (folder / name).read_bytes()


def test_a_part_that_is_gone_or_another_one_is_found(folder: Path, tmp_path: Path) -> None:
    record = FakeRecord()
    published(folder, record)
    parts = dict(record.chunks)

    del record.chunks[3, "coverage.data", 1]
    with pytest.raises(InfrastructureError, match="round 3 of the run"):
        fetched(record, tmp_path / "gone")

    record.chunks = {**parts, (3, "coverage.data", 1): parts[3, "coverage.data", 0]}
    with pytest.raises(EnvelopeError):
        fetched(record, tmp_path / "doubled")


@pytest.mark.parametrize("name", ["../run.record", "/etc/passwd", ".hidden", "", "a/b"])
def test_a_record_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    file = RecordFile(name=name, size_bytes=1, sha256="0", chunks=0)
    outcome = RoundOutcome(number=1, status=0, leader="x", failed_paths=(), files=(file,))

    with pytest.raises(EnvelopeError, match="a file that cannot be"):
        fetch(FakeRecord(), SEALS, patience(), outcome, tmp_path)


def test_more_than_was_said_is_never_unpacked(folder: Path, tmp_path: Path) -> None:
    record = FakeRecord()
    published(folder, record)
    outcome = read_outcome(record, SEALS, patience(), 3)
    small = [
        RecordFile(name=file.name, size_bytes=10, sha256=file.sha256, chunks=file.chunks)
        for file in outcome.files
    ]
    lie = RoundOutcome(number=3, status=0, leader="x", failed_paths=(), files=tuple(small))

    with pytest.raises(EnvelopeError, match="its digest differs"):
        fetch(record, SEALS, patience(), lie, tmp_path)
    assert all(path.stat().st_size <= 11 for path in tmp_path.iterdir() if path.is_file())


def test_who_does_not_lead_any_more_ends_no_round(folder: Path) -> None:
    record = FakeRecord()
    record.holder = LeaderLease("another", 3)

    with pytest.raises(NotLeadingError):
        published(folder, record)

    assert record.outcomes == {}
    with pytest.raises(InfrastructureError, match="is not on the broker any more"):
        read_outcome(record, SEALS, patience(), 3)
