"""The modules that a test file imports before its first test, and those of them that can be preloaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

CONFTEST = "/"
"""Prefix of the name of a conftest, which is its path below the root."""

ENVIRONMENT = "="
"""Prefix of a mark: a write to the environment, or a request that pytest rewrites the asserts of modules."""


class FileImports(Struct, frozen=True, kw_only=True):
    """The modules that a test file imports for certain, and whether it may be forked at all."""

    modules: tuple[str, ...] = ()
    """In the order of their import, each once. `a:b` is `b` of `from a import b`, a submodule or not; it
    always follows `a`. Conftests have their paths for names (`/tests/conftest.py`). A mark (`=a`) follows a
    module of the project that writes to the environment, on which later imports may depend. The mark of the
    file itself contains its path."""
    own: Mapping[str, str] = field(default_factory=dict)
    """The modules that are the project's, each with its file."""
    writes: Mapping[str, str] = field(default_factory=dict)
    """For each mark, the first place that writes, as "file:line"."""
    stamp: str = ""
    """Changes with any of the project's files that this was derived from."""
    why_spawn: str = ""
    """Why the file must be spawned; empty: it may be forked."""
    note: str = ""
    """Why the list may be incomplete; empty: it is complete."""


def with_learned(needs: FileImports, learned: Collection[str]) -> FileImports:
    """Return the imports followed by those that an earlier run of the file recorded."""
    return replace(needs, modules=tuple(dict.fromkeys((*needs.modules, *learned))))


class Preloadable(Struct, frozen=True, kw_only=True):
    """The part of a file's imports that a server may preload, in order."""

    modules: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    """The modules that write to the environment."""
    ends_at: str = ""
    """The place of a write to the environment after which nothing is preloaded; empty: none."""


def preloadable(needs: FileImports, is_held: Callable[[str], bool]) -> Preloadable:
    """Return the modules that can be preloaded with the same environment as in the file itself.

    `is_held` decides whether a server may preload a module of the project or a conftest. Processes that are
    forked from that server inherit what the module wrote to the environment. Behind a conftest that each file
    loads itself, modules of the project may depend on what it does, and are left to the files as well.
    """
    modules: list[str] = []
    writers: list[str] = []
    ends_at = ""
    follows_conftest = False
    for name in needs.modules:
        if name.startswith(ENVIRONMENT):
            writer = name.removeprefix(ENVIRONMENT)
            if not is_held(writer):
                ends_at = needs.writes[writer]
                break
            writers.append(writer)
        elif name not in needs.own or (is_held(name) and not follows_conftest):
            modules.append(name)
        elif name.startswith(CONFTEST):
            follows_conftest = True
    return Preloadable(modules=tuple(modules), writers=tuple(writers), ends_at=ends_at)
