"""Keeps passwords and environments out of the repr of a value, and therefore out of logs and tracebacks."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct


def repr_without(*hidden: str) -> Callable[[Struct], str]:
    """Return a `__repr__` for a Struct that leaves the fields `hidden` out."""

    def represent(self: Struct) -> str:
        shown = ", ".join(
            f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in hidden
        )
        return f"{type(self).__qualname__}({shown})"

    return represent
