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
from passmuster.source.files import has_content
from passmuster.source.manifest import EntryType, TreeEntry, TreeError, TreeManifest

Supply = Callable[[Mapping[str, int]], Iterable[tuple[str, bytes]]]
"""Returns verified contents with their digests, for sizes by digest."""

_MODES = {EntryType.FILE: 0o644, EntryType.EXECUTABLE: 0o755}
_FOLDER_MODE = 0o755


class _Survey(Struct, frozen=True, kw_only=True):
    """The content of a directory, compared with a manifest."""

    unchanged: frozenset[str]
    """Paths that match the manifest."""
    unknown: frozenset[str]
    """Paths that are not in the manifest; a directory represents everything in it."""


def materialize(
    folder: Path,
    manifest: TreeManifest,
    supply: Supply,
    *,
    scratch: Path,
    kept: Collection[str] = (),
) -> int:
    """Make a directory contain exactly the tree, and the `kept` paths; return how many files were written.

    Args:
        folder: created if it does not exist. No test may run in it.
        scratch: the path of a file that is not complete yet; on the same file system.
        kept: paths from `local_changes`, which stay unchanged.

    Raises:
        TreeError: `supply` did not return all contents, or raised it.
        InfrastructureError: the disk is full, or a file cannot be removed.
    """
    try:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        found = _survey(folder, manifest)
        for path in sorted(found.unknown.difference(kept)):
            remove(folder / path)
        right = found.unchanged.union(kept)
        wrong = [entry for entry in manifest.entries if entry.path not in right]
        for entry in wrong:
            remove(folder / entry.path)
        _write_files(folder, wrong, supply, scratch)
        # Links come last, so that no file is ever written through one.
        for entry in wrong:
            if entry.kind is EntryType.LINK:
                _with_parent(folder, entry).symlink_to(entry.target)
    except OSError as error:
        raise InfrastructureError(
            f"the tree cannot be written to {folder}: {error}; free some space there, or set XDG_CACHE_HOME"
            " to another directory"
        ) from error
    return len(wrong)


def local_changes(folder: Path, manifest: TreeManifest) -> frozenset[str]:
    """Return the paths at which a directory differs from the manifest.

    A new directory represents everything in it.
    """
    found = _survey(folder, manifest)
    return found.unknown | {entry.path for entry in manifest.entries}.difference(found.unchanged)


def remove(path: Path) -> None:
    """Remove a file, a link or a directory with its content, whatever its mode, if it exists."""
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


def _survey(folder: Path, manifest: TreeManifest) -> _Survey:
    wanted = {entry.path: entry for entry in manifest.entries}
    folders = set(_parents(wanted))
    unchanged, unknown = set(), set()
    pending = [""]
    while pending:
        parent = pending.pop()
        with os.scandir(folder / parent) as entries:
            found = list(entries)
        for one in found:
            path = f"{parent}/{one.name}" if parent else one.name
            if path in folders and one.is_dir(follow_symlinks=False):
                # A test may have removed its permissions.
                Path(one.path).chmod(_FOLDER_MODE)
                pending.append(path)
            elif path not in wanted:
                unknown.add(path)
            elif _is_unchanged(one, wanted[path]):
                unchanged.add(path)
    return _Survey(unchanged=frozenset(unchanged), unknown=frozenset(unknown))


def _is_unchanged(found: os.DirEntry[str], entry: TreeEntry) -> bool:
    mode = stat.S_IMODE(found.stat(follow_symlinks=False).st_mode)
    has_mode = entry.kind is EntryType.LINK or mode == _MODES[entry.kind]
    return has_mode and has_content(Path(found.path), entry)


def _parents(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder:
            yield folder
            folder = folder.rpartition("/")[0]


def _write_files(folder: Path, entries: Iterable[TreeEntry], supply: Supply, scratch: Path) -> None:
    by_digest: dict[str, list[TreeEntry]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for entry in entries:
        if entry.kind is not EntryType.LINK:
            by_digest[entry.sha256].append(entry)
            sizes[entry.sha256] = entry.size_bytes
    for digest, data in supply(sizes) if sizes else ():
        for entry in by_digest.pop(digest, ()):
            remove(scratch)
            with scratch.open("xb") as file:
                file.write(data)
            scratch.chmod(_MODES[entry.kind])
            scratch.rename(_with_parent(folder, entry))
    for missing in by_digest.values():
        raise TreeError(f"the tree lacks the content of {ascii(missing[0].path)[:120]}: start the run again")


def _with_parent(folder: Path, entry: TreeEntry) -> Path:
    """Return the path of an entry, and create the directories above it.

    Raises:
        OSError: one of them is not a directory, or the path exists: on a file system that ignores case, two
            files of a tree may have one path.
    """
    path = folder / entry.path
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already")
    return path
