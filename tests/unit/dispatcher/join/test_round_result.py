"""Tests that the record of a round reaches all members complete, or not at all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import redis

from dispatcher.join.round_result import CHUNK_BYTES, fetch, publish, read_outcome
from passmuster.model.errors import InfrastructureError
from passmuster.wire.envelope import EnvelopeError
from passmuster.wire.join_messages import RecordFile, RoundOutcome
from passmuster.wire.join_store import LeaderLease, NotLeadingError
from tests.unit.dispatcher.join.join_fakes import FakeStore, joined_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shard-1-of-1"
    folder.mkdir()
    (folder / "run.record").write_bytes(b"header {}\n" * 100_000)
    # What cannot be compressed needs several parts.
    (folder / "coverage.data").write_bytes(random.Random(7).randbytes(2 * CHUNK_BYTES + 5))
    return folder


def published(folder: Path, store: FakeStore, claim: LeaderLease | None = None) -> None:
    claim = claim or LeaderLease("box", 3)
    publish(joined_run(store), claim, folder, status=1, failed_paths=["a.py"])


def fetched(store: FakeStore, target: Path) -> RoundOutcome:
    target.mkdir()
    outcome = read_outcome(joined_run(store), 3)
    fetch(joined_run(store), outcome, target)
    return outcome


def test_a_published_record_arrives_complete(folder: Path, tmp_path: Path) -> None:
    store = FakeStore()
    store.breaks = [redis.ConnectionError("away")]
    published(folder, store)

    outcome = fetched(store, tmp_path / "there")

    assert (outcome.status, outcome.failed_paths, outcome.leader) == (1, ("a.py",), "box")
    assert max(map(len, store.chunks.values())) <= 4 * 1024 * 1024
    assert len(store.chunks) > 3
    for name in ("run.record", "coverage.data"):
        assert (tmp_path / "there" / name).read_bytes() == (folder / name).read_bytes()


def test_a_missing_or_exchanged_part_is_detected(folder: Path, tmp_path: Path) -> None:
    store = FakeStore()
    published(folder, store)
    parts = dict(store.chunks)

    del store.chunks[3, "coverage.data", 1]
    with pytest.raises(InfrastructureError, match="the result of round 3 has expired"):
        fetched(store, tmp_path / "gone")

    store.chunks = {**parts, (3, "coverage.data", 1): parts[3, "coverage.data", 0]}
    with pytest.raises(EnvelopeError):
        fetched(store, tmp_path / "doubled")


@pytest.mark.parametrize("name", ["../run.record", "/etc/passwd", ".hidden", "", "a/b"])
def test_a_record_cannot_write_outside_its_directory(tmp_path: Path, name: str) -> None:
    file = RecordFile(name=name, size_bytes=1, sha256="0", chunks=0)
    outcome = RoundOutcome(number=1, status=0, leader="x", failed_paths=(), files=(file,))

    with pytest.raises(EnvelopeError, match="a file that cannot be"):
        fetch(joined_run(FakeStore()), outcome, tmp_path)


def test_an_oversized_file_is_not_unpacked(folder: Path, tmp_path: Path) -> None:
    store = FakeStore()
    published(folder, store)
    outcome = read_outcome(joined_run(store), 3)
    small = [
        RecordFile(name=file.name, size_bytes=10, sha256=file.sha256, chunks=file.chunks)
        for file in outcome.files
    ]
    lie = RoundOutcome(number=3, status=0, leader="x", failed_paths=(), files=tuple(small))

    with pytest.raises(EnvelopeError, match="its digest differs"):
        fetch(joined_run(store), lie, tmp_path)
    assert all(path.stat().st_size <= 11 for path in tmp_path.iterdir() if path.is_file())


def test_a_member_that_lost_the_lease_finishes_no_round(folder: Path) -> None:
    store = FakeStore()
    store.holder = LeaderLease("another", 3)

    with pytest.raises(NotLeadingError):
        published(folder, store)

    assert store.outcomes == {}
    with pytest.raises(InfrastructureError, match="has expired"):
        read_outcome(joined_run(store), 3)
