"""A value of a loaded file together with its position, for error messages. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from passmuster.model.errors import ConfigurationError


class Node(Struct, frozen=True, kw_only=True):
    """A mapping, a list, a text, a number, a boolean, or None for a missing value.

    Args:
        where: file and position, for messages.
    """

    value: object
    where: str

    @property
    def is_there(self) -> bool:
        """Whether the value exists."""
        return self.value is not None

    @property
    def is_text(self) -> bool:
        """Whether it is a single value, not a collection."""
        return not isinstance(self.value, dict | list)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.value, list)

    def __getitem__(self, key: str) -> Node:
        """Return the node under a key, which need not exist."""
        return Node(value=self._mapping().get(key), where=f"{self.where}, {key}")

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield the keys of a mapping with their nodes; nothing for any other value."""
        for key, value in self._mapping().items():
            yield as_text(key), Node(value=value, where=f"{self.where}, {as_text(key)}")

    def elements(self) -> Iterator[Node]:
        """Yield the elements of a list; nothing for any other value."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise ConfigurationError(f"{self.where} must be a list, got {_kind(self.value)}")
        for number, value in enumerate(self.value, start=1):
            yield Node(value=value, where=f"{self.where}, number {number}")

    def text(self) -> str:
        """Return it as the text that CI makes of it; empty if it is missing."""
        if not self.is_text:
            raise ConfigurationError(f"{self.where} must be one value, got {_kind(self.value)}")
        return as_text(self.value)

    def _mapping(self) -> dict[object, object]:
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise ConfigurationError(f"{self.where} must be a mapping of names, got {_kind(self.value)}")
        return self.value


def as_text(value: object) -> str:
    """Return a single value as CI writes it: `true`, `3.1` for 3.10, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else repr(as_text(value))
