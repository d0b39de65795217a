"""The modules that a test file imports before its first test: the type that scan, import sets and store
share."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace


class FileImports(Struct, frozen=True, kw_only=True):
    """The modules that a test file imports for certain, and whether it may be forked at all.

    Attributes:
        modules: installed modules in the order of their import, each once. `a:b` stands for `b` of
            `from a import b`, which is a submodule or not; `a` always stands before it.
        own: the top-level names of the project's own modules that it imports, in order.
        stamp: changes whenever one of the project's files behind this answer does.
        why_spawn: why the file must run in a process of its own start; empty: it may be forked.
        sets_environment: own code sets a variable between the imports, and `modules` ends there.
        note: why the list may be shorter than the truth; empty: nothing was left out.
    """

    modules: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    stamp: str = ""
    why_spawn: str = ""
    sets_environment: bool = False
    note: str = ""


class Imported(Struct, frozen=True, kw_only=True):
    """A module that a file was seen to import by itself; `seconds` without other such modules.

    Args:
        name: the module's dotted name, or the top-level name of a package of the project.
        seconds: duration of its import.
        is_own: whether it is the project's.
    """

    name: str
    seconds: float
    is_own: bool


def with_learned(needs: FileImports, learned: Collection[str]) -> FileImports:
    """Return the needs and, after them, what the file was seen to import by itself.

    Whatever was imported after a variable had been set is not added: it may depend on the variable.
    """
    if needs.sets_environment or not learned:
        return needs
    return replace(needs, modules=tuple(dict.fromkeys((*needs.modules, *learned))))


def with_own(needs: FileImports, packages: Collection[str]) -> FileImports:
    """Return the needs and those of the project's `packages` that the file imports anyway.

    Args:
        needs: of one file.
        packages: the top-level names that the user allowed to be imported before the fork.
    """
    if needs.sets_environment:
        return needs
    wanted = [name for name in needs.own if name in packages]
    return replace(needs, modules=tuple(dict.fromkeys((*needs.modules, *wanted)))) if wanted else needs
