"""Lets pytest collect one file without visiting the other entries of its directories.

From version 8 on, pytest makes a node for each entry of each directory between the root and the wanted file,
and drops all but one: in a directory of 1,000 files, the run of each file costs 1,000 visits. This module
lists only the entry that leads to the file, and only while pytest collects the session that the runner
started. Collections that a test starts itself see all entries.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_LISTING_MODULES = ("_pytest.main", "_pytest.python")
"""Where `scandir` is a global name that the collectors of folders and packages use."""


class StaticDirEntry:
    """What pytest asks of an `os.DirEntry`, without the folder having been read."""

    __slots__ = ("name", "path")

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self.path = os.path.join(folder, name)

    def __fspath__(self) -> str:
        return self.path

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether it is a folder, or a link to one."""
        return os.path.isdir(self.path) and (follow_symlinks or not self.is_symlink())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether it is a regular file, or a link to one."""
        return os.path.isfile(self.path) and (follow_symlinks or not self.is_symlink())

    def is_symlink(self) -> bool:
        """Return whether it is a symbolic link."""
        return os.path.islink(self.path)

    def inode(self) -> int:
        """Return its inode number."""
        return os.lstat(self.path).st_ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what `os.stat` says of it."""
        return os.stat(self.path, follow_symlinks=follow_symlinks)


class CollectionPath:
    """The folders above one file, each with the name that leads on.

    Args:
        file: the wanted file, absolute and without `..`, as pytest has it.
    """

    def __init__(self, file: str) -> None:
        self._next: "dict[str, str]" = {}
        folder, name = os.path.split(file)
        while name:
            self._next[folder] = name
            folder, name = os.path.split(folder)

    def narrow(self, folder: str) -> "Callable[[], None] | None":
        """Have pytest list only the way in a folder; returns what ends that, None: it is not on the way."""
        wanted = self._next.get(folder)
        users = [
            (module.__dict__, module.__dict__["scandir"])
            for module in map(sys.modules.get, _LISTING_MODULES)
            if module is not None and "scandir" in module.__dict__
        ]
        if wanted is None or not users:
            return None
        original = users[0][1]

        def scandir(path: "Any", *rest: "Any", **named: "Any") -> "Any":
            if str(path) != folder:
                return original(path, *rest, **named)
            entry = StaticDirEntry(folder, wanted)
            return [entry] if os.path.exists(entry.path) else []

        def undo() -> None:
            for namespace, before in users:
                namespace["scandir"] = before

        for namespace, _ in users:
            namespace["scandir"] = scandir
        return undo
