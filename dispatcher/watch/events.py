"""What a watch waits for, and how long it pauses between rounds that tests cause themselves. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set
from enum import StrEnum
from fnmatch import fnmatchcase

from msgspec import Struct

from dispatcher.inputs.tree_state import GENERATED

MAX_ECHOES = 3
"""Rounds in a row that a file may cause by changing while they run. More are delayed."""

MAX_PAUSE_S = 60.0

_IGNORED_FOLDERS = frozenset(
    (*GENERATED, ".git", ".hg", ".svn", ".jj", ".idea", ".vscode", ".mypy_cache", ".ruff_cache")
)
_IGNORED_NAMES = (
    *("*.py[co]", ".coverage", ".coverage.*"),
    *("*~", ".#*", "#*#", ".*.sw[a-z]", "4913", "*___jb_tmp___", "*___jb_old___", ".goutputstream-*"),
)
"""Bytecode, coverage data, and the files of editors that exist while they save."""


class Key(StrEnum):
    """The keys that a watch obeys."""

    ALL = "a"
    FAILED = "f"
    AGAIN = "\n"
    QUIT = "q"


class Changed(Struct, frozen=True):
    """Files of the project were created, changed, or removed."""

    paths: frozenset[str]
    """Relative to the root; empty: it is not known which."""


Event = Changed | Key


def is_ignored(path: str) -> bool:
    """Return whether changes of a path, relative to the root, do not start a round."""
    *folders, name = path.split("/")
    if not _IGNORED_FOLDERS.isdisjoint((*folders, name)):
        return True
    return any(fnmatchcase(name, pattern) for pattern in _IGNORED_NAMES)


def merge(events: Sequence[Event]) -> list[Event]:
    """Return what is to be done about events that came together: all changes at once, then the last key."""
    changes = [event for event in events if isinstance(event, Changed)]
    keys = [event for event in events if isinstance(event, Key)]
    merged: list[Event] = []
    if changes:
        paths = frozenset().union(*(change.paths for change in changes))
        is_known = all(change.paths for change in changes)
        merged.append(Changed(paths if is_known else frozenset()))
    return [*merged, *keys[-1:]]


class Backoff:
    """Delays rounds that tests cause by changing files while they run, which would never end otherwise."""

    def __init__(self) -> None:
        self._echoes = 0
        self.repeated: frozenset[str] = frozenset()
        """The files that have changed while each of the last rounds ran."""

    def note_round(self, changed_meanwhile: Set[str]) -> None:
        """Record the files that have changed while a round ran."""
        again = self.repeated & changed_meanwhile
        self._echoes = self._echoes + 1 if again else 0
        self.repeated = again or frozenset(changed_meanwhile)

    @property
    def pause_s(self) -> float:
        """Seconds to wait before a round that only `repeated` causes."""
        return 0.0 if self._echoes < MAX_ECHOES else min(MAX_PAUSE_S, 2.0 ** (self._echoes - MAX_ECHOES))
