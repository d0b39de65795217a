"""The modules that a test file imports before its first test, and those of them that can be preloaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

CONFTEST = "/"
"""Prefix of the name of a conftest, which is its path below the root."""

CONFIGURE = "pytest_configure"
"""The hook of a conftest that a server calls when it loads it."""

ENVIRONMENT = "="
"""Prefix of a mark: a write to the environment, or a request that pytest rewrites the asserts of modules."""

EFFECT = "!"
"""Follows what a file imports before it may change other modules."""


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
    hooks: Mapping[str, Collection[str]] = field(default_factory=dict)
    """For each conftest above the file, its hooks that pytest calls before it imports the file."""
    stamp: str = ""
    """Changes with any of the project's files that this was derived from."""
    why_spawn: str = ""
    """Why the file must be spawned; empty: it may be forked."""
    note: str = ""
    """Why the list may be incomplete; empty: it is complete."""


def with_learned(needs: FileImports, learned: Collection[str]) -> FileImports:
    """Return the imports followed by those that an earlier run of the file recorded."""
    return replace(needs, modules=tuple(dict.fromkeys((*needs.modules, *learned))))


def without(needs: FileImports, absent: Collection[str]) -> FileImports:
    """Return the imports without modules that turned out not to be where they were looked for."""
    return replace(needs, modules=tuple(name for name in needs.modules if name not in absent))


class Preloadable(Struct, frozen=True, kw_only=True):
    """The part of a file's imports that a server may preload, in order."""

    modules: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    """The modules that are the project's, and the conftests."""
    writers: frozenset[str] = frozenset()
    """Those of `own` that change what later imports may see: conftests, modules that write to the
    environment, and modules that modify others. A server imports them at their position in the file."""
    ends_at: str = ""
    """The place of a write to the environment after which nothing is preloaded; empty: none."""
    own_ends_at: str = ""
    """The conftest or module after which no module of the project is preloaded, and why; empty: none."""


def preloadable(
    needs: FileImports,
    is_held: Callable[[str], bool],
    loaded: Collection[str] = (),
    modifying: Collection[str] = (),
) -> Preloadable:
    """Return the modules that can be preloaded with the same environment as in the file itself.

    Processes that are forked from a server inherit what a module wrote to the environment. Modules of the
    project may depend in other ways on what was imported before them. If the file imports one of these
    itself, or pytest calls a hook of a conftest in between, all that follow are left to the file.

    Args:
        needs: the imports of the file.
        is_held: returns whether a server may preload a module of the project, or execute a conftest.
        loaded: the conftests that servers have loaded and configured.
        modifying: the modules that modify other modules of the project.
    """
    modules: list[str] = []
    writers: set[str] = set()
    ends_at = own_ends_at = barrier = ""
    for name in needs.modules:
        if name.startswith(ENVIRONMENT):
            writer = name.removeprefix(ENVIRONMENT)
            if writer not in modules:
                ends_at = needs.writes[writer]
                break
            writers.add(writer)
        elif name not in needs.own:
            modules.append(name)
        elif barrier:
            own_ends_at = barrier
        elif not is_held(name):
            barrier = f"{name.removeprefix(CONFTEST)}: each file imports it"
        else:
            modules.append(name)
            if name.startswith(CONFTEST) or name in modifying:
                writers.add(name)
            hooks = [each for each in needs.hooks.get(name, ()) if each != CONFIGURE or name not in loaded]
            barrier = f"{name.removeprefix(CONFTEST)}: {hooks[0]}" if hooks else ""
    return Preloadable(
        modules=tuple(modules),
        own=frozenset(name for name in modules if name in needs.own),
        writers=frozenset(writers),
        ends_at=ends_at,
        own_ends_at=own_ends_at,
    )
