"""Which overrides of the configuration hold for a file. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from fnmatch import translate

from dispatcher.config.model import SERIAL, Override, TestConfig

_NOTHING = Override(files=())


def group_limits(config: TestConfig) -> dict[str, int]:
    """Return how many files of each group may run at once: of a `serial` one, one."""
    limits = {group.name: group.most for group in config.groups}
    serial = {override.group for override in config.overrides if (override.group or "").startswith(SERIAL)}
    return limits | {name: 1 for name in serial if name}


class FileRules:
    """Overrides, asked for by path.

    Args:
        overrides: as configured; where several hold for a file the last that says something counts.
    """

    def __init__(self, overrides: Sequence[Override]) -> None:
        self._overrides = [(override, _expression(override.files)) for override in overrides]

    def rule_for(self, path: str) -> Override:
        """Return what holds for a file: an override without patterns that joins all that match.

        Args:
            path: relative to the root, with forward slashes.
        """
        rule = _NOTHING
        for override, expression in self._overrides:
            if expression.match(path):
                said = {
                    name: value
                    for name in _FIELDS
                    if (value := getattr(override, name)) is not None  # Others keep what was said before.
                }
                rule = dataclasses.replace(rule, **said)
        return rule

    def unmatched(self, paths: Iterable[str]) -> tuple[Override, ...]:
        """Return the overrides that hold for none of these files."""
        left = list(self._overrides)
        for path in paths:
            if not left:
                break
            left = [(override, expression) for override, expression in left if not expression.match(path)]
        return tuple(override for override, _ in left)


_FIELDS = tuple(field.name for field in dataclasses.fields(Override) if field.name != "files")


def _expression(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return what matches a path that one of the patterns names, or that lies in a folder so named."""
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
    """Return a set such as `[abc]` or `[!0-9]`, or a row of stars, as a regular expression."""
    if word.startswith("*"):
        return ".*"
    expression = translate(word)
    return "(?!/)" + expression[expression.index(":") + 1 : expression.rindex(")")]
