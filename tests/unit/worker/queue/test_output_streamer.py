"""Output is sent only while it has a subscription, and its end comes before the result."""

from __future__ import annotations

from collections.abc import Sequence

import redis

from passmuster.wire.broker_keys import MAX_PIECE_BYTES
from passmuster.wire.output_stream import OutputPiece, OutputStream
from worker.process.output_capture import OutputCapture
from worker.queue.in_flight import InFlightFile
from worker.queue.output_streamer import OutputStreamer


class AwayError(redis.ConnectionError):
    pass


class Board(OutputStream):
    def __init__(self) -> None:
        self.subscriptions: set[str] = set()
        self.pieces: list[tuple[str, int, bytes]] = []
        self.is_away = False

    def are_subscribed(self, files: Sequence[tuple[str, str]]) -> list[bool]:
        return [path in self.subscriptions for _, path in files]

    def publish(self, run_id: str, path: str, piece: OutputPiece) -> None:
        if self.is_away:
            raise AwayError
        self.pieces.append((path, piece.start, piece.data))


def held(path: str) -> InFlightFile:
    return InFlightFile(run_id="run", path=path, delivery=101, attempt_id=path, cancel_grace_s=1.0)


def made() -> tuple[Board, dict[str, OutputCapture], OutputStreamer]:
    board, captures = Board(), {"a": OutputCapture(1 << 20), "b": OutputCapture(1 << 20)}
    return board, captures, OutputStreamer(captures.get, board)


def test_only_subscribed_output_is_sent_and_only_once() -> None:
    board, captures, tails = made()
    captures["a"].feed(b"one")
    captures["b"].feed(b"two")
    tails.stream([held("a"), held("b")])
    assert board.pieces == []

    board.subscriptions = {"a"}
    tails.stream([held("a"), held("b")])
    tails.stream([held("a"), held("b")])
    captures["a"].feed(b" more")
    tails.stream([held("a"), held("b")])

    assert board.pieces == [("a", 0, b"one"), ("a", 3, b" more")]


def test_the_rest_is_sent_at_the_end_and_errors_are_ignored() -> None:
    board, captures, tails = made()
    board.subscriptions = {"a"}
    tails.stream([held("a")])
    captures["a"].feed(b"the end")

    tails.finish(held("a"))
    tails.finish(held("b"))
    assert board.pieces == [("a", 0, b"the end")]

    tails.stream([held("a")])
    captures["a"].feed(b"!")
    board.is_away = True
    tails.finish(held("a"))


def test_large_output_is_sent_in_pieces_without_the_oldest() -> None:
    board, captures, tails = made()
    board.subscriptions = {"a"}
    captures["a"].feed(b"x" * (MAX_PIECE_BYTES + 10))

    tails.stream([held("a")])

    [(_, start, data)] = board.pieces
    assert (start, len(data)) == (10, MAX_PIECE_BYTES)
