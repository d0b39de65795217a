"""Walks directories and collects test files. Reads no contents.

Paths are strings relative to the project root, with forward slashes: joining strings is several times
faster than making path objects, and undecodable bytes in names survive as surrogates.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from dispatcher.discovery.patterns import ENVIRONMENT_MARK, DiscoveryRules
from passmuster.settings.path_resolver import is_directory
from passmuster.settings.values import on_one_line

MAX_MTIME_NS = 2**63 - 1
"""The latest time of modification, in the year 2262: SQLite stores no larger number."""


class FoundFile(Struct, frozen=True, kw_only=True):
    """A test file found by the walk; the path is relative to the root."""

    path: str
    size_bytes: int
    mtime_ns: int


class Walker(Struct, kw_only=True):
    """Walks below one root, and visits each directory once, so that links cannot cause a loop.

    Args:
        root: the project root, absolute, its symlinks resolved.
    """

    root: str
    files: dict[str, FoundFile] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _visited: set[tuple[int, int]] = field(default_factory=set)
    _folders_inside: dict[str, bool] = field(default_factory=dict)

    def walk(self, start: str, rules: DiscoveryRules) -> None:
        """Collect the test files below the directory `start`; the root itself is the empty text.

        Directories come before links to directories, so a file that can be reached both ways is found
        by its own path, and once.
        """
        pending = [start]
        links: list[str] = []
        is_linked = False
        while pending or links:
            if pending:
                path = pending.pop()
                # A link may lead above directories that were walked by their own paths.
                if not is_linked or self._is_new(path):
                    pending.extend(self._scan(path, rules, links, is_start=path == start))
                continue
            is_linked = True
            links.sort(reverse=True)
            link = links.pop()
            if self._may_follow(link, rules):
                pending.append(link)

    def take(self, path: str) -> bool:
        """Take one file under any name; return whether it is a regular file inside the root."""
        absolute = self.absolute(path)
        try:
            status = os.stat(absolute)  # noqa: PTH116 - of ten thousand files a path object is half the cost.
            is_link = os.path.islink(absolute)  # noqa: PTH114
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or not self._is_inside(absolute, is_link=is_link):
            return False
        self._add(path, status)
        return True

    def _is_inside(self, absolute: str, *, is_link: bool) -> bool:
        """Return whether a file really lies in the root; that of a directory's files is decided once."""
        if is_link:
            return self.inside(os.path.realpath(absolute)) is not None
        folder = absolute.rpartition("/")[0]
        if folder not in self._folders_inside:
            self._folders_inside[folder] = self.inside(os.path.realpath(folder)) is not None
        return self._folders_inside[folder]

    def can_start(self, path: str) -> bool:
        """Return whether `path` is a directory inside the root, and not a link to one walked already."""
        absolute = self.absolute(path)
        target = self.inside(os.path.realpath(absolute))
        if target is None or not is_directory(absolute):
            return False
        return target == path or self._is_new(path)

    def absolute(self, path: str) -> str:
        """Return a path below the root as an absolute one."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def inside(self, absolute: str) -> str | None:
        """Return an absolute path relative to the root; None when it lies outside of it."""
        if absolute == self.root:
            return ""
        prefix = self.root.rstrip("/") + "/"
        return absolute[len(prefix) :] if absolute.startswith(prefix) else None

    def relative(self, absolute: str) -> str | None:
        """Return an absolute path relative to the root, without links if need be; None: it lies outside."""
        path = self.inside(absolute)
        return self.inside(os.path.realpath(absolute)) if path is None else path

    def _scan(self, path: str, rules: DiscoveryRules, links: list[str], *, is_start: bool) -> list[str]:
        """Take the test files of one directory, note its links to directories, return its directories."""
        absolute = self.absolute(path)
        try:
            status = Path(absolute).stat()
            with os.scandir(absolute) as iterator:
                entries = list(iterator)
        except OSError as error:
            self.warnings.append(f"cannot read directory {on_one_line(path or '.')}: {error.strerror}")
            return []
        self._visited.add((status.st_dev, status.st_ino))
        if not is_start and any(entry.name == ENVIRONMENT_MARK for entry in entries):
            return []
        prefix = f"{path}/" if path else ""
        directories: list[str] = []
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if rules.enters(name, prefix + name):
                    directories.append(prefix + name)
            elif entry.is_symlink():
                self._meet_link(name, prefix + name, rules, links)
            elif rules.takes(name, prefix + name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # It may have been removed after the directory was read.
                    self._add(prefix + name, entry.stat(follow_symlinks=False))
        return directories

    def _add(self, path: str, status: os.stat_result) -> None:
        mtime_ns = min(status.st_mtime_ns, MAX_MTIME_NS)
        self.files[path] = FoundFile(path=path, size_bytes=status.st_size, mtime_ns=mtime_ns)

    def _meet_link(self, name: str, path: str, rules: DiscoveryRules, links: list[str]) -> None:
        absolute = self.absolute(path)
        is_wanted = rules.takes(name, path)
        try:
            status = Path(absolute).stat()
        except OSError as error:
            if is_wanted:
                self.warnings.append(f"skipped {on_one_line(path)}: broken link ({error.strerror})")
            return
        if stat.S_ISDIR(status.st_mode):
            if rules.enters(name, path):
                links.append(path)
        elif is_wanted and stat.S_ISREG(status.st_mode):
            if self.inside(os.path.realpath(absolute)) is None:
                self.warnings.append(f"skipped {on_one_line(path)}: the link leads outside of the root")
            else:
                self._add(path, status)

    def _is_new(self, path: str) -> bool:
        """Return whether a directory has not been walked yet; True also if that cannot be determined."""
        try:
            status = Path(self.absolute(path)).stat()
        except OSError:
            return True
        return (status.st_dev, status.st_ino) not in self._visited

    def _may_follow(self, path: str, rules: DiscoveryRules) -> bool:
        """Return whether a link to a directory leads to something new that the rules let in."""
        target = self.inside(os.path.realpath(self.absolute(path)))
        return target is not None and self._is_new(path) and rules.leads_to(target)
