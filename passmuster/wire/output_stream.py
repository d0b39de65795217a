"""Streams the output of running files over the broker: subscriptions in one direction, pieces of output in
the other.

Output without a subscription is not sent. The streamed output is bounded and expires; the whole output is
part of the result. Pieces are signed, so observers see only output that a worker sent. Every method that
calls the broker may raise `redis.RedisError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from passmuster.wire.broker_keys import (
    MAX_PIECE_BYTES,
    MAX_PIECES,
    OUTPUT_SUBSCRIPTION_S,
    OUTPUT_TTL_S,
    output_key,
    subscription_key,
)
from passmuster.wire.envelope import Envelope, EnvelopeError, pack_bytes, unpack_bytes

OUTPUT_KIND = "output"
"""The kind of a message with a piece of output. Its parts: run, path, delivery, start, and packed bytes."""


class OutputPiece(Struct, frozen=True, kw_only=True):
    """A piece of the output of a file."""

    delivery: int
    start: int
    """Bytes of the file's output before this piece."""
    data: bytes


class OutputStream:
    """Subscriptions to output, and its pieces; `client` is from `passmuster.wire.run_store.connect`."""

    def __init__(self, client: Any, envelope: Envelope) -> None:
        # Any: redis-py's types say "a reply, or an awaitable of one" for every command.
        self._client, self._envelope = client, envelope

    # The observer's side.

    def subscribe(self, run_id: str, path: str) -> None:
        """Subscribe to the output of a file for `OUTPUT_SUBSCRIPTION_S` seconds."""
        self._client.set(subscription_key(run_id, path), "1", ex=OUTPUT_SUBSCRIPTION_S)

    def read(
        self, run_id: str, path: str, last_id: str, *, block_s: float
    ) -> tuple[str, list[OutputPiece], str]:
        """Return the pieces after `last_id`, oldest first, with the ID of the last one.

        Args:
            last_id: from the last call; "0" at first.
            block_s: seconds to wait if there is none, at most one.

        Returns:
            The ID, the pieces, and why one was rejected, or "".
        """
        # The broker would wait without limit for 0.
        block_ms = int(min(block_s, 1.0) * 1000) or None
        pieces, problem = list[OutputPiece](), ""
        for _, entries in self._client.xread({output_key(run_id, path): last_id}, block=block_ms) or ():
            for entry_id, fields in entries:
                last_id = entry_id
                try:
                    pieces.append(self._verify(run_id, path, fields.get("body", "")))
                except EnvelopeError as error:
                    problem = str(error)
        return last_id, pieces, problem

    # The worker's side.

    def are_subscribed(self, files: Sequence[tuple[str, str]]) -> list[bool]:
        """Return for each file, given by run and path, whether its output has a subscription."""
        keys = [subscription_key(run_id, path) for run_id, path in files]
        return [found is not None for found in self._client.mget(keys)] if keys else []

    def publish(self, run_id: str, path: str, piece: OutputPiece) -> None:
        """Send a piece of at most `MAX_PIECE_BYTES`."""
        key = output_key(run_id, path)
        parts = (run_id, path, str(piece.delivery), str(piece.start), pack_bytes(piece.data))
        body = self._envelope.sign(OUTPUT_KIND, *parts, run_id=run_id)
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xadd(key, {"body": body}, maxlen=MAX_PIECES, approximate=False)
            pipeline.expire(key, OUTPUT_TTL_S)
            pipeline.execute()

    def _verify(self, run_id: str, path: str, body: str) -> OutputPiece:
        parts = self._envelope.verify(OUTPUT_KIND, body)
        if len(parts) != 5 or parts[:2] != (run_id, path) or not all(map(_is_number, parts[2:4])):
            raise EnvelopeError("a piece of output is from another file, or malformed")
        delivery, start, packed = parts[2:]
        data = unpack_bytes(packed, limit_bytes=MAX_PIECE_BYTES)
        return OutputPiece(delivery=int(delivery), start=int(start), data=data)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
