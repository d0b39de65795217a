"""Uploads the project's tree to the broker for workers that have no checkout. Sends only what is missing
there.

The tree consists of what git tracks or would add; ignored files are not sent.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.model.errors import ConfigurationError
from passmuster.model.units import format_bytes
from passmuster.settings.values import on_one_line
from passmuster.source.files import tree_files
from passmuster.source.manifest import (
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_TREE_BYTES,
    EntryType,
    TreeEntry,
    TreeError,
    TreeManifest,
    digest_of,
    encode_manifest,
)
from passmuster.source.store import TreeStore

LISTED_FILES, LISTED_BYTES = 5_000, 128 * 1024 * 1024
"""What is read for each run that is not shipped: half a second at most, for workers that have no git."""

_MAX_NAMED = 3
"""How many of the largest files are named where there is too much."""


class UploadedTree(Struct, frozen=True, kw_only=True):
    """A tree on the broker."""

    digest: str
    """Of its file list, which gives access to the whole tree."""
    files: int
    size_bytes: int
    sent_files: int
    """How many contents had to be sent."""
    sent_bytes: int
    """Their compressed size."""

    def __str__(self) -> str:
        sent = f"{self.sent_files} sent ({format_bytes(self.sent_bytes)})" if self.sent_files else "none new"
        return f"tree {self.digest[:12]}: {self.files} file(s), {format_bytes(self.size_bytes)}, {sent}"


def upload_tree(store: TreeStore, root: Path, *, outputs: Collection[Path] = ()) -> UploadedTree:
    """Store the tree below `root` on the broker.

    Args:
        outputs: files and directories that this run writes itself; they are not part of the tree.

    Raises:
        ConfigurationError: it is too large, cannot be read, contains a link that leads out, or changed
            meanwhile.
        InfrastructureError: git cannot list its files.
    """
    manifest = collect_tree(root, outputs=outputs)
    missing = set(store.missing(list(manifest.sizes())))
    sent_bytes = store.put(_contents(root, manifest, missing))
    # Last, so that a list is visible only when all its contents are.
    digest, list_bytes = _put_list(store, manifest)
    return UploadedTree(
        digest=digest,
        files=len(manifest.entries),
        size_bytes=sum(entry.size_bytes for entry in manifest.entries),
        sent_files=len(missing),
        sent_bytes=sent_bytes + list_bytes,
    )


def list_tree(store: TreeStore, root: Path, *, outputs: Collection[Path] = ()) -> str:
    """Store the file list of the tree below `root` on the broker, without contents, and return its digest.

    Returns:
        Empty: the tree is too large to read for each run, or contains an entry that a list cannot represent.

    Raises:
        InfrastructureError: git cannot list its files.
    """
    paths = _without(tree_files(root), root, outputs)
    if len(paths) > LISTED_FILES or sum(_size_bytes(root / path) for path in paths) > LISTED_BYTES:
        return ""
    try:
        return _put_list(store, TreeManifest(entries=tuple(_entry(root, path) for path in paths)))[0]
    except (ConfigurationError, TreeError):
        return ""


def _put_list(store: TreeStore, manifest: TreeManifest) -> tuple[str, int]:
    """Store a file list unless it is there; return its digest, and how many bytes were sent.

    Raises:
        TreeError: the list cannot be represented.
    """
    data = encode_manifest(manifest)
    digest = digest_of(data)
    return digest, store.put([(digest, data)]) if store.missing([digest]) else 0


def collect_tree(root: Path, *, outputs: Collection[Path] = ()) -> TreeManifest:
    """Return the file list of the tree below `root`; see `upload_tree`.

    Raises:
        ConfigurationError: see `upload_tree`.
        InfrastructureError: git cannot list its files.
    """
    paths = _without(tree_files(root), root, outputs)
    _check_size(root, paths)
    manifest = TreeManifest(entries=tuple(_entry(root, path) for path in paths))
    try:
        encode_manifest(manifest)
    except TreeError as error:
        raise ConfigurationError(
            f"--ship cannot send {root}: {error}; have git ignore it, or remove it"
        ) from error
    return manifest


def _without(paths: Sequence[str], root: Path, outputs: Collection[Path]) -> tuple[str, ...]:
    left_out = [os.path.relpath(os.path.realpath(output), os.path.realpath(root)) for output in outputs]
    return tuple(
        path for path in paths if not any(path == one or path.startswith(f"{one}/") for one in left_out)
    )


def _check_size(root: Path, paths: Sequence[str]) -> None:
    sizes = {path: _size_bytes(root / path) for path in paths}
    total_bytes = sum(sizes.values())
    largest = max(sizes.values(), default=0)
    if largest > MAX_FILE_BYTES:
        problem = f"at most {format_bytes(MAX_FILE_BYTES)} are allowed for one file"
    elif total_bytes > MAX_TREE_BYTES:
        problem = f"it has {format_bytes(total_bytes)}, at most {format_bytes(MAX_TREE_BYTES)} are allowed"
    elif len(paths) > MAX_FILES:
        problem = f"it has {len(paths)} files, at most {MAX_FILES} are allowed"
    else:
        return
    raise ConfigurationError(
        f"--ship cannot send {root}: {problem}; the largest are {_largest(sizes)}: have git ignore what no"
        " test needs, or let workers check the commit out (--root)"
    )


def _largest(sizes: Mapping[str, int]) -> str:
    names = sorted(sizes, key=lambda path: (-sizes[path], path))[:_MAX_NAMED]
    return ", ".join(f"{on_one_line(name)} ({format_bytes(sizes[name])})" for name in names)


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # It is gone, which is reported when it is read.


def _entry(root: Path, path: str) -> TreeEntry:
    try:
        status = (root / path).lstat()
        if stat.S_ISLNK(status.st_mode):
            return TreeEntry(path=path, kind=EntryType.LINK, target=os.fspath((root / path).readlink()))
        data = _read(root / path)
    except OSError as error:
        raise ConfigurationError(f"--ship cannot read {root / path}: {error.strerror}") from error
    kind = EntryType.EXECUTABLE if status.st_mode & stat.S_IXUSR else EntryType.FILE
    return TreeEntry(path=path, kind=kind, size_bytes=len(data), sha256=digest_of(data))


def _read(path: Path) -> bytes:
    """Return a file's content, at most slightly more than the size limit, because the file may grow."""
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _contents(root: Path, manifest: TreeManifest, missing: set[str]) -> Iterator[tuple[str, bytes]]:
    """Read the contents to send one after another: all of them at once could exceed the memory."""
    left = set(missing)
    for entry in manifest.entries:
        if entry.sha256 not in left:
            continue
        left.discard(entry.sha256)
        try:
            data = _read(root / entry.path)
        except OSError as error:
            raise ConfigurationError(f"--ship cannot read {root / entry.path}: {error.strerror}") from error
        if digest_of(data) != entry.sha256:
            raise ConfigurationError(f"{root / entry.path} changed while it was sent: start the run again")
        yield entry.sha256, data
