"""Finds the line of a test file at which something went wrong, in what a framework wrote about it. Pure.

Understood are Python's tracebacks, also those that faulthandler writes, of exception groups, and inside
pytest's messages; and pytest's own `path:line:`. Only frames inside the file itself count, and of these
the innermost of the last traceback: there the reader can see what the test did.
"""

from __future__ import annotations

import re

MAX_TEXT_CHARS = 64 * 1024
"""Characters of an output that are looked at, from its end."""

_FRAME = re.compile(
    r'(?:INTERNALERROR>|E)?[ \t|+]*File "(?P<path>[^"]{1,4096})", line (?P<line>[0-9]{1,7})\b'
)
_PLACE = re.compile(r"(?P<path>[^\s:][^:]{0,4095}):(?P<line>[0-9]{1,7}):(?: |$)")


def fault_line(text: str, path: str, label: str) -> int | None:
    """Return the line of the file that `text` blames; None: it names none.

    Args:
        text: a message, a traceback, or the output of a file.
        path: the file, relative to the project root. Its root may be another one on the worker.
        label: the file as tests see it, relative to their working directory.
    """
    found: int | None = None
    is_innermost_first = is_taken = False
    for line in text[-MAX_TEXT_CHARS:].splitlines():
        if "(most recent call " in line:
            is_innermost_first, is_taken = "call first)" in line, False
            continue
        match = _FRAME.match(line) or _PLACE.match(line)
        if match is None or is_taken or not _is_file(match["path"], path, label):
            continue
        is_taken = is_innermost_first
        found = int(match["line"])
    return found or None


def last_place(text: str) -> str:
    """Return the last place in any file that `text` names, as `path:line`; empty: it names none."""
    found = ""
    for line in text[-MAX_TEXT_CHARS:].splitlines():
        match = _FRAME.match(line) or _PLACE.match(line)
        if match is not None:
            found = f"{match['path']}:{match['line']}"
    return found


def _is_file(found: str, path: str, label: str) -> bool:
    """Whether a traceback's path is that of the file: it may be absolute, or relative to any folder."""
    found = found.replace("\\", "/").removeprefix("./")
    if found in (path, label) or found.endswith(f"/{path}"):
        return True
    return not found.startswith("/") and f"/{path}".endswith(f"/{found}")
