"""Caches the directories of uploaded trees on this machine, each used by one worker at a time.

    trees/lock                  held while a directory is chosen, created or removed
    trees/DIGEST-NUMBER/lock    held by the worker that uses it, as long as it lives
    trees/DIGEST-NUMBER/list    the manifest of the tree, from which other workers see what they can copy
    trees/DIGEST-NUMBER/tree    what tests see

A second worker gets a second directory of the same tree, because tests may write to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from passmuster.model.errors import InfrastructureError
from passmuster.source.manifest import TreeError, TreeManifest, decode_manifest, encode_manifest, is_digest
from worker.trees.folder import local_changes, materialize, read_content, remove

KEPT_TREES = 3
"""Number of the newest directories that are kept in addition to those in use."""

_NAME_CHARS = 16
"""Of the digest: a path is to stay short for sockets in it (unix(7)), and `restore` trusts no name."""

_LOCK, _LIST, _TREE, _SCRATCH = "lock", "list", "tree", "part"


class BlobDownloader(Protocol):
    """The source of trees; see `passmuster.source.store.TreeStore`."""

    def manifest(self, digest: str) -> TreeManifest:
        """Return the manifest of a tree."""

    def fetch(self, sizes: Mapping[str, int]) -> Iterable[tuple[str, bytes]]:
        """Return contents with their digests."""


class TreeFolder:
    """The folder of one tree, this worker's until it is closed.

    Args:
        place: where it lies.
        lock: the descriptor that holds its lock.
        digest: of the tree's list.
    """

    def __init__(self, place: Path, lock: int, digest: str) -> None:
        self._place, self._lock = place, lock
        self.digest = digest
        self._manifest: TreeManifest | None = None
        self._kept: frozenset[str] = frozenset()

    @property
    def path(self) -> Path:
        """The root for tests."""
        return self._place / _TREE

    def restore(self, store: BlobDownloader) -> int:
        """Make the folder hold the tree, what `keep_made` found, and nothing else. No test may run in it.

        Returns:
            How many files were written.

        Raises:
            TreeError: the broker does not have all of the tree, or it is damaged or not allowed.
            InfrastructureError: the folder cannot be written.
        """
        if self._manifest is None:
            self._manifest = self._read_list() or store.manifest(self.digest)
        manifest = self._manifest

        def supply(sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
            left = dict(sizes)
            for digest, data in self._copies(frozenset(sizes)):
                del left[digest]
                yield digest, data
            yield from store.fetch(left) if left else ()

        written = materialize(self.path, manifest, supply, scratch=self._place / _SCRATCH, kept=self._kept)
        with contextlib.suppress(OSError):  # Only others would gain from it.
            (self._place / _LIST).write_bytes(encode_manifest(manifest))
        return written

    def keep_setup_files(self) -> None:
        """Treat the present differences from the tree as made by `--setup`: they stay from now on."""
        if self._manifest is not None:
            self._kept = local_changes(self.path, self._manifest)

    def close(self) -> None:
        """Release the directory. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _read_list(self) -> TreeManifest | None:
        """Return the manifest that an earlier worker left, if it is the right one."""
        data = read_content(self._place / _LIST, self.digest)
        return None if data is None else decode_manifest(data)

    def _copies(self, digests: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        """Yield contents of other directories. Each is checked, because tests may have changed it."""
        left = set(digests)
        for place in _folders(self._place.parent):
            if not left:
                return
            known = _read_any_list(place / _LIST) if place != self._place else None
            for entry in known.entries if known is not None else ():
                data = (
                    read_content(place / _TREE / entry.path, entry.sha256) if entry.sha256 in left else None
                )
                if data is not None:
                    left.discard(entry.sha256)
                    yield entry.sha256, data


class TreeCache:
    """All folders of trees of this user.

    Args:
        base: where they lie; made, and private to its owner.

    Raises:
        InfrastructureError: it cannot be made, or others could write there.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = base.lstat()
        except OSError as error:
            raise InfrastructureError(
                f"the folder for trees {base} cannot be made: {error.strerror};"
                " set XDG_CACHE_HOME to another folder"
            ) from error
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not is_ours or stat.S_IMODE(found.st_mode) & 0o077:
            raise InfrastructureError(
                f"the folder for trees {base} is not yours alone (mode 0700): remove it,"
                " or set XDG_CACHE_HOME to another folder"
            )

    def open(self, digest: str) -> TreeFolder:
        """Return a folder for a tree that nobody else uses; what is in it may be anything until `restore`.

        Raises:
            TreeError: this is no digest.
            InfrastructureError: it cannot be made.
        """
        if not is_digest(digest):
            raise TreeError(f"{ascii(digest)[:80]} is no digest of a tree")
        try:
            with self._exclusively():
                number = 0
                name = digest[:_NAME_CHARS]
                while (lock := _try_lock(self._base / f"{name}-{number}")) is None:
                    number += 1
                place = self._base / f"{name}-{number}"
                os.utime(place)
                self._prune()
        except OSError as error:
            raise InfrastructureError(
                f"no folder for the tree can be made in {self._base}: {error.strerror}; free some space there"
            ) from error
        return TreeFolder(place, lock, digest)

    def _prune(self) -> None:
        """Remove the oldest folders but `KEPT_TREES`, unless they are in use."""
        for place in _folders(self._base)[KEPT_TREES:]:
            lock = _try_lock(place)
            if lock is None:
                continue
            with contextlib.suppress(OSError):  # The next one tries again.
                remove(place)
            os.close(lock)

    @contextlib.contextmanager
    def _exclusively(self) -> Iterator[None]:
        lock = os.open(self._base / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def default_base(environ: Mapping[str, str]) -> Path:
    """Return where trees lie: in the user's cache, or where there is none, below the temporary folder."""
    named = environ.get("XDG_CACHE_HOME", "")
    home = environ.get("HOME", "")
    cache = Path(named) if named.startswith("/") else Path(home, ".cache") if home.startswith("/") else None
    if cache is not None and _can_be_made(cache):
        return cache / "passmuster" / "trees"
    return Path(tempfile.gettempdir(), f"passmuster-trees-{os.getuid()}")


def _can_be_made(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.access(folder, os.W_OK | os.X_OK)


def _folders(base: Path) -> list[Path]:
    """Return the folders of trees, the newest first."""
    found = []
    for place in base.iterdir():
        with contextlib.suppress(OSError):
            status = place.lstat()
            if stat.S_ISDIR(status.st_mode):
                found.append((status.st_mtime_ns, place))
    return [place for _, place in sorted(found, reverse=True)]


def _try_lock(place: Path) -> int | None:
    """Lock a folder, which is made if it is not there; None: another process has it."""
    place.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _read_any_list(path: Path) -> TreeManifest | None:
    try:
        return decode_manifest(path.read_bytes())
    except (OSError, TreeError):
        return None
