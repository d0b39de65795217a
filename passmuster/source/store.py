"""Stores uploaded trees on the broker: each content once, under its digest, compressed, for one day.

pm:blob:SHA256  STRING  content, packed by `manifest.pack_content`; manifests are stored in the same way

A worker takes the digest of the manifest from a signed message and gets exactly that tree or an error,
because every content is checked against its digest. Methods may raise `redis.RedisError`. Their client needs
a long timeout, because one content can have megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis
from redis.client import NEVER_DECODE

from passmuster.source.manifest import (
    MAX_MANIFEST_BYTES,
    TreeError,
    TreeManifest,
    decode_manifest,
    max_packed_bytes,
    pack_content,
    unpack_content,
)
from passmuster.wire.broker_keys import BLOB_TTL_S, blob_key

_MAX_COMMANDS = 500
"""Commands of one batch."""

_MAX_CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes of content in one batch, unless a single content has more."""

SHIP_TIMEOUT_S = 60.0
"""Seconds for one chunk: 1 MB/s is enough for the largest content."""


class TreeStore:
    """The uploaded trees on the broker; `client` is from `run_store.connect`, with `SHIP_TIMEOUT_S`."""

    def __init__(self, client: redis.Redis) -> None:
        # Any: redis-py's types say "a reply, or an awaitable of one" for every command.
        self._client: Any = client

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Return the digests that the broker does not have; it keeps the others for a day from now."""
        found = []
        for start in range(0, len(digests), _MAX_COMMANDS):
            chunk = digests[start : start + _MAX_COMMANDS]
            with self._client.pipeline(transaction=False) as pipeline:
                for digest in chunk:
                    pipeline.expire(blob_key(digest), BLOB_TTL_S)
                replies = pipeline.execute()
            found += [digest for digest, is_there in zip(chunk, replies, strict=True) if not is_there]
        return found

    def put(self, contents: Iterable[tuple[str, bytes]]) -> int:
        """Store contents, each given with its digest; return their compressed size in bytes."""
        total_bytes = chunk_bytes = 0
        with self._client.pipeline(transaction=False) as pipeline:
            for digest, data in contents:
                packed = pack_content(data)
                pipeline.set(blob_key(digest), packed, ex=BLOB_TTL_S)
                total_bytes += len(packed)
                chunk_bytes += len(packed)
                if chunk_bytes >= _MAX_CHUNK_BYTES or len(pipeline) >= _MAX_COMMANDS:
                    pipeline.execute()
                    chunk_bytes = 0
            pipeline.execute()
        return total_bytes

    def manifest(self, digest: str) -> TreeManifest:
        """Return the manifest of a tree.

        Raises:
            TreeError: the broker does not have it, or it is damaged or not safe.
        """
        [(_, data)] = self.fetch({digest: MAX_MANIFEST_BYTES})
        return decode_manifest(data)

    def fetch(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yield contents, each with its digest; `sizes` is the maximum bytes of each content by digest.

        Raises:
            TreeError: the broker does not have a content, or it is damaged.
        """
        chunk: list[str] = []
        chunk_bytes = 0
        for digest, size_bytes in sizes.items():
            if chunk and (len(chunk) >= _MAX_COMMANDS or chunk_bytes + size_bytes > _MAX_CHUNK_BYTES):
                yield from self._fetched(chunk, sizes)
                chunk, chunk_bytes = [], 0
            chunk.append(digest)
            chunk_bytes += size_bytes
        if chunk:
            yield from self._fetched(chunk, sizes)

    def _fetched(self, chunk: Sequence[str], sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        with self._client.pipeline(transaction=False) as pipeline:
            for digest in chunk:
                # GETRANGE bounds the reply, whatever the key contains.
                last = max_packed_bytes(sizes[digest])
                pipeline.execute_command("GETRANGE", blob_key(digest), 0, last, **{NEVER_DECODE: True})
            replies = pipeline.execute()
        for digest, packed in zip(chunk, replies, strict=True):
            if not packed:
                raise TreeError(
                    f"the broker does not have content {digest[:12]} of the tree (it keeps one for a day): "
                    "start the run again"
                )
            yield digest, unpack_content(packed, digest=digest, max_bytes=sizes[digest])
