"""Writes the pieces of a Markdown page, in which whatever tests print or are named stays text. Pure.

Every ASCII character that is no letter, digit or space becomes a character reference: these never stand for
structure, neither for Markdown's (CommonMark, "Entity and numeric character references") nor for HTML's.
Around it is `<code>`, in which GitHub looks for no mentions, issue numbers or emoji.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dispatcher.report.plain_text import one_line

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")


def plain(text: str) -> str:
    """Return one line as text; only letters, digits and spaces stand for themselves."""
    return _PUNCTUATION.sub(_reference, one_line(text))


def code(text: str, most_chars: int) -> str:
    """Return one line as code, cut to its first `most_chars` characters."""
    text = one_line(text)
    if len(text) > most_chars:
        text = f"{text[:most_chars]}..."
    return f"<code>{plain(text)}</code>" if text.strip() else ""


def linked(shown: str, url: str) -> str:
    """Return a piece of the page as a link.

    Args:
        shown: what is shown, escaped.
        url: percent-encoded; empty: no link.
    """
    return f'<a href="{url}">{shown}</a>' if url and shown else shown


def row(cells: Iterable[str]) -> str:
    """Return a row of a table; the cells are escaped."""
    return f"| {' | '.join(cells)} |\n"


def table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table with an empty line around it."""
    return f"\n{row(heads)}{row('---' for _ in heads)}{''.join(rows)}\n"


def _reference(match: re.Match[str]) -> str:
    # GitHub makes mail addresses links after it has resolved the references: a word joiner prevents that.
    return f"&#{ord(match[0])};" + ("&#8288;" if match[0] == "@" else "")
