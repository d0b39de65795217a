"""Lists, reads and compares the files of a project's source tree.

The files are those that git tracks or would add, or all files outside git. The list never includes generated
files (`EXCLUDED_FOLDERS`, caches, virtual environments).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from passmuster.model.errors import ConfigurationError
from passmuster.source.git import git_prefix, run_git
from passmuster.source.manifest import MAX_FILE_BYTES, EntryType, TreeEntry, TreeManifest, digest_of

EXCLUDED_FOLDERS = frozenset({".git", ".hg", ".svn", ".passmuster", "__pycache__"})
"""Names of folders that never belong to a tree, at any depth."""

CACHE_MARKERS = ("pyvenv.cfg", "CACHEDIR.TAG")
"""Files that mark a virtual environment or a cache (bford.info/cachedir)."""

MAX_WALKED = 200_000
"""Maximum number of files outside git. More is an error: the root may be a whole disk."""

_MAX_DEPTH = 20
"""Maximum nesting of repositories."""


def tree_files(root: Path) -> tuple[str, ...]:
    """Return the files and links of the tree, by path relative to the root, sorted.

    Excludes tracked files that do not exist, and everything that is neither a file nor a link.

    Raises:
        InfrastructureError: git fails.
        ConfigurationError: outside git, there are too many files.
    """
    found = _walked(root) if git_prefix(root) is None else _listed(root, "", _MAX_DEPTH)
    return tuple(sorted(path for path in found if _is_file_or_link(root / path)))


def read_content(path: Path, digest: str) -> bytes | None:
    """Return a file's content; None: it is missing, not a regular file, or has another digest."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return data if digest_of(data) == digest else None


def differing_files(manifest: TreeManifest, root: Path) -> list[str]:
    """Return the paths of a manifest that are missing or different below `root`.

    Additional files are ignored, and so are permissions, which some mounts do not have.
    """
    return [entry.path for entry in manifest.entries if not has_content(root / entry.path, entry)]


def has_content(path: Path, entry: TreeEntry) -> bool:
    """Return whether a path is the file or the link of a manifest's entry, whatever its permissions."""
    try:
        status = path.lstat()
        if entry.kind is EntryType.LINK:
            return stat.S_ISLNK(status.st_mode) and os.fspath(path.readlink()) == entry.target
    except OSError:
        return False
    return status.st_size == entry.size_bytes and read_content(path, entry.sha256) is not None


def is_excluded(path: str) -> bool:
    """Return whether a path leads through a folder that never belongs to a tree."""
    return not EXCLUDED_FOLDERS.isdisjoint(path.split("/"))


def without_marked(paths: Iterable[str]) -> Iterator[str]:
    """Exclude the paths in virtual environments and caches, found by their marker files."""
    known = [path for path in paths if not is_excluded(path)]
    marked = {folder for folder, _, name in (path.rpartition("/") for path in known) if name in CACHE_MARKERS}
    marked.discard("")
    for path in known:
        parts = path.split("/")
        if not marked or not any("/".join(parts[:count]) in marked for count in range(1, len(parts))):
            yield path


def _listed(root: Path, prefix: str, depth: int) -> set[str]:
    """Return the paths that git lists in a folder, and in the repositories inside it."""
    tracked = _names(run_git(root, "ls-files", "-z", "--cached"))
    others = _names(run_git(root, "ls-files", "-z", "--others", "--exclude-standard"))
    found = set()
    for name in (*(name for name in tracked if not is_excluded(name)), *without_marked(others)):
        path = name.rstrip("/")
        if (root / path / ".git").exists() and depth > 0:
            found |= _listed(root / path, f"{prefix}{path}/", depth - 1)
        else:
            found.add(prefix + path)
    return found


def _names(answer: bytes) -> list[str]:
    return [os.fsdecode(name) for name in answer.split(b"\0") if name]


def _walked(root: Path) -> Iterator[str]:
    top = os.fspath(root).rstrip("/") + "/"
    count = 0
    for folder, folders, files in os.walk(root):
        if folder != os.fspath(root) and not set(CACHE_MARKERS).isdisjoint(files):
            folders.clear()
            continue
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]  # noqa: PTH114
        folders[:] = [name for name in folders if name not in EXCLUDED_FOLDERS and name not in links]
        count += len(files) + len(links)
        if count > MAX_WALKED:
            raise ConfigurationError(
                f"{root} is not under git and holds more than {MAX_WALKED} files: "
                "name the project's folder as root, or put it under git"
            )
        start = f"{folder}/".removeprefix(top)
        yield from (start + name for name in (*files, *links))


def _is_file_or_link(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
