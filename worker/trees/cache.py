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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from passmuster.model.errors import InfrastructureError
from passmuster.source.files import read_content
from passmuster.source.manifest import TreeError, TreeManifest, decode_manifest, encode_manifest, is_digest
from worker.trees.folder import local_changes, materialize, remove

if TYPE_CHECKING:
    from passmuster.source.store import TreeStore

KEPT_TREES = 3
"""Number of the newest directories that are kept in addition to those in use."""

_NAME_CHARS = 16
"""Of the digest: short, because paths of Unix sockets are limited (unix(7)). `restore` checks the content."""

_LOCK, _MANIFEST, _TREE, _SCRATCH = "lock", "list", "tree", "part"


class TreeFolder:
    """The directory of one tree, which belongs to this worker until it is closed.

    Args:
        folder: contains the lock, the manifest and the tree.
        lock: the file descriptor that holds the lock.
        digest: of the tree's manifest.
    """

    def __init__(self, folder: Path, lock: int, digest: str) -> None:
        self._folder, self._lock = folder, lock
        self._digest = digest
        self._manifest: TreeManifest | None = None
        self._kept: frozenset[str] = frozenset()

    @property
    def path(self) -> Path:
        """The root for tests."""
        return self._folder / _TREE

    def restore(self, store: TreeStore) -> int:
        """Restore the tree and the files of `keep_setup_files`, and remove all others; return how many files
        were written. No test may run in it.

        Raises:
            TreeError: the broker does not have the whole tree, or it is damaged or not safe.
            InfrastructureError: the directory cannot be written.
        """
        if self._manifest is None:
            self._manifest = self._read_manifest() or store.manifest(self._digest)
        manifest = self._manifest

        def supply(sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
            missing = dict(sizes)
            for digest, data in self._copies(frozenset(sizes)):
                del missing[digest]
                yield digest, data
            yield from store.fetch(missing) if missing else ()

        written = materialize(self.path, manifest, supply, scratch=self._folder / _SCRATCH, kept=self._kept)
        with contextlib.suppress(OSError):  # Only other workers benefit from it.
            (self._folder / _MANIFEST).write_bytes(encode_manifest(manifest))
        return written

    def keep_setup_files(self) -> None:
        """Treat the current differences from the tree as files that `--setup` made: `restore` keeps them."""
        if self._manifest is not None:
            self._kept = local_changes(self.path, self._manifest)

    def close(self) -> None:
        """Release the directory. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _read_manifest(self) -> TreeManifest | None:
        """Return the manifest that an earlier worker left, if its digest is right."""
        data = read_content(self._folder / _MANIFEST, self._digest)
        return None if data is None else decode_manifest(data)

    def _copies(self, digests: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        """Yield contents of other directories. Each is checked, because tests may have changed it."""
        missing = set(digests)
        for folder in _folders(self._folder.parent):
            if not missing:
                return
            manifest = _read_any_manifest(folder / _MANIFEST) if folder != self._folder else None
            for entry in manifest.entries if manifest is not None else ():
                if entry.sha256 in missing:
                    data = read_content(folder / _TREE / entry.path, entry.sha256)
                    if data is not None:
                        missing.discard(entry.sha256)
                        yield entry.sha256, data


class TreeCache:
    """The directories of all trees of this user, in `base`, which is created if it does not exist.

    Raises:
        InfrastructureError: `base` cannot be created, or other users can write there.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = base.lstat()
        except OSError as error:
            raise InfrastructureError(
                f"the directory for trees {base} cannot be created: {error.strerror};"
                " set XDG_CACHE_HOME to another directory"
            ) from error
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not is_own or stat.S_IMODE(found.st_mode) & 0o077:
            raise InfrastructureError(
                f"the directory for trees {base} is not private to you (mode 0700): remove it,"
                " or set XDG_CACHE_HOME to another directory"
            )

    def open(self, digest: str) -> TreeFolder:
        """Return a directory for a tree that no other worker uses; its content is undefined until `restore`.

        Raises:
            TreeError: `digest` is not a digest.
            InfrastructureError: it cannot be created.
        """
        if not is_digest(digest):
            raise TreeError(f"{ascii(digest)[:80]} is not the digest of a tree")
        try:
            with self._exclusively():
                number = 0
                name = digest[:_NAME_CHARS]
                while (lock := _try_lock(self._base / f"{name}-{number}")) is None:
                    number += 1
                folder = self._base / f"{name}-{number}"
                try:
                    os.utime(folder)
                    self._prune()
                except BaseException:
                    os.close(lock)
                    raise
        except OSError as error:
            raise InfrastructureError(
                f"cannot create a directory for the tree in {self._base}: {error.strerror};"
                " free some space there"
            ) from error
        return TreeFolder(folder, lock, digest)

    def _prune(self) -> None:
        """Remove all directories except the newest `KEPT_TREES` and those in use."""
        for folder in _folders(self._base)[KEPT_TREES:]:
            lock = _try_lock(folder)
            if lock is None:
                continue
            with contextlib.suppress(OSError):  # The next worker tries again.
                remove(folder)
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
    """Return the directory for trees: in the user's cache, or else in the temporary directory."""
    named = environ.get("XDG_CACHE_HOME", "")
    home = environ.get("HOME", "")
    cache = Path(named) if named.startswith("/") else Path(home, ".cache") if home.startswith("/") else None
    if cache is not None and _can_create(cache):
        return cache / "passmuster" / "trees"
    return Path(tempfile.gettempdir(), f"passmuster-trees-{os.getuid()}")


def _can_create(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.access(folder, os.W_OK | os.X_OK)


def _folders(base: Path) -> list[Path]:
    """Return the directories of trees, newest first."""
    found = []
    for folder in base.iterdir():
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode):
                found.append((status.st_mtime_ns, folder))
    return [folder for _, folder in sorted(found, reverse=True)]


def _try_lock(folder: Path) -> int | None:
    """Create a directory if needed, and lock it; return None if another process holds the lock."""
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _read_any_manifest(path: Path) -> TreeManifest | None:
    try:
        return decode_manifest(path.read_bytes())
    except (OSError, TreeError):
        return None
