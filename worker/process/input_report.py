"""Collects the records of what a test file read: the other end of `worker/child/passmuster_child_inputs.py`.

A test may write records too, so each is checked. A record that is not valid makes the whole collection
useless: the file then counts as one whose inputs are unknown.
"""

from __future__ import annotations

from passmuster.model.inputs import MAX_INPUT_CHARS, MAX_INPUTS, FileInputs, Listing

KINDS = ("read", "absent", "listed", "modules", "path", "names")
PATTERNS = ("*", "test*/conftest.py", "*-info")
_LONGEST_PATH = 4096
_LONGEST_REASON = 200


class InputReport:
    """The inputs of one process so far."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {kind: [] for kind in KINDS}
        self._count = self._chars = 0
        self._unsure = ""
        self._has_network = self._is_complete = self._is_invalid = False

    def add(self, kind: str, values: list[object]) -> bool:
        """Add values of one kind; return False if they are not valid."""
        if kind not in KINDS or self._is_complete or not all(_is_valid(kind, value) for value in values):
            self._is_invalid = True
            return False
        texts = list(map(str, values))
        self._count += len(texts)
        self._chars += sum(map(len, texts))
        if self._count <= MAX_INPUTS and self._chars <= MAX_INPUT_CHARS:
            self._values[kind].extend(texts)
        return True

    def end(self, unsure: str, *, has_network: bool) -> None:
        """Note that all values have arrived."""
        self._unsure, self._has_network, self._is_complete = unsure[:_LONGEST_REASON], has_network, True

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


def _is_valid(kind: str, value: object) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_PATH or not _is_encodable(value):
        return False
    if kind == "names":
        return value.isidentifier()
    path, _, pattern = value.partition("\0") if kind == "listed" else (value, "", PATTERNS[0])
    return bool(path) and "\0" not in path and ".." not in path.split("/") and pattern in PATTERNS


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
