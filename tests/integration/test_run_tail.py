"""Wishes and pieces of output on a real broker: both expire, pieces have a bound, forged ones are dropped."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.broker_keys import (
    MAX_PIECE_BYTES,
    MAX_PIECES,
    OUTPUT_SUBSCRIPTION_S,
    OUTPUT_TTL_S,
    output_key,
    subscription_key,
)
from passmuster.wire.envelope import Envelope
from passmuster.wire.output_stream import OutputPiece, OutputStream
from passmuster.wire.run_store import connect

PATH = "tests/test_\udcff.py"
ENVELOPE = Envelope("the same")


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Any]:
    with connect(server.url, timeout_s=5.0) as client:
        yield client


@pytest.fixture
def run_id(client: Any) -> Iterator[str]:
    run_id = secrets.token_hex(8)
    yield run_id
    client.delete(subscription_key(run_id, PATH), output_key(run_id, PATH))


def piece(start: int, data: bytes) -> OutputPiece:
    return OutputPiece(delivery=101, start=start, data=data)


def test_a_wish_holds_for_one_file_and_expires(client: Any, run_id: str) -> None:
    board = OutputStream(client, ENVELOPE)
    assert board.are_subscribed([]) == []

    board.subscribe(run_id, PATH)

    assert board.are_subscribed([(run_id, PATH), (run_id, "b.py"), ("other", PATH)]) == [True, False, False]
    assert 0 < client.ttl(subscription_key(run_id, PATH)) <= OUTPUT_SUBSCRIPTION_S


def test_pieces_come_back_the_same_once_each(client: Any, run_id: str) -> None:
    board = OutputStream(client, ENVELOPE)
    sent = [piece(0, b"\xff\0"), piece(2, bytes(MAX_PIECE_BYTES))]
    for one in sent:
        board.publish(run_id, PATH, one)

    last_id, pieces, trouble = board.read(run_id, PATH, "0", block_s=0)

    assert (pieces, trouble) == (sent, "")
    assert board.read(run_id, PATH, last_id, block_s=0) == (last_id, [], "")
    assert 0 < client.ttl(output_key(run_id, PATH)) <= OUTPUT_TTL_S


def test_only_the_newest_pieces_are_kept(client: Any, run_id: str) -> None:
    board = OutputStream(client, ENVELOPE)
    for number in range(MAX_PIECES + 3):
        board.publish(run_id, PATH, piece(number, b"x"))

    _, pieces, _ = board.read(run_id, PATH, "0", block_s=0)

    assert [one.start for one in pieces] == list(range(3, MAX_PIECES + 3))


def test_what_no_worker_of_ours_sent_is_dropped_and_the_rest_shown(client: Any, run_id: str) -> None:
    board, key = OutputStream(client, ENVELOPE), output_key(run_id, PATH)
    OutputStream(client, Envelope("another")).publish(run_id, PATH, piece(0, b"forged"))
    client.xadd(key, {"body": ENVELOPE.sign("tail", run_id, "b.py", "101", "0", "x")})
    client.xadd(key, {"body": ENVELOPE.sign("tail", run_id, PATH, "-1", "0", "x")})
    client.xadd(key, {"body": ENVELOPE.sign("tail", run_id, PATH, "101", "0", "not packed")})
    client.xadd(key, {"nonsense": "x"})
    board.publish(run_id, PATH, piece(0, b"true"))

    _, pieces, trouble = board.read(run_id, PATH, "0", block_s=0)

    assert [one.data for one in pieces] == [b"true"]
    assert trouble
