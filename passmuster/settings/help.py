"""Generates the help text of a program from its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from textwrap import wrap

from passmuster.settings.setting import Setting

COLUMN = 30
"""Column at which the texts of options start."""

_wrap = partial(wrap, width=100, break_long_words=False, break_on_hyphens=False)


def program_help(usage: str, description: str, rows: Iterable[Setting], *, notes: Sequence[str] = ()) -> str:
    """Return the help text of a program that has few options, without a final newline."""
    lines = [f"usage: {usage}", "", *_wrap(description), ""]
    lines += [line for row in rows for line in setting_lines(row)]
    lines += entry("-V, --version", "print the version, and exit")
    lines += entry("-h, --help", "print this text, and exit")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def setting_lines(row: Setting) -> list[str]:
    """Return the lines of a setting; none for paths, which have no option."""
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
    value = row.type.value_usage if row.options else f" = {row.type.metavar}"
    return entry(f"{', '.join(names)}{value}", f"{row.summary} (default: {row.default_text})")


def entry(head: str, text: str) -> list[str]:
    """Return one option and its text, wrapped, the text in a column of its own."""
    indent = " " * COLUMN
    if len(head) + 2 > COLUMN - 2:
        return [f"  {head}", *_wrap(text, initial_indent=indent, subsequent_indent=indent)]
    return _wrap(text, initial_indent=f"  {head}".ljust(COLUMN), subsequent_indent=indent)
