"""Finds the project's own modules by the names of files, as the import system would from given folders."""

from __future__ import annotations

import os
import sys

from msgspec import Struct

_SUFFIXES = (".py", ".so", ".pyd")
_STDLIB = sys.stdlib_module_names - {"test"}
"""What the standard library imports itself: nothing of it needs `test`, and many projects have one."""
_TELLING = {"os", "io", "abc", "codecs"}


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
    """The folders of a project; each is listed once and then taken to stay as it is."""

    def __init__(self) -> None:
        self._listings: dict[str, Listing] = {}
        self._found: dict[tuple[tuple[str, ...], str], tuple[str, ...] | None] = {}

    def listing(self, folder: str) -> Listing:
        """Return what is in a folder; nothing when it cannot be read."""
        known = self._listings.get(folder)
        if known is None:
            known = self._listings[folder] = _list(folder)
        return known

    def find(self, search: tuple[str, ...], name: str) -> tuple[str, ...] | None:
        """Return the project's files that importing `name` runs, in order; None when it is not its own.

        Args:
            search: the folders to look in, the first one first.
            name: a dotted name. Where only the beginning of it is found, its files are returned.
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

    def _descend(self, folder: str, parts: list[str]) -> tuple[str, ...] | None:
        files: list[str] = []
        is_own = False
        for part in parts:
            listing = self.listing(folder)
            inner = os.path.join(folder, part)
            if part in listing.folders and self.listing(inner).is_package:
                is_own = True
                files.append(os.path.join(inner, "__init__.py"))
            elif part in listing.modules:
                return (*files, os.path.join(folder, part + ".py")) if part in listing.sources else (*files,)
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
