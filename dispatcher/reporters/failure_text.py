"""Extracts from a failing test's message what went wrong, in one line or whole, and in which line. Pure.

A failure's message is what its framework wrote: pytest's excerpt of the source with lines that start with an
E, or a traceback. The line is read from Python's tracebacks, those of faulthandler and of exception groups
included, and from pytest's own `path:line:`. Only frames inside the file itself count, and of these the
innermost of the last traceback: there the reader sees what the test did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_TEXT_CHARS = 64 * 1024
"""Characters of an output that are searched, from its end."""

_FRAME = re.compile(
    r'(?:INTERNALERROR>|E)?[ \t|+]*File "(?P<path>[^"]{1,4096})", line (?P<line>[0-9]{1,7})\b'
)
_PLACE = re.compile(r"(?P<path>[^\s:][^:]{0,4095}):(?P<line>[0-9]{1,7}):(?: |$)")


def failure_line(text: str, path: str, label: str) -> int | None:
    """Return the line of the file at which it failed, as a message or output says; None: unknown.

    Args:
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
    """Return the last place in any file that `text` names, as `path:line`, or ""."""
    lines = reversed(text[-MAX_TEXT_CHARS:].splitlines())
    match = next((found for line in lines if (found := _FRAME.match(line) or _PLACE.match(line))), None)
    return f"{match['path']}:{match['line']}" if match is not None else ""


def _is_file(found: str, path: str, label: str) -> bool:
    """Whether a traceback's path is that of the file: it may be absolute, or relative to any folder."""
    found = found.replace("\\", "/").removeprefix("./")
    if found in (path, label) or found.endswith(f"/{path}"):
        return True
    return not found.startswith("/") and f"/{path}".endswith(f"/{found}")


ANOTHER = "\n[... another failure of this test ...]\n"
"""Separates the messages of one test (`passmuster_child_report.ANOTHER`)."""

_CUT = "[... cut ...]"
"""Replaces the middle of a message that was too long (`passmuster_child_report.bound`)."""


def headline(message: str) -> str:
    """Return the line of a failure's message that says what went wrong."""
    return exception_lines(split_message(message)[0])[0]


def split_message(message: str) -> list[str]:
    """Return the messages of a test that failed more than once: in subtests, or in its tear-down too."""
    return message.split(ANOTHER)


def marked_lines(message: str) -> list[str]:
    """Return the lines that pytest marks with an E, those of the last exception alone, without the mark."""
    groups: list[list[str]] = [[]]
    is_cut = False
    for line in message.split("\n"):  # A carriage return in a line does not end it.
        if line.startswith("E ") or line.rstrip() == "E":
            groups[-1].append(line[1:].rstrip())
        elif groups[-1] and (line == _CUT or is_cut):
            # The line after the mark has lost its start, and with it the E.
            is_cut = line == _CUT
            groups[-1] += [_CUT] if is_cut else []
        elif groups[-1]:
            groups.append([])
    last = next((group for group in reversed(groups) if any(group)), [])
    margin = min((len(line) - len(line.lstrip()) for line in last if line and line != _CUT), default=0)
    return [line if line == _CUT else line[margin:] for line in last]


def failure_place(message: str, path: str, label: str) -> str:
    """Return where a test failed as `path:line`, in its own file if possible; empty: unknown."""
    line = failure_line(message, path, label)
    return f"{label}:{line}" if line else last_place(message)


def exception_lines(message: str) -> list[str]:
    """Return the line that says what went wrong, and all others of the exception's text in their order."""
    lines = marked_lines(message) or list(_after_frames(message))
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        return [""]
    # A syntax error shows the place first; what is wrong comes last.
    first = len(lines) - 1 if lines[0].lstrip().startswith('File "') else 0
    return [lines[first].strip(), *lines[:first], *lines[first + 1 :]]


def _after_frames(message: str) -> Iterator[str]:
    """Return a message from the line on that follows the frames of its last traceback."""
    lines = [line.rstrip() for line in message.split("\n")]
    headings = [number for number, line in enumerate(lines) if line.startswith("Traceback (")]
    after = lines[headings[-1] + 1 :] if headings else lines
    text = [number for number, line in enumerate(after) if line]
    start = next((number for number in text if not after[number].startswith(" ")), min(text, default=0))
    return iter(after[start:])
