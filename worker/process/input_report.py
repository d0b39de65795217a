"""Collects the records of what a test file read: the other end of `worker/child/passmuster_child_inputs.py`.

A test may write records too, so each is checked. A record that is not valid makes the whole collection
useless: the file then counts as one whose inputs are unknown.
"""

from __future__ import annotations

import json
from functools import lru_cache

from msgspec import Struct

from passmuster.model.inputs import MAX_INPUT_CHARS, MAX_INPUTS, FileInputs, Listing

KINDS = ("read", "absent", "listed", "modules", "path", "names")
_LONGEST_PATH = 4096
_LONGEST_REASON = 200
_MOST_PARTS = 8
"""Levels of folders in a pattern, because the dispatcher expands it."""

PREFIX = b'{"inputs"'
"""The start of each record of inputs."""

_CACHED_RECORDS = 64
"""How many records are kept parsed, of at most 16 KiB: most are the same for all files of one fork server."""


class _Record(Struct, frozen=True, kw_only=True):
    """A valid record: values of one kind, or the end, which has no kind."""

    kind: str = ""
    values: tuple[str, ...] = ()
    chars: int = 0
    """Characters of all values."""
    unsure: str = ""
    has_network: bool = False


class InputReport:
    """The inputs of one process so far."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._count = self._chars = 0
        self._unsure = ""
        self._has_network = self._is_complete = self._is_invalid = False

    def add(self, line: bytes) -> bool:
        """Add a record; return False if it is not valid."""
        record = _parse(line)
        if record is None or self._is_complete:
            self._is_invalid = True
            return False
        if not record.kind:
            self._unsure, self._has_network, self._is_complete = record.unsure, record.has_network, True
            return True
        self._count += len(record.values)
        self._chars += record.chars
        if self._count <= MAX_INPUTS and self._chars <= MAX_INPUT_CHARS:
            self._values[record.kind].extend(record.values)
        return True

    def inputs(self) -> FileInputs | None:
        """Return the inputs; None: the process did not report them as a whole."""
        if not self._is_complete or self._is_invalid:
            return None
        if self._count > MAX_INPUTS or self._chars > MAX_INPUT_CHARS:
            return FileInputs(unsure=f"it reads more than {MAX_INPUTS} files", has_network=self._has_network)
        values = self._values
        return FileInputs(
            read=tuple(values["read"]),
            absent=tuple(values["absent"]),
            listed=tuple(Listing(*value.split("\0")) for value in values["listed"]),
            modules=tuple(values["modules"]),
            path=tuple(values["path"]),
            names=tuple(values["names"]),
            unsure=self._unsure,
            has_network=self._has_network,
        )


@lru_cache(maxsize=_CACHED_RECORDS)
def _parse(line: bytes) -> _Record | None:
    """Return the record in a line; None: it is not valid."""
    try:
        content = json.loads(line.decode())
    except (ValueError, RecursionError):  # RecursionError: nested thousands deep.
        return None
    match content:
        case {"inputs": "end", "unsure": str(reason), "network": 0 | 1 as network} if _is_encodable(reason):
            return _Record(unsure=reason[:_LONGEST_REASON], has_network=bool(network))
        case {"inputs": str(kind), "values": list(values)} if kind in KINDS:
            if all(_is_valid(kind, value) for value in values):
                texts = tuple(map(str, values))
                return _Record(kind=kind, values=texts, chars=sum(map(len, texts)))
    return None


def _is_valid(kind: str, value: object) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_PATH or not _is_encodable(value):
        return False
    if kind == "names":
        return value.isidentifier()
    if kind == "listed":
        value, _, pattern = value.partition("\0")
        parts = pattern.split("/")
        if (
            not all(parts)
            or len(parts) > _MOST_PARTS
            or not {"..", "**"}.isdisjoint(parts)
            or "\0" in pattern
        ):
            return False
    return bool(value) and "\0" not in value and ".." not in value.split("/")


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
