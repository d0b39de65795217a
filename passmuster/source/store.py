"""Stores uploaded trees on the broker: each content once, under its digest, compressed, for one day.

pm:blob:SHA256  STRING  content as `manifest.pack_content` makes it; a manifest is content too

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
"""Commands that go out before their answers are taken."""

_MAX_CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes of content on the way at once, unless one content alone has more."""

SHIP_TIMEOUT_S = 60.0
"""Seconds for one chunk: 1 MB/s is enough for the largest content."""


class TreeStore:
    """What the broker keeps of trees.

    Args:
        client: from `run_store.connect`, with `SHIP_TIMEOUT_S`.
    """

    def __init__(self, client: redis.Redis) -> None:
        # Any: see `RunStore`.
        self._client: Any = client

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Return what the broker does not have; what it has, it keeps for a day from now."""
        found = []
        for start in range(0, len(digests), _MAX_COMMANDS):
            chunk = digests[start : start + _MAX_COMMANDS]
            with self._client.pipeline(transaction=False) as pipeline:
                for digest in chunk:
                    pipeline.expire(blob_key(digest), BLOB_TTL_S)
                answers = pipeline.execute()
            found += [digest for digest, is_there in zip(chunk, answers, strict=True) if not is_there]
        return found

    def put(self, contents: Iterable[tuple[str, bytes]]) -> int:
        """Keep contents, each given with its digest; return how many bytes they take there."""
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
        """Return the list of a tree.

        Raises:
            TreeError: the broker does not have it, or it is damaged or not allowed.
        """
        [(_, data)] = self.fetch({digest: MAX_MANIFEST_BYTES})
        return decode_manifest(data)

    def fetch(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yield contents, each with its digest.

        Args:
            sizes: the bytes that each content has at most, by its digest.

        Raises:
            TreeError: the broker does not have one, or it is damaged.
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
                # Not GET: whatever lies there, no more is taken than it can be.
                last = max_packed_bytes(sizes[digest])
                pipeline.execute_command("GETRANGE", blob_key(digest), 0, last, **{NEVER_DECODE: True})
            answers = pipeline.execute()
        for digest, packed in zip(chunk, answers, strict=True):
            if not packed:
                raise TreeError(
                    f"the broker does not have content {digest[:12]} of the tree (it keeps one for a day): "
                    "begin the run again"
                )
            yield digest, unpack_content(packed, digest=digest, most_bytes=sizes[digest])
