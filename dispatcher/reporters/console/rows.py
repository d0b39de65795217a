"""Lays out a row about a file: tag, path, remark, time, and memory, within the width of a terminal. Pure."""

from __future__ import annotations

import unicodedata

from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.units import format_bytes, format_seconds

ELLIPSIS = "…"

SECONDS_CELLS = len("59m 59s")
MEMORY_CELLS = len("1023 MiB")

MIN_COLUMNS = 40
"""Narrower terminals get rows of this width, which wrap."""

_PATH_SHARE = 0.5
"""Share of the room for path and remark that a long path keeps when the remark needs more than the rest."""


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def clipped(text: str, columns: int) -> str:
    """Return the start of a text in at most that many columns."""
    if cells(text) <= columns:
        return text
    return _start(text, columns - 1) + ELLIPSIS if columns > 0 else ""


def shortened_path(path: str, columns: int) -> str:
    """Return a path in at most that many columns: `tests/…/test_cart.py`.

    Its directories are left out from the middle, the inner ones last; then the start of its name is left out,
    because names differ at their ends.
    """
    if cells(path) <= columns:
        return path
    *directories, name = path.split("/")
    for kept in range(len(directories) - 1, 0, -1):
        # The first directory says which part of the project, the last ones which file.
        tail = directories[len(directories) - kept + 1 :]
        short = "/".join([directories[0], ELLIPSIS, *tail, name])
        if cells(short) <= columns:
            return short
    short = f"{ELLIPSIS}/{name}"
    if directories and cells(short) <= columns:
        return short
    return ELLIPSIS + _end(name, columns - 1) if columns > 0 else ""


def row(
    tag: Tag, path: str, remark: str = "", *, seconds: float, peak_bytes: int | None, columns: int
) -> str:
    """Return a row about a file, at most `columns` wide.

    The time and the memory always stand at its end. For a long remark the path is shortened in its middle,
    down to its share; only then the remark is cut at its end.

    Args:
        path: sanitized, as is `remark`.
        peak_bytes: None: unknown.
    """
    memory = format_bytes(peak_bytes) if peak_bytes else ""
    end = f"  {format_seconds(seconds):>{SECONDS_CELLS}}  {memory:>{MEMORY_CELLS}}"
    room = max(columns, MIN_COLUMNS) - len(tagged(tag, "")) - len(end)
    needed = cells(path) + (2 + cells(remark) if remark else 0)
    if needed > room and remark:
        path = shortened_path(path, max(room - 2 - cells(remark), int(room * _PATH_SHARE)))
        remark = clipped(remark, room - 2 - cells(path))
    text = f"{shortened_path(path, room)}  {remark}" if remark else shortened_path(path, room)
    return tagged(tag, f"{text}{' ' * (room - cells(text))}{end}".rstrip())


def _start(text: str, columns: int) -> str:
    text = text[: max(0, columns)]
    while cells(text) > columns:
        text = text[:-1]
    return text


def _end(text: str, columns: int) -> str:
    text = text[max(0, len(text) - columns) :]
    while cells(text) > columns:
        text = text[1:]
    return text
