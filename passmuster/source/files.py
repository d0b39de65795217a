"""Lists the files of a project's source tree: those that git tracks or would add, or all files outside git.

The list never includes generated files (`LEFT_OUT`, caches, virtual environments).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from passmuster.model.errors import ConfigurationError
from passmuster.source.git import git_prefix, run_git

EXCLUDED_FOLDERS = frozenset({".git", ".hg", ".svn", ".passmuster", "__pycache__"})
"""Names of folders that never belong to a tree, wherever they lie."""

CACHE_MARKERS = ("pyvenv.cfg", "CACHEDIR.TAG")
"""What every virtual environment holds, and what caches do (bford.info/cachedir)."""

MAX_WALKED = 200_000
"""Maximum number of files outside git; more, as with a whole disk as root, is an error."""

_MAX_DEPTH = 20
"""Repositories inside each other."""


def tree_files(root: Path) -> tuple[str, ...]:
    """Return the files and links of the tree, by path relative to the root, sorted.

    Tracked files that are not there are left out, and so is what is neither a file nor a link.

    Raises:
        InfrastructureError: git cannot say.
        ConfigurationError: outside git, there are too many files.
    """
    found = _walked(root) if git_prefix(root) is None else _listed(root, "", _MAX_DEPTH)
    return tuple(sorted(path for path in found if _is_file_or_link(root / path)))


def is_excluded(path: str) -> bool:
    """Return whether a path leads through a folder that never belongs to a tree."""
    return not EXCLUDED_FOLDERS.isdisjoint(path.split("/"))


def without_marked(paths: Iterable[str]) -> Iterator[str]:
    """Leave out what lies in a virtual environment or a cache, by the files that mark them."""
    known = [path for path in paths if not is_excluded(path)]
    marked = {folder for folder, _, name in (path.rpartition("/") for path in known) if name in CACHE_MARKERS}
    marked.discard("")
    for path in known:
        parts = path.split("/")
        if not marked or not any("/".join(parts[:count]) in marked for count in range(1, len(parts))):
            yield path


def _listed(root: Path, prefix: str, depth: int) -> set[str]:
    """Return what git lists in a folder, and in the repositories inside it."""
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
