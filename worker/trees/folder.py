"""Materializes a source tree in a directory, or restores a directory to the tree.

Both follow the same rule: files that are not in the manifest are removed, and files whose content differs are
rewritten; times do not count. Only files that `--setup` created stay, unchecked.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from passmuster.model.errors import InfrastructureError
from passmuster.source.manifest import (
    MAX_FILE_BYTES,
    EntryType,
    TreeEntry,
    TreeError,
    TreeManifest,
    digest_of,
)

Supply = Callable[[Mapping[str, int]], Iterable[tuple[str, bytes]]]
"""Gives contents with their digests, for sizes by digest; checked already."""

_MODES = {EntryType.FILE: 0o644, EntryType.EXECUTABLE: 0o755}
_FOLDER_MODE = 0o755


class _Found(Struct, frozen=True, kw_only=True):
    """What lies in a folder.

    Args:
        right: paths that are as the list says.
        strange: paths that are not in the list; a folder stands for all that is in it.
    """

    right: frozenset[str]
    strange: frozenset[str]


def materialize(
    folder: Path,
    manifest: TreeManifest,
    supply: Supply,
    *,
    scratch: Path,
    kept: Collection[str] = (),
) -> int:
    """Make a folder hold exactly the tree, and what is kept; return how many files were written.

    Args:
        folder: where; made if it is not there. No test may run in it.
        manifest: what is to be there.
        supply: gives what is missing.
        scratch: the name under which a file is written before it is complete; on the same file system.
        kept: paths that are left as they are, from `made_in`.

    Raises:
        TreeError: `supply` did not give all of it, or raised it.
        InfrastructureError: the disk is full, or something there cannot be removed.
    """
    try:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        found = _survey(folder, manifest)
        for path in sorted(found.strange.difference(kept)):
            remove(folder / path)
        wrong = [
            entry for entry in manifest.entries if entry.path not in found.right and entry.path not in kept
        ]
        for entry in wrong:
            remove(folder / entry.path)
        _write_files(folder, wrong, supply, scratch)
        # Last, so that no file is ever written through one.
        for entry in wrong:
            if entry.kind is EntryType.LINK:
                _with_parent(folder, entry).symlink_to(entry.target)
    except OSError as error:
        raise InfrastructureError(
            f"the tree cannot be laid down in {folder}: {error}; free some space there, or set XDG_CACHE_HOME"
            " to another folder"
        ) from error
    return len(wrong)


def local_changes(folder: Path, manifest: TreeManifest) -> frozenset[str]:
    """Return the paths at which a folder is not as the tree's list says: what was made there since.

    A new folder stands for all that is in it.
    """
    found = _survey(folder, manifest)
    return found.strange | {entry.path for entry in manifest.entries}.difference(found.right)


def find_differences(folder: Path, manifest: TreeManifest) -> tuple[str, ...]:
    """Return the paths of a tree that are not there, or are something else; nothing is changed.

    What lies there besides is no difference, nor are permissions: not every mount has them.
    """
    return tuple(entry.path for entry in manifest.entries if not _is_there(folder / entry.path, entry))


def read_content(path: Path, digest: str) -> bytes | None:
    """Return a file's content; None: it is not there, no file, or other content."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return data if digest_of(data) == digest else None


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, where it is there, whatever its mode.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    # Tests leave directories without write permission.
    path.chmod(0o700)
    for folder, folders, _ in os.walk(path):
        for name in folders:
            with contextlib.suppress(OSError):
                inside = Path(folder, name)
                if not inside.is_symlink():
                    inside.chmod(0o700)
    shutil.rmtree(path)


def _survey(folder: Path, manifest: TreeManifest) -> _Found:
    wanted = {entry.path: entry for entry in manifest.entries}
    folders = set(_parents(wanted))
    right, strange = set(), set()
    ahead = [""]
    while ahead:
        place = ahead.pop()
        with os.scandir(folder / place) as entries:
            found = list(entries)
        for one in found:
            path = f"{place}/{one.name}" if place else one.name
            if path in folders and one.is_dir(follow_symlinks=False):
                # A test may have closed it.
                Path(one.path).chmod(_FOLDER_MODE)
                ahead.append(path)
            elif path not in wanted:
                strange.add(path)
            elif _is_right(one, wanted[path]):
                right.add(path)
    return _Found(right=frozenset(right), strange=frozenset(strange))


def _is_right(found: os.DirEntry[str], entry: TreeEntry) -> bool:
    status = found.stat(follow_symlinks=False)
    if entry.kind is EntryType.LINK:
        return stat.S_ISLNK(status.st_mode) and os.fspath(Path(found.path).readlink()) == entry.target
    return (
        stat.S_ISREG(status.st_mode)
        and stat.S_IMODE(status.st_mode) == _MODES[entry.kind]
        and status.st_size == entry.size_bytes
        and read_content(Path(found.path), entry.sha256) is not None
    )


def _is_there(path: Path, entry: TreeEntry) -> bool:
    try:
        status = path.lstat()
        if entry.kind is EntryType.LINK:
            return stat.S_ISLNK(status.st_mode) and os.fspath(path.readlink()) == entry.target
    except OSError:
        return False
    return status.st_size == entry.size_bytes and read_content(path, entry.sha256) is not None


def _parents(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder:
            yield folder
            folder = folder.rpartition("/")[0]


def _write_files(folder: Path, entries: Iterable[TreeEntry], supply: Supply, scratch: Path) -> None:
    places: dict[str, list[TreeEntry]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for entry in entries:
        if entry.kind is not EntryType.LINK:
            places[entry.sha256].append(entry)
            sizes[entry.sha256] = entry.size_bytes
    for digest, data in supply(sizes) if sizes else ():
        for entry in places.pop(digest, ()):
            remove(scratch)
            with scratch.open("xb") as file:
                file.write(data)
            scratch.chmod(_MODES[entry.kind])
            scratch.rename(_with_parent(folder, entry))
    for missing in places.values():
        raise TreeError(f"the tree lacks the content of {ascii(missing[0].path)[:120]}: begin the run again")


def _with_parent(folder: Path, entry: TreeEntry) -> Path:
    """Return where an entry lies; makes the folders above it.

    Raises:
        OSError: one of them is something else, or something lies there already: where letters of both cases
            are one, a tree may want two files in one place.
    """
    path = folder / entry.path
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    if os.path.lexists(path):
        raise FileExistsError(f"{path} is there already")
    return path
