"""Trees on a real server: what was sent comes back, what was spoilt does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from dispatcher.queue.tree_upload import upload_tree
from passmuster.source.manifest import TreeError, digest_of, pack_content
from passmuster.source.store import TreeStore
from passmuster.wire.broker_keys import BLOB_TTL_S, blob_key
from passmuster.wire.run_store import connect
from worker.trees.cache import TreeCache


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Any]:
    client = connect(server.url, timeout_s=10)
    yield client
    client.close()


@pytest.fixture
def store(client: Any) -> TreeStore:
    return TreeStore(client)


def test_contents_come_back_and_expire(store: TreeStore, client: Any) -> None:
    contents = [os.urandom(20), b"", b"x" * 1_000_000, bytes(range(256)) * 40_000]
    digests = {digest_of(data): len(data) for data in contents}
    assert store.missing(list(digests)) == list(digests)

    store.put((digest_of(data), data) for data in contents)

    assert store.missing(list(digests)) == []
    assert dict(store.fetch(digests)) == {digest_of(data): data for data in contents}
    for digest in digests:
        assert BLOB_TTL_S - 60 < client.ttl(blob_key(digest)) <= BLOB_TTL_S


def test_what_is_there_is_kept_for_longer(store: TreeStore, client: Any) -> None:
    data = os.urandom(20)
    store.put([(digest_of(data), data)])
    client.expire(blob_key(digest_of(data)), 100)

    store.missing([digest_of(data)])

    assert client.ttl(blob_key(digest_of(data))) > 1000


def test_many_contents_go_in_several_parts(store: TreeStore) -> None:
    contents = {digest_of(data): data for data in (b"%d" % number for number in range(1203))}

    store.put(contents.items())

    assert store.missing(list(contents)) == []
    assert dict(store.fetch(dict.fromkeys(contents, 4))) == contents


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        (pack_content(b"other"), "another digest"),
        (pack_content(bytes(50_000_000)), "more than its 7 bytes"),
        (b"nonsense", "damaged"),
        (b"", "does not have content"),
        (os.urandom(1_000_000), "damaged"),
    ],
)
def test_spoilt_content_is_refused(store: TreeStore, client: Any, spoilt: bytes, complaint: str) -> None:
    digest = digest_of(b"content")
    client.set(blob_key(digest), spoilt)

    with pytest.raises(TreeError, match=complaint):
        list(store.fetch({digest: 7}))


def test_a_tree_goes_over_the_server(store: TreeStore, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "large").write_bytes(os.urandom(3_000_000))
    (root / "name\udcff").write_bytes(b"\xff\x00")
    (root / "link").symlink_to("sub/large")
    shipped = upload_tree(store, root)

    folder = TreeCache(tmp_path / "trees").open(shipped.digest)
    folder.restore(store)

    assert (folder.path / "link").read_bytes() == (root / "link").read_bytes()
    assert (folder.path / "name\udcff").read_bytes() == b"\xff\x00"
    assert shipped.sent_bytes > 3_000_000
    folder.close()


def test_a_list_that_is_hostile_lays_nothing_down(store: TreeStore, tmp_path: Path) -> None:
    data = (
        b'{"entries":[{"path":"../x","kind":"file","size_bytes":7,"sha256":"'
        + digest_of(b"content").encode()
        + b'","target":""}]}'
    )
    store.put([(digest_of(data), data), (digest_of(b"content"), b"content")])
    folder = TreeCache(tmp_path / "trees").open(digest_of(data))

    with pytest.raises(TreeError, match="not a plain relative path"):
        folder.restore(store)

    assert [path.name for path in tmp_path.rglob("x")] == []
    folder.close()
