"""Finds the modules that a test file imports before its first test, without executing anything.

The project's own modules are located by file name, as the import system does, and followed recursively, each
read once. Other modules are only named. Imports in functions and below `if` are left out, because they may
not happen.

What own code imports after it wrote to the environment may depend on the written variable. Within that module
it is left out; behind it, the list contains a mark (see `FileImports`). Modules of the project are also left
out if their importer may have changed other modules before: it imports them itself, at the right moment.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from worker.forkserver.file_imports import CONFTEST, EFFECT, ENVIRONMENT, FileImports
from worker.forkserver.source import SourceAnalysis, read, why_imports

_SUFFIXES = (".py", ".so", ".pyd")
_STDLIB = sys.stdlib_module_names - {"test"}
"""What the standard library imports itself: nothing of it needs `test`, and many projects have one."""
_TELLING = {"os", "io", "abc", "codecs"}


_Own = tuple[str, str]
"""A module of the project: its dotted name and its file."""


class Listing(Struct, frozen=True):
    """What of a folder can be imported.

    Attributes:
        modules: names of modules: files of Python, and compiled ones.
        sources: those of them that have a `.py` file.
        folders: names of folders.
    """

    modules: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()

    @property
    def is_package(self) -> bool:
        """Whether the folder has an `__init__.py`."""
        return "__init__" in self.sources


class Folders:
    """The directories of a project; each is listed once and assumed not to change."""

    def __init__(self) -> None:
        self._listings: dict[str, Listing] = {}
        self._found: dict[tuple[tuple[str, ...], str], tuple[_Own, ...] | None] = {}

    def listing(self, folder: str) -> Listing:
        """Return what is in a folder; nothing when it cannot be read."""
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = _list(folder)
        return known

    def find(self, search: tuple[str, ...], name: str) -> tuple[_Own, ...] | None:
        """Return the project's modules that importing `name` runs, in order; None when it is not its own.

        Args:
            search: the directories to search, in order.
            name: a dotted name. Where only the beginning of it is found, the modules of that are returned.
        """
        key = (search, name)
        if key not in self._found:
            parts = name.split(".")
            candidates = (self._descend(folder, parts) for folder in search)
            self._found[key] = next((files for files in candidates if files is not None), None)
        return self._found[key]

    def package_chain(self, folder: str) -> tuple[str, ...]:
        """Return the `__init__.py` files of the packages that a folder lies in, the outermost first."""
        chain: list[str] = []
        while self.listing(folder).is_package and os.path.dirname(folder) != folder:
            chain.append(os.path.join(folder, "__init__.py"))
            folder = os.path.dirname(folder)
        return tuple(reversed(chain))

    def stdlib_names(self, folder: str) -> list[str]:
        """Return the modules in a folder that hide one of the standard library, sorted."""
        listing = self.listing(folder)
        if listing.sources >= _TELLING:
            return []  # It is the standard library.
        packages = {
            name for name in listing.folders & _STDLIB if self.listing(os.path.join(folder, name)).is_package
        }
        return sorted((listing.modules & _STDLIB) | packages)

    def dotted(self, file: str) -> str:
        """Return the name by which the packages around a file, or its own folder, make it importable."""
        chain = self.package_chain(os.path.dirname(file))
        outermost = os.path.dirname(os.path.dirname(chain[0]) if chain else file)
        inner = os.path.relpath(file, outermost).removesuffix(".py").removesuffix(os.sep + "__init__")
        return inner.replace(os.sep, ".")

    def _descend(self, folder: str, parts: list[str]) -> tuple[_Own, ...] | None:
        files: list[_Own] = []
        is_own = False
        for count, part in enumerate(parts, 1):
            listing = self.listing(folder)
            inner = os.path.join(folder, part)
            name = ".".join(parts[:count])
            if part in listing.folders and self.listing(inner).is_package:
                is_own = True
                files.append((name, os.path.join(inner, "__init__.py")))
            elif part in listing.modules:
                if part in listing.sources:
                    files.append((name, os.path.join(folder, part + ".py")))
                return tuple(files)
            elif part not in listing.folders:
                break
            # A folder without __init__.py is a package of the project only if something is found in it:
            # an installed package of that name would go before it.
            folder = inner
        return tuple(files) if is_own else None


def _list(folder: str) -> Listing:
    modules: set[str] = set()
    sources: set[str] = set()
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name, dot, _ = entry.name.partition(".")
                if not name.isidentifier():
                    continue
                if not dot:
                    if entry.is_dir():
                        folders.add(name)
                elif entry.name.endswith(_SUFFIXES):
                    modules.add(name)
                    if entry.name == name + ".py":
                        sources.add(name)
    except OSError:
        pass
    return Listing(frozenset(modules), frozenset(sources), frozenset(folders))


MAX_MODULES = 400
"""How many of the project's own modules are followed from one import; more would be slow to read."""

_LONGEST_SOURCE = 2_000_000  # bytes


class Roots(Struct, frozen=True, kw_only=True):
    """Where the project's own modules lie.

    Attributes:
        root: the project's folder.
        workdir: where its tests run; None: in `root`.
    """

    root: Path
    workdir: Path | None = None


class SourceCache(Protocol):
    """Keeps what files said, from run to run."""

    def get(self, path: str, size: int, mtime_ns: int) -> SourceAnalysis | None:
        """Return what the file said when it had this size in bytes and this time; None: not known."""

    def put(self, path: str, size: int, mtime_ns: int, source: SourceAnalysis) -> None:
        """Remember what the file says."""


_Step = tuple[str, str]
"""What one statement does: import an installed module (and ""), or one of the project's (and its file), or
write to the environment (`ENVIRONMENT` and a line, and ""), or perhaps change modules (`EFFECT`, and "")."""


class _Closure(Struct, frozen=True):
    """What importing one of the project's own files imports, all in all; see `FileImports`."""

    modules: tuple[str, ...]
    own: dict[str, str]
    writes: dict[str, str]
    token: bytes
    written_at: str
    is_cut: bool
    files: frozenset[str] = frozenset()
    """All files of the project that are read for it."""


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
        self.folders = Folders()
        self._sources: dict[str, tuple[SourceAnalysis, bytes]] = {}
        self._closures: dict[tuple[tuple[str, ...], str], _Closure] = {}
        self._module_steps: dict[tuple[tuple[str, ...], str], list[_Step]] = {}
        self._searches: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        self._everywhere = (
            self._root,
            os.path.join(self._root, "src"),
            os.path.join(self._root, "lib"),
            self._workdir,
        )

    def scan(self, path: Path | str, *, by_pytest: bool = False) -> FileImports:
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
        hinted = self._hinted(folder, (file, *(path for _, path in before)))
        steps: list[tuple[str, _Step]] = []
        steps += ((path, (name, path)) for name, path in before)
        steps += ((file, step) for step in self._steps(self._search(folder, hinted), file, source))
        merged = self._merge(hinted, steps, token)
        why = source.why_spawn or why_imports(merged.modules) or self._why_hidden(folder, source)
        notes = [f"more than {MAX_MODULES} of its own modules"] if merged.is_cut else []
        if not source.is_readable:
            notes.append("not readable")
        return FileImports(
            modules=merged.modules,
            own=merged.own,
            writes=merged.writes,
            hooks={name: self._source(path)[0].hooks for name, path in before if name.startswith(CONFTEST)},
            stamp=merged.token.hex(),
            why_spawn=why,
            note=", ".join(notes),
        )

    def stamp(self, file: str) -> str:
        """Return a text that changes whenever one of the files does that importing an own module runs."""
        return self._closure((), file).token.hex()

    def runs_one(self, file: str, others: Collection[str]) -> bool:
        """Return whether importing an own module may run one of these files."""
        closure = self._closure((), file)
        return bool(others) and (closure.is_cut or not closure.files.isdisjoint(others))

    def conftest_name(self, path: str) -> str:
        """Return the name of a conftest among modules: its path below the root, behind a slash."""
        return CONFTEST + os.path.relpath(path, self._root).replace(os.sep, "/")

    def _merge(self, hinted: tuple[str, ...], steps: list[tuple[str, _Step]], token: bytes) -> _Closure:
        """Return what the steps of several importers import, one after another."""
        gathered = _Gathered()
        is_cut = False
        digest = hashlib.blake2b(token, digest_size=8)
        for importer, (name, path) in steps:
            if path:
                closure = self._closure(hinted, path)
                gathered.add_own(name, path, closure)
                digest.update(closure.token)
                is_cut |= closure.is_cut
            elif name.startswith(ENVIRONMENT):
                gathered.mark(importer, self._place(importer, name))
            else:
                gathered.add(name, "")
        return gathered.closure(digest.digest(), is_cut=is_cut)

    def _place(self, file: str, name: str) -> str:
        """Return where a file writes to the environment, as the user finds it."""
        return f"{os.path.relpath(file, self._root)}:{name.removeprefix(ENVIRONMENT)}"

    def _closure(self, hinted: tuple[str, ...], file: str) -> _Closure:
        key = (hinted, file)
        known = self._closures.get(key)
        if known is None:
            known = self._closures[key] = _Walk(self, hinted).closure(file)
        return known

    def _steps_of_module(self, hinted: tuple[str, ...], file: str) -> list[_Step]:
        key = (hinted, file)
        known = self._module_steps.get(key)
        if known is None:
            search = self._search_of_module(file, hinted)
            known = self._module_steps[key] = self._steps(search, file, self._source(file)[0])
        return known

    def _search(self, folder: str, hinted: tuple[str, ...]) -> tuple[str, ...]:
        """Return where a file in a folder finds the project's own modules, the likeliest place first."""
        key = (folder, hinted)
        known = self._searches.get(key)
        if known is None:
            folders = [folder]
            above = folder
            while above != self._root and above.startswith(self._root + os.sep):
                above = os.path.dirname(above)
                folders.append(above)
            known = self._searches[key] = tuple(dict.fromkeys((*folders, *self._everywhere, *hinted)))
        return known

    def _search_of_module(self, file: str, hinted: tuple[str, ...]) -> tuple[str, ...]:
        """Return where a module of the project's finds others: from the folder of its outermost package."""
        chain = self.folders.package_chain(os.path.dirname(file))
        return self._search(os.path.dirname(os.path.dirname(chain[0]) if chain else file), hinted)

    def _hinted(self, folder: str, files: tuple[str, ...]) -> tuple[str, ...]:
        """Return the folders below the root that files put on the path, as far as their text tells."""
        bases = self._search(folder, ())
        found: dict[str, None] = {}
        for file in files:
            for text in self._source(file)[0].folders:
                for base in (os.path.dirname(file), *bases):
                    hinted = os.path.normpath(os.path.join(base, text))
                    if hinted.startswith(self._root + os.sep) and os.path.isdir(hinted):
                        found[hinted] = None
        return tuple(found)

    def _imported_by_pytest(self, folder: str) -> Iterator[_Own]:
        """Yield the conftests from the root down to a folder, and the packages before each.

        The packages of the folder come last.
        """
        below = os.path.relpath(folder, self._root)
        parts = [] if below == os.curdir or below.startswith(os.pardir) else below.split(os.sep)
        places = [os.path.join(self._root, *parts[:count]) for count in range(len(parts) + 1)]
        for place in places:
            if "conftest" in self.folders.listing(place).sources:
                yield from self._packages(place)
                path = os.path.join(place, "conftest.py")
                yield self.conftest_name(path), path
        yield from self._packages(folder)

    def _packages(self, folder: str) -> Iterator[_Own]:
        """Yield the packages that a folder lies in, the outermost first."""
        for path in self.folders.package_chain(folder):
            yield self.folders.dotted(path), path

    def _why_hidden(self, folder: str, source: SourceAnalysis) -> str:
        """Tell whether files that come first on the path hide modules that a server has imported already."""
        chain = self.folders.package_chain(folder)
        outermost = os.path.dirname(os.path.dirname(chain[0])) if chain else folder
        for place in [folder] if source.is_script else [outermost, self._workdir]:
            for name in self.folders.stdlib_names(place):
                return f"{name} of {os.path.relpath(place, self._root)} hides the standard library's"
        return ""

    def _source(self, file: str) -> tuple[SourceAnalysis, bytes]:
        known = self._sources.get(file)
        if known is None:
            known = self._sources[file] = self._read(file)
        return known

    def _read(self, file: str) -> tuple[SourceAnalysis, bytes]:
        try:
            status = os.stat(file)
            size, mtime = status.st_size, status.st_mtime_ns
            token = f"{file}|{size}|{mtime}\n".encode(errors="surrogateescape")
            source = self._cache.get(file, size, mtime) if self._cache is not None else None
            if source is None:
                with open(file, "rb") as text:
                    source = (
                        read(text.read()) if size <= _LONGEST_SOURCE else SourceAnalysis(is_readable=False)
                    )
                if self._cache is not None:
                    self._cache.put(file, size, mtime, source)
        except OSError:
            return SourceAnalysis(is_readable=False), file.encode(errors="surrogateescape")
        return source, token

    def _steps(self, search: tuple[str, ...], file: str, source: SourceAnalysis) -> list[_Step]:
        """Return what a file imports, in order."""
        steps: list[_Step] = []
        for name in source.imports:
            module, _, attribute = name.partition(":")
            rest = module.lstrip(".")
            dotted = ".".join(part for part in (rest, attribute) if part)
            if name == EFFECT or name.startswith(ENVIRONMENT):
                steps.append((name, ""))
            elif module.startswith("."):
                place = os.path.dirname(file)
                for _level in range(len(module) - len(rest) - 1):
                    place = os.path.dirname(place)
                found = self.folders.find((place,), dotted) if dotted else None
                steps += [(self.folders.dotted(path), path) for _, path in found or ()]
            else:
                found = self.folders.find(search, dotted)
                steps += ((name, ""),) if found is None else found
        return list(dict.fromkeys(steps))


class _Gathered:
    """Modules in the order of their imports, up to where their importer writes to the environment.

    Attributes:
        written_at: the first write in what was added, as "file:line"; empty: there is none.
        is_over: whether the importer itself has written, so that nothing more is added.
        has_effect: whether it may have changed other modules, so that none of the project is added.
    """

    def __init__(self) -> None:
        self.modules: dict[str, None] = {}
        self.own: dict[str, str] = {}
        self.writes: dict[str, str] = {}
        self.written_at = ""
        self.is_over = False
        self.has_effect = False

    def add(self, name: str, place: str) -> None:
        """Add an installed module; `ENVIRONMENT` is a write by the importer itself, at a place."""
        if name == EFFECT:
            self.has_effect = True
        elif name.startswith(ENVIRONMENT):
            self.written_at = self.written_at or place
            self.is_over = True
        elif not self.is_over:
            self.modules[name] = None

    def add_own(self, name: str, file: str, closure: _Closure) -> None:
        """Add a module of the project behind what it imports, and a mark if it writes to the environment."""
        self.written_at = self.written_at or closure.written_at
        if self.is_over:
            return
        self.writes.update(closure.writes)
        if self.has_effect:
            self.modules.update((each, None) for each in closure.modules if each not in closure.own)
        else:
            self.modules.update(dict.fromkeys(closure.modules))
            self.modules[name] = None
            self.own.update(closure.own)
            self.own[name] = file
        if closure.written_at:
            self.mark(name, closure.written_at)

    def mark(self, name: str, place: str) -> None:
        """Have what follows depend on a module, or on the file at a path, that writes to the environment."""
        self.modules[ENVIRONMENT + name] = None
        self.writes.setdefault(name, place)

    def closure(self, token: bytes, *, is_cut: bool) -> _Closure:
        """Return everything that was added."""
        return _Closure(
            modules=tuple(self.modules),
            own=self.own,
            writes=self.writes,
            token=token,
            written_at=self.written_at,
            is_cut=is_cut,
        )


class _Walk:
    """One walk through the project's own modules, from one of them."""

    def __init__(self, scanner: Scanner, hinted: tuple[str, ...]) -> None:
        self._scanner = scanner
        self._hinted = hinted
        self._seen: set[str] = set()
        self._digest = hashlib.blake2b(digest_size=8)
        self._is_cut = False

    def closure(self, file: str) -> _Closure:
        """Return all that importing a file imports."""
        return replace(self._package(file), files=frozenset(self._seen))

    def _package(self, file: str) -> _Closure:
        """Return what a file imports, with the modules of its own package that it does."""
        gathered = _Gathered()
        self._visit(file, _top(self._scanner.folders.dotted(file)), gathered)
        return gathered.closure(self._digest.digest(), is_cut=self._is_cut)

    def _visit(self, file: str, top: str, gathered: _Gathered) -> None:
        if len(self._seen) >= MAX_MODULES:
            self._is_cut = True
            return
        self._seen.add(file)
        self._digest.update(self._scanner._source(file)[1])
        for name, path in self._scanner._steps_of_module(self._hinted, file):
            if not path:
                if not self._is_cut:
                    is_write = name.startswith(ENVIRONMENT)
                    gathered.add(name, self._scanner._place(file, name) if is_write else "")
            elif path not in self._seen:
                if _top(name) == top:
                    self._visit(path, top, gathered)
                else:
                    gathered.add_own(name, path, self._package(path))


def _top(name: str) -> str:
    return name.partition(".")[0]


def scan(path: Path | str, roots: Roots) -> FileImports:
    """Return what one test file needs; for several files use one `Scanner`."""
    return Scanner(roots).scan(path)
