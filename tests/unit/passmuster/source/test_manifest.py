"""A manifest from the broker can do no harm, whatever it contains."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.source import manifest as tree_manifest
from passmuster.source.manifest import (
    MAX_FILE_BYTES,
    EntryType,
    TreeEntry,
    TreeError,
    TreeManifest,
    decode_manifest,
    digest_of,
    encode_manifest,
    max_packed_bytes,
    pack_content,
    unpack_content,
)
from passmuster.wire.codec import TextCodec

DIGEST = hashlib.sha256(b"content").hexdigest()


def file(path: str, **changes: object) -> TreeEntry:
    given = {"path": path, "kind": EntryType.FILE, "size_bytes": 7, "sha256": DIGEST, "target": "", **changes}
    return TreeEntry(**given)  # type: ignore[arg-type]


def link(path: str, target: str) -> TreeEntry:
    return TreeEntry(path=path, kind=EntryType.LINK, target=target)


def decoded(*entries: TreeEntry) -> TreeManifest:
    """Decode what somebody wrote who did not check it."""
    text = TextCodec(TreeManifest, "it", 1 << 26).encode(TreeManifest(entries=entries))
    return decode_manifest(text.encode("ascii"))


def test_a_manifest_is_decoded_unchanged() -> None:
    manifest = TreeManifest(
        entries=(
            file(".hidden"),
            file("a/b/c.py", kind=EntryType.EXECUTABLE),
            link("a/link", "../.hidden"),
            file("name\udcff with \n all"),
            link("to nowhere", "missing/thing"),
        )
    )

    assert decode_manifest(encode_manifest(manifest)) == manifest


HOSTILE: dict[str, tuple[TreeEntry, ...]] = {
    "upwards": (file("../x"),),
    "upwards, inside": (file("a/../../x"),),
    "absolute": (file("/etc/passwd"),),
    "empty": (file(""),),
    "the folder itself": (file("."),),
    "a folder's name": (file("a/"),),
    "doubled slash": (file("a//b"),),
    "dots": (file("a/./b"),),
    "NUL": (file("a\0b"),),
    "git": (file(".git/hooks/pre-commit"),),
    "git, in other letters": (file("sub/.GiT/config"),),
    "git, as a file": (file(".git"),),
    "twice": (file("a"), file("a")),
    "not in order": (file("b"), file("a")),
    "below a link": (link("a", "b"), file("a/x")),
    "far below a link": (link("a", "b"), file("a/b/c/x")),
    "below a file": (file("a"), file("a/x")),
    "a link upwards": (link("a", ".."),),
    "a link far upwards": (link("a/b", "../../x"),),
    "a link to the root of the machine": (link("a", "/etc/passwd"),),
    "a link to nothing": (link("a", ""),),
    "a link with a NUL": (link("a", "b\0c"),),
    "upwards by another link": (link("p/q/a", "../../s"), link("x", "p/q/a/../../etc")),
    "a link with content": (file("a", kind=EntryType.LINK, target="b"),),
    "a file with a target": (file("a", target="b"),),
    "no digest": (file("a", sha256=""),),
    "half a digest": (file("a", sha256="abc"),),
    "a digest in capitals": (file("a", sha256=DIGEST.upper()),),
    "a negative size": (file("a", size_bytes=-1),),
    "a huge size": (file("a", size_bytes=MAX_FILE_BYTES + 1),),
    "two sizes of one content": (file("a"), file("b", size_bytes=8)),
    "a long name": (file("a" * 256),),
    "a long path": (file("/".join(["a" * 200] * 25)),),
    "no name of a file": (file("a\ud800"),),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_unsafe_manifest_is_rejected(name: str) -> None:
    with pytest.raises(TreeError, match="the tree's "):
        decoded(*HOSTILE[name])


@pytest.mark.parametrize("name", HOSTILE)
def test_an_unsafe_manifest_is_not_encoded(name: str) -> None:
    with pytest.raises(TreeError, match="the tree's "):
        encode_manifest(TreeManifest(entries=HOSTILE[name]))


def test_paths_are_case_sensitive() -> None:
    assert len(decoded(file("A"), file("a")).entries) == 2


def test_links_inside_the_tree_are_accepted() -> None:
    entries = (link("a", "a"), link("b/c", "../d/e"), link("d/e", "."), link("f", "b/c/.."))

    assert decoded(*entries).entries == entries


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_manifest, "MAX_FILES", 1)

    with pytest.raises(TreeError, match="has 2 files, at most 1"):
        decoded(file("a"), file("b"))


def test_a_tree_that_is_too_large_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_manifest, "MAX_TREE_BYTES", 13)

    with pytest.raises(TreeError, match="has 14 B, at most 13 B"):
        decoded(file("a"), file("b"))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"entries":[{}]}', b'{"entries":[],"x":1}', b"\xff", b'{"entries":[[]]}']
)
def test_an_invalid_manifest_is_rejected(data: bytes) -> None:
    with pytest.raises(TreeError, match="the tree's manifest cannot be read"):
        decode_manifest(data)


@given(st.binary(max_size=4000))
def test_content_is_unpacked_unchanged(data: bytes) -> None:
    packed = pack_content(data)

    assert unpack_content(packed, digest=digest_of(data), max_bytes=len(data)) == data
    assert len(packed) <= max_packed_bytes(len(data))


def test_incompressible_content_fits_its_maximum_packed_size() -> None:
    data = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(40_000))

    assert len(pack_content(data)) <= max_packed_bytes(len(data))


def test_a_decompression_bomb_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(50 * 1024 * 1024))

    with pytest.raises(TreeError, match="more than its 1000 bytes"):
        unpack_content(bomb, digest=DIGEST, max_bytes=1000)


@pytest.mark.parametrize("packed", [b"nonsense", zlib.compress(b"content")[:-6], zlib.compress(b"contenT")])
def test_damaged_content_is_refused(packed: bytes) -> None:
    with pytest.raises(TreeError, match="damaged"):
        unpack_content(packed, digest=DIGEST, max_bytes=7)
