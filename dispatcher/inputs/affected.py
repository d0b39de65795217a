"""Decides which files a change can affect, and why. Pure, apart from the tree that it is given.

A file is unaffected only if it passed with inputs that are all the same now, and that do not differ from the
commit with which the tree is compared. Whatever is not known counts as a reason to run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from dispatcher.inputs.record import InputRecord
from dispatcher.inputs.tree_state import ABOVE, FILE, LINKS, MODULE, TreeState, input_of, split_key
from passmuster.model.status import Status

if TYPE_CHECKING:
    from dispatcher.inputs.reference import Changes

NEVER_RAN = "it has no recorded run"
NOT_RECORDED = "what it reads is not recorded"
OTHER_ENVIRONMENT = "the interpreter, its packages, or a variable that counts as an input changed"
OTHER_SETTINGS = "it ran with another runner or other arguments"
FORKED = "it passed in a forked process, and isolation is spawn now"

MAX_REASONS = 20
"""Reasons that are given for one file at most."""


class Candidate(Struct, frozen=True, kw_only=True):
    """A file, with what is known about it."""

    path: str
    settings: str
    """A digest of how it would run now, as `InputRecord.settings`."""
    seed: str
    """Of the order in which its tests would run now, as `InputRecord.seed`."""
    is_spawned: bool
    """Whether it must run in a fresh interpreter."""
    last_status: Status | None
    """The verdict of its last run; None: it never ran."""
    records: tuple[InputRecord, ...]
    """What it read when it passed, on this machine and on the one of a shared history."""


class AffectedFiles:
    """Says for each file why it may be affected.

    Args:
        environment: a digest, as `InputRecord.environment`.
        changes: what differs from a commit; None: only records are compared.
    """

    def __init__(self, tree: TreeState, environment: str, changes: Changes | None) -> None:
        self._tree, self._environment, self._changes = tree, environment, changes

    def reasons(self, file: Candidate) -> tuple[str, ...]:
        """Return why a file may be affected; empty: it is not."""
        if file.last_status is None and not file.records:
            return (NEVER_RAN,)
        if file.last_status is not None and not file.last_status.is_pass:
            return (f"its last run ended with {file.last_status}",)
        if not file.records:
            return (NOT_RECORDED,)
        found: tuple[str, ...] = ()
        for record in file.records:
            found = tuple(self._differences(file, record))[:MAX_REASONS]
            if not found:
                return ()
        return found

    def is_cached(self, file: Candidate) -> bool:
        """Return whether an earlier pass of a file still counts, so that it need not run."""
        return (
            file.last_status is not None
            and file.last_status.is_pass
            and any(
                record.is_self_contained
                and record.seed == file.seed
                and next(self._differences(file, record), None) is None
                for record in file.records
            )
        )

    def _differences(self, file: Candidate, record: InputRecord) -> Iterator[str]:
        if record.inputs.unsure:
            yield record.inputs.unsure
            return
        if record.environment != self._environment or not self._environment:
            yield OTHER_ENVIRONMENT
        if record.settings != file.settings:
            yield OTHER_SETTINGS
        if file.is_spawned and record.was_forked:
            yield FORKED
        for key in record.keys(file.path, self._tree):
            before, now = record.states.get(key, ""), self._tree(key)
            if before != now:
                yield _difference(key, before, now)
            elif self._changes is not None and self._changes.concern(key):
                yield f"{input_of(key)} differs from {self._changes.reference}"
        if self._changes is not None:
            yield from self._lookups(record, self._changes)

    def _lookups(self, record: InputRecord, changes: Changes) -> Iterator[str]:
        """Yield the modules that the file looks for and that differ from the commit by their existence."""
        names = frozenset(record.inputs.names)
        for folder in record.inputs.path:
            for name in changes.modules_in(folder) & names:
                yield f"module {name} in {folder} differs from {changes.reference}"


def _difference(key: str, before: str, now: str) -> str:
    what = input_of(key)
    kind, folder, pattern = split_key(key)
    if kind == ABOVE:
        return f"a configuration file of pytest above {what} changed"
    if kind == FILE:
        return f"{what} is new" if not before else f"{what} is gone" if not now else f"{what} changed"
    if kind == LINKS:
        return f"the symbolic links in {what} changed"
    if kind == MODULE:
        return f"module {what} was {before or 'missing'} and is {now or 'missing'}"
    return f"the names {pattern} in {folder} changed"


def affected_lines(reasons: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """Yield a line for each file that has reasons, with the first one and the number of the others."""
    for label, said in reasons:
        if said:
            more = f" (and {len(said) - 1} more)" if said[1:] else ""
            yield f"{label}: {said[0]}{more}"
