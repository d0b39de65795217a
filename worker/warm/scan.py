"""Finds out, without running anything, which installed modules a test file imports before its first test.

Files of the project are followed as deep as they go, each read once; whatever is not the project's own is
only named. Imports in functions and below `if` are left out: nobody knows whether they happen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from worker.warm.needs import FileNeeds
from worker.warm.resolve import Folders
from worker.warm.source import ENVIRONMENT, Source, read, why_imports

MOST_MODULES = 400
"""How many of the project's own modules are followed from one import; more would be slow to read."""

_LONGEST_SOURCE = 2_000_000  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Where the project's own modules lie.

    Attributes:
        root: the project's folder.
        workdir: where its tests run; None: in `root`.
    """

    root: Path
    workdir: Path | None = None


class SourceCache(Protocol):
    """Keeps what files said, from run to run."""

    def get(self, path: str, size: int, mtime_ns: int) -> Source | None:
        """Return what the file said when it had this size in bytes and this time; None: not known."""

    def put(self, path: str, size: int, mtime_ns: int, source: Source) -> None:
        """Remember what the file says."""


@dataclass(frozen=True, slots=True)
class _Closure:
    """What importing one of the project's own files imports, all in all."""

    installed: tuple[str, ...]
    own: tuple[str, ...]
    token: bytes
    sets_environment: bool
    is_cut: bool


class Scanner:
    """Scans the test files of one run; the project's files are taken to stay as they are meanwhile.

    Args:
        roots: where the project's own modules lie.
        cache: what is known from earlier runs; None: every file is read.
    """

    def __init__(self, roots: Roots, cache: SourceCache | None = None) -> None:
        self._root = os.path.realpath(roots.root)
        self._workdir = os.path.realpath(roots.workdir or roots.root)
        self._cache = cache
        self._folders = Folders()
        self._sources: dict[str, tuple[Source, bytes]] = {}
        self._closures: dict[tuple[tuple[str, ...], str], _Closure] = {}

    def scan(self, path: Path | str, *, by_pytest: bool = False) -> FileNeeds:
        """Return what a test file needs.

        Args:
            path: the file, absolute or below the root.
            by_pytest: pytest runs it: the conftests above it, and the packages that it lies in, are
                imported before it.
        """
        file = os.path.join(self._root, path)
        folder = os.path.dirname(file)
        source, token = self._source(file)
        before = tuple(self._imported_by_pytest(folder)) if by_pytest else ()
        hints = [(folder, source), *((os.path.dirname(name), self._source(name)[0]) for name in before)]
        search = self._search(folder, hints)
        steps = [(name, True) for name in before] + self._steps(search, file, source)
        merged = self._merge(search, steps, token)
        why = source.why_spawn or why_imports(merged.installed) or self._why_hidden(folder, source)
        notes = [f"more than {MOST_MODULES} of its own modules"] if merged.is_cut else []
        if not source.is_readable:
            notes.append("not readable")
        return FileNeeds(
            modules=merged.installed,
            own=merged.own,
            stamp=merged.token.hex(),
            why_spawn=why,
            sets_environment=merged.sets_environment,
            note=", ".join(notes),
        )

    def _merge(self, search: tuple[str, ...], steps: list[tuple[str, bool]], token: bytes) -> _Closure:
        installed: dict[str, None] = {}
        own: dict[str, None] = {}
        sets_environment = is_cut = False
        digest = hashlib.blake2b(token, digest_size=8)
        for name, is_own in steps:
            if name == ENVIRONMENT:
                sets_environment = True
            elif not is_own:
                if not sets_environment:
                    installed[name] = None
            else:
                closure = self._closure(search, name)
                if not sets_environment:
                    installed.update(dict.fromkeys(closure.installed))
                own.update(dict.fromkeys(closure.own))
                digest.update(closure.token)
                sets_environment |= closure.sets_environment
                is_cut |= closure.is_cut
        return _Closure(tuple(installed), tuple(own), digest.digest(), sets_environment, is_cut)

    def _closure(self, search: tuple[str, ...], file: str) -> _Closure:
        key = (search, file)
        known = self._closures.get(key)
        if known is None:
            known = self._closures[key] = _Walk(self, search).closure(file)
        return known

    def _search(self, folder: str, hints: list[tuple[str, Source]]) -> tuple[str, ...]:
        """Return the folders in which the project's own modules may lie, the likeliest first."""
        folders = [folder]
        above = folder
        while above != self._root and above.startswith(self._root + os.sep):
            above = os.path.dirname(above)
            folders.append(above)
        folders += [
            self._root,
            os.path.join(self._root, "src"),
            os.path.join(self._root, "lib"),
            self._workdir,
        ]
        bases = dict.fromkeys(folders)
        for place, source in hints:
            for text in source.folders:
                for base in (place, *bases):
                    hinted = os.path.normpath(os.path.join(base, text))
                    if hinted.startswith(self._root + os.sep) and os.path.isdir(hinted):
                        folders.append(hinted)
        return tuple(dict.fromkeys(folders))

    def _imported_by_pytest(self, folder: str) -> Iterator[str]:
        """Yield the conftests from the root down to a folder, then the packages that it lies in."""
        below = os.path.relpath(folder, self._root)
        parts = [] if below == os.curdir or below.startswith(os.pardir) else below.split(os.sep)
        places = [os.path.join(self._root, *parts[:count]) for count in range(len(parts) + 1)]
        for place in places:
            if "conftest" in self._folders.listing(place).sources:
                yield os.path.join(place, "conftest.py")
        yield from self._folders.package_chain(folder)

    def _why_hidden(self, folder: str, source: Source) -> str:
        """Tell whether files beside the test hide modules that a server has imported already."""
        if not source.is_script and self._folders.listing(folder).is_package:
            return ""
        hidden = self._folders.stdlib_names(folder)
        return f"{hidden[0]} beside it hides the standard library's" if hidden else ""

    def _source(self, file: str) -> tuple[Source, bytes]:
        known = self._sources.get(file)
        if known is None:
            known = self._sources[file] = self._read(file)
        return known

    def _read(self, file: str) -> tuple[Source, bytes]:
        try:
            status = os.stat(file)
            size, mtime = status.st_size, status.st_mtime_ns
            token = f"{file}|{size}|{mtime}\n".encode(errors="surrogateescape")
            source = self._cache.get(file, size, mtime) if self._cache is not None else None
            if source is None:
                with open(file, "rb") as text:
                    source = read(text.read()) if size <= _LONGEST_SOURCE else Source(is_readable=False)
                if self._cache is not None:
                    self._cache.put(file, size, mtime, source)
        except OSError:
            return Source(is_readable=False), file.encode(errors="surrogateescape")
        return source, token

    def _steps(self, search: tuple[str, ...], file: str, source: Source) -> list[tuple[str, bool]]:
        """Return what a file imports, in order: (an installed module, False) or (a file of ours, True)."""
        steps: list[tuple[str, bool]] = []
        for name in source.imports:
            if name == ENVIRONMENT:
                steps.append((name, False))
                continue
            module, _, attribute = name.partition(":")
            rest = module.lstrip(".")
            dotted = ".".join(part for part in (rest, attribute) if part)
            if module.startswith("."):
                place = os.path.dirname(file)
                for _level in range(len(module) - len(rest) - 1):
                    place = os.path.dirname(place)
                files = self._folders.find((place,), dotted) if dotted else None
                steps += [(found, True) for found in files or ()]
                continue
            files = self._folders.find(search, dotted)
            if files is None:
                steps.append((name, False))
            else:
                steps += [(found, True) for found in files]
        return steps


class _Walk:
    """One walk through the project's own modules, from one of them."""

    def __init__(self, scanner: Scanner, search: tuple[str, ...]) -> None:
        self._scanner = scanner
        self._search = search
        self._installed: dict[str, None] = {}
        self._own: dict[str, None] = {}
        self._seen: set[str] = set()
        self._digest = hashlib.blake2b(digest_size=8)
        self._sets_environment = False
        self._is_cut = False

    def closure(self, file: str) -> _Closure:
        """Return all that importing a file imports."""
        self._visit(file)
        return _Closure(
            tuple(self._installed),
            tuple(self._own),
            self._digest.digest(),
            self._sets_environment,
            self._is_cut,
        )

    def _visit(self, file: str) -> None:
        if file in self._seen:
            return
        if len(self._seen) >= MOST_MODULES:
            self._is_cut = True
            return
        self._seen.add(file)
        source, token = self._scanner._source(file)
        self._digest.update(token)
        self._own[self._top(file)] = None
        for name, is_own in self._scanner._steps(self._search, file, source):
            if name == ENVIRONMENT:
                self._sets_environment = True
            elif is_own:
                self._visit(name)
            elif not self._sets_environment and not self._is_cut:
                self._installed[name] = None

    def _top(self, file: str) -> str:
        """Return the top-level name under which one of the project's files is imported."""
        chain = self._scanner._folders.package_chain(os.path.dirname(file))
        if chain:
            return os.path.basename(os.path.dirname(chain[0]))
        for folder in self._search:
            if file.startswith(folder + os.sep):
                return file[len(folder) + 1 :].split(os.sep)[0].removesuffix(".py")
        return os.path.basename(file).removesuffix(".py")


def scan(path: Path | str, roots: Roots) -> FileNeeds:
    """Return what one test file needs; for several files use one `Scanner`."""
    return Scanner(roots).scan(path)
