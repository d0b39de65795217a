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


class Preloadable(Struct, frozen=True, kw_only=True):
    """The part of a file's imports that a server may preload, in order."""

    modules: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    """The modules that write to the environment."""
    ends_at: str = ""
    """The place of a write to the environment after which nothing is preloaded; empty: none."""
    own_ends_at: str = ""
    """The conftest after which no module of the project is preloaded, and why; empty: none."""


def preloadable(
    needs: FileImports, is_held: Callable[[str], bool], loaded: Collection[str] = ()
) -> Preloadable:
    """Return the modules that can be preloaded with the same environment as in the file itself.

    Processes that are forked from a server inherit what a module wrote to the environment. Modules of the
    project may depend in other ways on what a conftest does: they are left to the file if the conftest is
    as well, or if it has hooks that pytest calls in between.

    Args:
        needs: the imports of the file.
        is_held: returns whether a server may preload a module of the project, or execute a conftest.
        loaded: the conftests that servers have loaded and configured.
    """
    modules: list[str] = []
    writers: list[str] = []
    ends_at = own_ends_at = barrier = ""
    for name in needs.modules:
        if name.startswith(ENVIRONMENT):
            writer = name.removeprefix(ENVIRONMENT)
            if not is_held(writer):
                ends_at = needs.writes[writer]
                break
            writers.append(writer)
            continue
        is_allowed = name not in needs.own or (is_held(name) and not barrier)
        if is_allowed:
            modules.append(name)
        elif barrier:
            own_ends_at = barrier
        if name.startswith(CONFTEST) and not barrier:
            hooks = [hook for hook in needs.hooks[name] if hook != CONFIGURE or name not in loaded]
            why = hooks[0] if hooks else "each file executes it"
            barrier = f"{name.removeprefix(CONFTEST)}: {why}" if hooks or not is_allowed else ""
    return Preloadable(
        modules=tuple(modules), writers=tuple(writers), ends_at=ends_at, own_ends_at=own_ends_at
    )
