"""The format of output lines: tags, indentation, and lists under a heading. Pure.

Lines are made without colours; whoever writes them to a terminal passes them through `colored`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

INDENT = " " * 6
"""What precedes each line that a test printed, so that none can be mistaken for a line of Passmuster."""


class Tag(Enum):
    """The start of a line; the value is the parameter of its colour sequence."""

    INFO = "34"
    PASS = "32"
    FAIL = "31"
    WARN = "1;33"
    WAIT = "35"
    """The file was stopped to free memory, and waits to start again."""
    RETRY = "33"
    """The file failed and runs again, because retries are allowed."""
    CHECK = "36"
    """The file runs again to find out whether forking or other files changed its result."""
    SPLIT = "1;36"
    """The file did not pass in parts: it runs as a whole, or in parts once more to find the cause."""


_TAGS = re.compile(rf"^\[({'|'.join(Tag.__members__)})\]", re.MULTILINE)


def tagged(tag: Tag, text: str, *, color: bool = False) -> str:
    """Return a line with its tag; only the tag is coloured."""
    line = f"[{tag.name}] {text}"
    return colored(line) if color else line


def colored(text: str) -> str:
    """Return lines with the tags at their starts coloured."""
    return _TAGS.sub(lambda match: f"\x1b[{Tag[match[1]].value}m{match[0]}\x1b[0m", text)


def bulleted(text: str) -> str:
    """Return an item of a list."""
    return f"  - {text}"


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines that a test printed, indented."""
    return [f"{INDENT}{line}" for line in lines]
