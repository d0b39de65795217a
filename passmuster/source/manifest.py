"""The manifest of a source tree: its files by digest, so the digest of the manifest identifies all contents.

A decoded manifest is safe to materialize in an empty directory: no path leads upwards, no file is below a
link, and no link leads out of the directory.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from passmuster.model.errors import InfrastructureError
from passmuster.model.units import format_bytes
from passmuster.wire.codec import CodecError, TextCodec

MAX_FILES = 50_000
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_TREE_BYTES = 512 * 1024 * 1024
"""Limits of one tree: sources and their data, not build products."""

MAX_MANIFEST_BYTES = 32 * 1024 * 1024

_MAX_PATH_BYTES, _MAX_NAME_BYTES = 4000, 255
"""The limits of Linux (PATH_MAX, NAME_MAX), less the directory of the tree."""

_MAX_HOPS = 40
"""Maximum number of links that one path follows, as on Linux."""

_LEVEL = 6
"""zlib's default: one content is packed once, and unpacked by every worker."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class TreeError(InfrastructureError):
    """A tree that is damaged, hostile, incomplete, or too large."""


class EntryType(StrEnum):
    """The type of a path in a tree."""

    FILE = "file"
    EXECUTABLE = "executable"
    LINK = "link"


class TreeEntry(Struct, frozen=True, kw_only=True):
    """A file or a link."""

    path: str
    """Relative to the root."""
    kind: EntryType
    size_bytes: int = 0
    """0 for a link."""
    sha256: str = ""
    """Empty for a link."""
    target: str = ""
    """Of a link; empty for a file."""


class TreeManifest(Struct, frozen=True, kw_only=True):
    """All files and links of a tree, sorted by path."""

    entries: tuple[TreeEntry, ...]

    def sizes(self) -> dict[str, int]:
        """Return the size of each content, by its digest."""
        return {one.sha256: one.size_bytes for one in self.entries if one.kind is not EntryType.LINK}


_CODEC = TextCodec(TreeManifest, "the tree's manifest", MAX_MANIFEST_BYTES)


def encode_manifest(manifest: TreeManifest) -> bytes:
    """Return a manifest as text. Equal manifests have equal texts.

    Raises:
        TreeError: `decode_manifest` would reject it.
    """
    check_manifest(manifest)
    try:
        return _CODEC.encode(manifest).encode("ascii")
    except CodecError as error:
        raise TreeError(str(error)) from error


def decode_manifest(data: bytes) -> TreeManifest:
    """Return the manifest in a text.

    Raises:
        TreeError: the manifest is malformed, or a path, a link or a size is not allowed; the error names it.
    """
    try:
        manifest = _CODEC.decode(data.decode("ascii"))
    except (UnicodeDecodeError, CodecError) as error:
        raise TreeError(f"the tree's manifest cannot be read: {error}") from error
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: TreeManifest) -> None:
    """Reject a manifest with an entry that is not safe to materialize.

    Raises:
        TreeError: names the entry.
    """
    entries = manifest.entries
    if len(entries) > MAX_FILES:
        raise TreeError(f"the tree has {len(entries)} files, at most {MAX_FILES} are allowed")
    total_bytes = sum(max(0, entry.size_bytes) for entry in entries)
    if total_bytes > MAX_TREE_BYTES:
        raise TreeError(
            f"the tree has {format_bytes(total_bytes)}, at most {format_bytes(MAX_TREE_BYTES)} are allowed"
        )
    before = ""
    sizes: dict[str, int] = {}
    for entry in entries:
        if entry.path <= before:
            raise _wrong(entry.path, "is repeated, or not in order")
        before = entry.path
        _check_path(entry.path)
        _check_entry(entry)
        if (
            entry.kind is not EntryType.LINK
            and sizes.setdefault(entry.sha256, entry.size_bytes) != entry.size_bytes
        ):
            raise _wrong(entry.path, "has a different size than a file of the same content")
    _check_places(entries)


def digest_of(data: bytes) -> str:
    """Return the digest by which content is stored."""
    return hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether a text has the form of a digest."""
    return _DIGEST.fullmatch(text) is not None


def pack_content(data: bytes) -> bytes:
    """Return content in its stored form."""
    return zlib.compress(data, _LEVEL)


def max_packed_bytes(size_bytes: int) -> int:
    """Return the maximum packed size of content of this size (zlib.h, compressBound)."""
    return size_bytes + (size_bytes >> 12) + (size_bytes >> 14) + (size_bytes >> 25) + 64


def unpack_content(packed: bytes, *, digest: str, max_bytes: int) -> bytes:
    """Return content from its stored form; more than `max_bytes` are never decompressed.

    Raises:
        TreeError: it is damaged, larger, or has another digest.
    """
    unpacker = zlib.decompressobj()
    try:
        # Read one more than allowed: this detects larger content without reading all of it.
        data = unpacker.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise TreeError(f"content {digest[:12]} of the tree is damaged: {error}") from error
    if len(data) > max_bytes:
        raise TreeError(f"content {digest[:12]} of the tree has more than its {max_bytes} bytes")
    if digest_of(data) != digest:
        raise TreeError(f"content {digest[:12]} of the tree is damaged: it has another digest")
    return data


def _check_path(path: str) -> None:
    parts = path.split("/")
    if path.startswith("/"):
        raise _wrong(path, "is absolute")
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise _wrong(path, "is not a plain relative path")
    # On a file system that ignores case, `.GIT` is git's folder, whose files can make git execute commands.
    if any(part.lower() == ".git" for part in parts):
        raise _wrong(path, "is in a folder of git")
    names = [_bytes(path, part) for part in parts]
    if max(map(len, names)) > _MAX_NAME_BYTES or sum(map(len, names)) + len(parts) > _MAX_PATH_BYTES:
        raise _wrong(path, "is longer than a file system allows")


def _check_entry(entry: TreeEntry) -> None:
    if entry.kind is EntryType.LINK:
        is_right = not entry.sha256 and entry.size_bytes == 0
        if not entry.target or "\0" in entry.target or entry.target.startswith("/"):
            raise _wrong(entry.path, f"is a link to {_shown(entry.target)}, which is not a relative path")
        if len(_bytes(entry.path, entry.target)) > _MAX_PATH_BYTES:
            raise _wrong(entry.path, "is a link to a path longer than a file system allows")
    else:
        is_right = is_digest(entry.sha256) and not entry.target
        if not 0 <= entry.size_bytes <= MAX_FILE_BYTES:
            raise _wrong(
                entry.path,
                f"has {entry.size_bytes} bytes, at most {format_bytes(MAX_FILE_BYTES)} are allowed",
            )
    if not is_right:
        raise _wrong(entry.path, "has a digest or a size that does not match its type")


def _check_places(entries: tuple[TreeEntry, ...]) -> None:
    """Reject entries below a file or a link, and links that lead out of the tree."""
    links = {entry.path: entry.target for entry in entries if entry.kind is EntryType.LINK}
    known = {entry.path for entry in entries}
    for entry in entries:
        folder = entry.path.rpartition("/")[0]
        while folder:
            if folder in known:
                raise _wrong(entry.path, "is below a path that is not a folder")
            folder = folder.rpartition("/")[0]
    for path, target in links.items():
        if not _stays_inside(path, links):
            raise _wrong(path, f"is a link to {_shown(target)}, which is outside of the tree")


def _stays_inside(path: str, links: Mapping[str, str]) -> bool:
    """Follow a path as the kernel would: `..` after a link leads upwards from where that led."""
    ahead = path.split("/")[::-1]
    here: list[str] = []
    hops = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return False
            here.pop()
            continue
        here.append(part)
        target = links.get("/".join(here))
        if target is not None:
            hops += 1
            if hops > _MAX_HOPS:
                return True  # A cycle: it leads nowhere.
            here.pop()
            ahead.extend(target.split("/")[::-1])
    return True


def _bytes(path: str, text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise _wrong(path, "contains characters that no file name can have") from error


def _wrong(path: str, problem: str) -> TreeError:
    return TreeError(f"the tree's {_shown(path)} {problem}")


def _shown(path: str) -> str:
    return ascii(path)[:120]
