"""The modules that a test file imports before its first test: the type that scan, import sets and store
share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

ENVIRONMENT = "="
"""Begins a mark: something has written to the environment, or has pytest rewrite the asserts of modules."""


class FileImports(Struct, frozen=True, kw_only=True):
    """The modules that a test file imports for certain, and whether it may be forked at all.

    Attributes:
        modules: modules in the order of their import, each once. `a:b` stands for `b` of `from a import b`,
            which is a submodule or not; `a` always stands before it. A mark (`=a`) stands behind a module of
            the project that writes to the environment: what follows may depend on the variable. The marks of
            conftests and of the file itself contain their paths.
        own: those of the modules that are the project's, each with its file.
        writes: for each mark, the first place that writes, as "file:line".
        stamp: changes whenever one of the project's files behind this answer does.
        why_spawn: why the file must run in a process of its own start; empty: it may be forked.
        note: why the list may be shorter than the truth; empty: nothing was left out.
    """

    modules: tuple[str, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)
    writes: Mapping[str, str] = field(default_factory=dict)
    stamp: str = ""
    why_spawn: str = ""
    note: str = ""


def with_learned(needs: FileImports, learned: Collection[str]) -> FileImports:
    """Return the needs and, behind all others, what the file was seen to import by itself."""
    return replace(needs, modules=tuple(dict.fromkeys((*needs.modules, *learned))))


class Preloadable(Struct, frozen=True, kw_only=True):
    """What of a file's imports a server may hold.

    Attributes:
        modules: in order.
        writers: those of them that write to the environment.
        ends_at: the place that writes to the environment, and behind which nothing is preloaded; empty: none.
    """

    modules: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    ends_at: str = ""


def preloadable(needs: FileImports, is_held: Callable[[str], bool]) -> Preloadable:
    """Return the modules that can be preloaded with the same environment as in the file itself.

    Args:
        needs: of one file.
        is_held: whether a server may hold an own module, by its name, or a conftest, by its path. Processes
            that are forked from that server inherit what the module wrote to the environment.
    """
    modules: list[str] = []
    writers: list[str] = []
    ends_at = ""
    for name in needs.modules:
        if name.startswith(ENVIRONMENT):
            writer = name.removeprefix(ENVIRONMENT)
            if not is_held(writer):
                ends_at = needs.writes[writer]
                break
            writers.append(writer)
        elif name not in needs.own or is_held(name):
            modules.append(name)
    return Preloadable(modules=tuple(modules), writers=tuple(writers), ends_at=ends_at)
