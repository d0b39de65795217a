"""Text on its way into the page: whatever a test printed or named stays text there. Pure.

Nothing reaches the page but through these functions. What would move a cursor, hide text or reverse its
order is made visible before it is escaped; escape sequences of terminals are taken out.
"""

from __future__ import annotations

import json
from html import escape

from passmuster.model.status import Status
from passmuster.model.text import JsonValue, one_line, sanitize

MAX_NAME_CHARS = 1000
"""Characters of a path, a name or a message of one line; none that a person gave is longer."""

_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})

_LOOKS = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.CRASH: "fail",
    Status.NO_TESTS: "fail",
    Status.COLLECT_ERROR: "fail",
    Status.TIMEOUT: "timeout",
    Status.MEMORY: "memory",
    Status.START_ERROR: "trouble",
    Status.LOST: "trouble",
    Status.CANCELLED: "stopped",
}


def line(value: str) -> str:
    """Return a name or a message as one line of HTML, for elements and for attributes in double quotes."""
    plain = one_line(value)
    if len(plain) > MAX_NAME_CHARS:
        half = MAX_NAME_CHARS // 2
        plain = f"{plain[:half]}[... {len(plain) - 2 * half} characters left out ...]{plain[-half:]}"
    return escape(plain)


def block(value: str) -> str:
    """Return a text of several lines as HTML for the inside of an element."""
    return escape(sanitize(value), quote=False)


def data(value: JsonValue) -> str:
    """Return `value` as JSON that can stand in a script element: nothing in it can end that element."""
    # ASCII, so that neither U+2028 nor half a surrogate pair reaches the page as a character.
    return json.dumps(value, separators=(",", ":")).translate(_IN_SCRIPT)


def look(status: Status, *, is_evicted: bool = False) -> str:
    """Return the class that gives what ended so its colour.

    Args:
        status: how it ended.
        is_evicted: whether it was stopped only to make room, which says nothing about it.
    """
    return "room" if is_evicted else _LOOKS[status]


def badge(status: Status) -> str:
    """Return a status as a small label."""
    return f'<span class="badge is-{look(status)}">{status.value.replace("_", " ").lower()}</span>'


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with the word for that many: `1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
