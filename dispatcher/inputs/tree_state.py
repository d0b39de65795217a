"""The present state of inputs in the project's tree: contents, names in folders, and modules.

A key names an input, and its state is a short text that differs when the input does:

    file PATH             a digest of the content; empty: there is no such file
    names FOLDER PATTERN  a digest of the names that match; empty: there is no such folder
    module PLACE          the forms in which a module exists there (`.py`, folder, package); empty: in none
    links FOLDER          a digest of the symbolic links in a folder and of where they lead; empty: none
    above the root        a digest of what pytest may read in the folders above it; empty: nothing
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path

from msgspec import Struct

from passmuster.model.inputs import FileInputs

FILE, NAMES, MODULE, LINKS, ABOVE = "file ", "names ", "module ", "links ", "above "
"""How keys begin."""

_SEPARATOR = "\0"
"""Between the folder and the pattern of a key for names."""

_DIGEST_BYTES = 10
_MAX_HASHED_BYTES = 64 * 1024 * 1024
"""Larger files are compared by size and time."""

_RACY_S = 0.05
"""A file that changed less than this ago may change again without its time showing it: file systems tick."""

GENERATED = frozenset({"__pycache__", ".pytest_cache", ".hypothesis", ".passmuster"})
"""Names that come and go without anything in the project changing."""

_MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")

CONFIGURATION = (
    *("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg"),
)
"""Files in which pytest looks for its configuration, in each folder from the file's to the root."""

_LOOKED_FOR = ("conftest", "__init__", "setup")
"""Modules whose existence in these folders decides how pytest loads a file."""

_ABOVE_THE_ROOT = f"{ABOVE}the root"


ModulesIn = Callable[[str], Set[str]]


def file_key(path: str) -> str:
    """Return the key of a file, by its path relative to the root or its absolute one."""
    return FILE + path


def keys_of(path: str, inputs: FileInputs, modules_in: ModulesIn) -> Iterator[str]:
    """Yield the keys of everything that a test file depends on; some more than once.

    Of the modules that it looked for in its `sys.path` only those that exist are among them.

    Args:
        path: the test file, relative to the root.
        modules_in: returns the names of the modules that a folder has.
    """
    yield from (FILE + each for each in (path, *inputs.read, *inputs.absent))
    yield from (f"{NAMES}{each.folder}{_SEPARATOR}{each.pattern}" for each in inputs.listed)
    anchors = (each.folder for each in inputs.listed if each.pattern.endswith("/conftest.py"))
    yield from (MODULE + _join(folder, "conftest") for folder in anchors)
    yield from (MODULE + place for place in inputs.modules)
    names = frozenset(inputs.names)
    for folder in inputs.path:
        yield from (MODULE + _join(folder, name) for name in modules_in(folder) & names)
    for folder in folders_of(path):
        yield from (FILE + _join(folder, name) for name in CONFIGURATION)
        yield from (MODULE + _join(folder, name) for name in _LOOKED_FOR)
    # No audit event tells that a link is followed: a file is recorded by the path that it is opened by.
    yield from (LINKS + (folder or ".") for folder in _folders_above((path, *inputs.read)))
    yield _ABOVE_THE_ROOT


def modules_of(states: Mapping[str, str]) -> ModulesIn:
    """Return a function that gives the modules of a folder, as far as `states` has them."""
    found: dict[str, set[str]] = {}
    for key in states:
        kind, folder, name = split_key(key)
        if kind == MODULE:
            found.setdefault(folder, set()).add(name)
    return lambda folder: found.get("" if folder == "." else folder, frozenset())


def split_key(key: str) -> tuple[str, str, str]:
    """Return the kind of a key (`FILE`, `NAMES`, `MODULE`, `LINKS`, `ABOVE`), its folder, and its name.

    The name is that of a module, or a pattern of names. A file has its whole path as name, and no folder.
    """
    kind, space, rest = key.partition(" ")
    kind += space
    separator = {NAMES: _SEPARATOR, MODULE: "/"}.get(kind)
    folder, _, name = rest.rpartition(separator) if separator else ("", "", rest)
    return kind, folder, name


def input_of(key: str) -> str:
    """Return the input that a key stands for, as shown to the user."""
    _, folder, name = split_key(key)
    return _join(folder, name)


def _join(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def folders_of(path: str) -> Iterator[str]:
    """Yield the folders from that of a file up to the root."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _folders_above(paths: Iterable[str]) -> set[str]:
    """Return all folders from those of files up to the root; those of files elsewhere are left out."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder not in found and not path.startswith("/"):
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


class _Known(Struct):
    """A digest, and the state of the file that it belongs to."""

    status: tuple[int, int, int]
    """Size in bytes, time of the last change in nanoseconds, inode. No program can set that time."""
    digest: str


class TreeState:
    """Reads states, each once; digests also survive `refresh` while a file is the same."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._states: dict[str, tuple[str, float]] = {}
        self._digests: dict[str, _Known] = {}
        self._modules: dict[str, dict[str, list[os.DirEntry[str]]]] = {}

    def refresh(self) -> None:
        """Forget all states: the tree may have changed."""
        self._states.clear()
        self._modules.clear()

    def __call__(self, key: str) -> str:
        """Return the state of an input."""
        return self._read(key)[0]

    def changed_at(self, key: str) -> float:
        """Return the Unix time of the last change of an input, content or name; 0: it does not exist."""
        return self._read(key)[1]

    def _read(self, key: str) -> tuple[str, float]:
        known = self._states.get(key)
        if known is None:
            kind, folder, name = split_key(key)
            if kind == FILE:
                known = self._file(name)
            elif kind == LINKS:
                known = self._links(name)
            elif kind == ABOVE:
                known = self._above()
            else:
                known = (self._names if kind == NAMES else self._module)(folder, name)
            self._states[key] = known
        return known

    def _path(self, path: str) -> str:
        return os.path.join(self._root, path)

    def _file(self, path: str) -> tuple[str, float]:
        full = self._path(path)
        try:
            status = os.stat(full)
            if stat.S_ISREG(status.st_mode):
                return self._digest(full, status), status.st_ctime
            return f"mode {stat.S_IFMT(status.st_mode):o}", status.st_ctime
        except FileNotFoundError:
            return "", 0.0
        except (OSError, ValueError) as error:
            return f"unreadable: {type(error).__name__}", 0.0

    def _digest(self, path: str, status: os.stat_result) -> str:
        now = (status.st_size, status.st_ctime_ns, status.st_ino)
        known = self._digests.get(path)
        if known is None or known.status != now:
            if status.st_size > _MAX_HASHED_BYTES:
                return f"{status.st_size} bytes, {status.st_ctime_ns}"
            is_settled = time.time() - status.st_ctime > _RACY_S  # Before reading, which may take longer.
            known = _Known(now, _hash_file(path))
            if is_settled:
                self._digests[path] = known
        return known.digest

    def _names(self, folder: str, pattern: str) -> tuple[str, float]:
        full = self._path(folder)
        try:
            changed_at = os.stat(full).st_ctime
            if pattern == "*":
                names = sorted(name for name in os.listdir(full) if name not in GENERATED)
                return _hash_names(names), changed_at
            names = sorted(glob.glob(pattern, root_dir=full, include_hidden=True))
            times = [os.stat(os.path.join(full, name)).st_ctime for name in names]
            return _hash_names(names), max(times, default=0.0)
        except OSError:
            return "", 0.0

    def _module(self, folder: str, name: str) -> tuple[str, float]:
        forms, changed_at = [], 0.0
        for entry in self._entries(folder).get(name, ()):
            try:
                if entry.is_dir():
                    # It changes with each file in it; what matters is whether it is a regular package.
                    form, at = _form_of_folder(entry.path)
                else:
                    form, at = entry.name[len(name) :], entry.stat().st_ctime
            except OSError:
                continue
            forms.append(form)
            changed_at = max(changed_at, at)
        return ", ".join(sorted(forms)), changed_at

    def _links(self, folder: str) -> tuple[str, float]:
        found, changed_at = [], 0.0
        try:
            for entry in os.scandir(self._path(folder)):
                # Editors lock files by hidden links.
                if entry.is_symlink() and not entry.name.startswith("."):
                    found.append(f"{entry.name} {os.readlink(entry.path)}")
                    changed_at = max(changed_at, entry.stat(follow_symlinks=False).st_ctime)
        except OSError:
            return "", 0.0
        return _hash_names(sorted(found)) if found else "", changed_at

    def _above(self) -> tuple[str, float]:
        places = (
            os.path.join(folder, name)
            for folder in Path(self._root).parents
            for name in (*CONFIGURATION, "conftest.py", "setup.py")
        )
        found = [(place, state, at) for place in places for state, at in (self._file(place),) if state]
        if not found:
            return "", 0.0
        relative = [f"{os.path.relpath(place, self._root)} {state}" for place, state, _ in found]
        return _hash_names(relative), max(at for _, _, at in found)

    def modules_in(self, folder: str) -> Set[str]:
        """Return the names of the modules and packages in a folder."""
        return self._entries("" if folder == "." else folder).keys()

    def _entries(self, folder: str) -> dict[str, list[os.DirEntry[str]]]:
        """Return what a folder has of modules and packages, by their names."""
        found = self._modules.get(folder)
        if found is None:
            found = self._modules[folder] = {}
            try:
                entries = list(os.scandir(self._path(folder)))
            except OSError:
                return found
            for entry in entries:
                name, dot, _ = entry.name.partition(".")
                if name not in GENERATED and (not dot or entry.name.endswith(_MODULE_SUFFIXES)):
                    found.setdefault(name, []).append(entry)
        return found


def _form_of_folder(path: str) -> tuple[str, float]:
    """Return whether a folder is a regular package, and the time at which it became one or was edited."""
    for suffix in _MODULE_SUFFIXES:
        try:
            return "package", os.stat(os.path.join(path, f"__init__{suffix}")).st_ctime
        except OSError:
            continue
    return "folder", 0.0


def _hash_file(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=_DIGEST_BYTES)).hexdigest()


def _hash_names(names: Sequence[str]) -> str:
    text = "\0".join(names).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()
