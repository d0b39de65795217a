"""Shell patterns of paths in overrides: `*` matches within a directory, `**` across directories. Pure."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import cache


def normal_pattern(text: str) -> str:
    """Return a pattern without a leading `./` and without slashes at its end."""
    return text.removeprefix("./").rstrip("/")


@cache
def compile_patterns(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return an expression for the paths that match a pattern, or are in a directory that matches one."""
    return re.compile("|".join(f"(?:{_translated(pattern)})(?:/.*)?\\Z" for pattern in patterns), re.DOTALL)


def _translated(pattern: str) -> str:
    """Return a shell pattern of paths as a regular expression."""
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        special = _SPECIAL.match(pattern, position)
        if special is None:
            parts.append(re.escape(pattern[position]))
            position += 1
        else:
            word = special.group()
            parts.append(_MEANING.get(word) or _set_of(word))
            position = special.end()
    return "".join(parts)


_SPECIAL = re.compile(r"\*\*/|\*+|\?|\[!?\]?[^\]/]*\]")
_MEANING = {"**/": "(?:.*/)?", "*": "[^/]*", "**": ".*", "?": "[^/]"}


def _set_of(word: str) -> str:
    """Return a set such as `[abc]` or `[!0-9]`, or several stars, as a regular expression."""
    if word.startswith("*"):
        return ".*"
    expression = translate(word)
    return "(?!/)" + expression[expression.index(":") + 1 : expression.rindex(")")]
