"""The format of output lines: tags, indentation, and lists under a heading. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

INDENT = " " * 6
"""What stands before each line that a test printed."""


class Tag(Enum):
    """The start of a line, with the parameters of its colour sequence."""

    INFO = ("[INFO]", "34")
    PASS = ("[PASS]", "32")
    FAIL = ("[FAIL]", "31")
    WARN = ("[WARN]", "1;33")


def tagged(tag: Tag, text: str, *, color: bool) -> str:
    """Return a line with its tag; only the tag is coloured."""
    word, code = tag.value
    return f"\x1b[{code}m{word}\x1b[0m {text}" if color else f"{word} {text}"


def bulleted(text: str) -> str:
    """Return an item of a list."""
    return f"  - {text}"


def listed(heading: str, items: Sequence[str], *, color: bool) -> list[str]:
    """Return a warning with its list of subjects; nothing if the list is empty."""
    return [tagged(Tag.WARN, heading, color=color), *map(bulleted, items)] if items else []


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines that a test printed, indented so that none can be mistaken for a line of Passmuster."""
    return [f"{INDENT}{line}" for line in lines]
