"""Generates the help text of a program from its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from passmuster.settings.setting import Setting

COLUMN = 30
"""Column at which the texts of options start."""

WIDTH = 100


def program_help(
    usage: str, description: str, rows: Iterable[Setting], *, notes: Sequence[str] = (), version: bool = True
) -> str:
    """Return the help text of a program that has few options, without a final newline.

    Args:
        usage: the call, behind "usage: ".
        description: what the program does; as long as it likes.
        rows: its settings.
        notes: lines that follow.
        version: whether it tells its version.
    """
    lines = [f"usage: {usage}", "", *_wrapped(description), ""]
    lines += [line for row in rows for line in setting_lines(row)]
    if version:
        lines += entry("-V, --version", "print the version, and exit")
    lines += entry("-h, --help", "print this text, and exit")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def setting_lines(row: Setting) -> list[str]:
    """Return what the help says of a setting; nothing of paths, which have no argument."""
    words: dict[str, str] = {}
    for word, value in row.constants:
        words[value] = f"{words[value]}, {word}" if value in words else word
    if row.values_help:
        return [line for value, text in row.values_help for line in entry(words[value], text)]
    if not row.type.metavar:
        refusal = "do not " if row.default_text == "true" else ""
        return entry(next(iter(words.values())), f"{refusal}{row.summary}")
    if not row.options and row.name == "paths":
        return []
    names = row.options or (row.name,)
    sign = " " if row.options else " = "
    return entry(
        f"{', '.join(names)}{sign}{row.type.metavar}", f"{row.summary} (default: {row.default_text})"
    )


def entry(head: str, text: str) -> list[str]:
    """Return one option and its text, wrapped, the text in a column of its own."""
    indent = " " * COLUMN
    lines: list[str] = []
    line = f"  {head}".ljust(COLUMN)
    if len(line.rstrip()) > COLUMN - 2:
        lines.append(line.rstrip())
        line = indent
    start = len(line)
    for word in text.split():
        if len(line) > start and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line, start = indent, COLUMN
        line += word if len(line) == start else f" {word}"
    return [*lines, line]


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
