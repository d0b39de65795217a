"""Where trees are kept, in memory: it counts what is asked of it, and can be spoilt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from passmuster.source.manifest import MAX_MANIFEST_BYTES, TreeError, TreeManifest, decode_manifest, digest_of
from passmuster.source.store import TreeStore


class TreeShelf(TreeStore):
    """A tree store in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.put_digests: list[str] = []
        self.fetched: list[str] = []

    def missing(self, digests: Sequence[str]) -> list[str]:
        return [digest for digest in digests if digest not in self.contents]

    def put(self, contents: Iterable[tuple[str, bytes]]) -> int:
        count = 0
        for digest, data in contents:
            assert digest_of(data) == digest
            self.contents[digest] = data
            self.put_digests.append(digest)
            count += len(data)
        return count

    def manifest(self, digest: str) -> TreeManifest:
        [(_, data)] = self.fetch({digest: MAX_MANIFEST_BYTES})
        return decode_manifest(data)

    def fetch(self, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        for digest in sizes:
            if digest not in self.contents:
                raise TreeError(f"content {digest[:12]} is not there")
            self.fetched.append(digest)
            yield digest, self.contents[digest]
