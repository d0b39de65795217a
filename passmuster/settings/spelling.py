"""Finds the known name that a misspelt one was meant to be. Pure; loaded only for a name that is unknown.

Stricter than `difflib.get_close_matches`, which finds a match for most words: a name that is only slightly
similar may belong to another program and must not be refused.
"""

from __future__ import annotations

from collections.abc import Iterable

LONG_CHARS = 8
"""Letters from which a name may contain two slips instead of one."""

SHORT_CHARS = 5
"""Letters up to which a wrong letter makes a different word (`--lint` is not `--list`)."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name of which `name` is a misspelling; None: there is none.

    A slip is a letter that is missing, added, or wrong, or two letters that were swapped. The first letter
    must be right. Hyphens, underscores and capitals do not count.

    Args:
        known: of equally near names the first is returned.
    """
    typed = _letters(name)
    best: str | None = None
    fewest = 3
    for candidate in known:
        letters = _letters(candidate)
        allowed = 2 if len(letters) >= LONG_CHARS else 1
        if len(letters) < 3 or typed[:1] != letters[:1] or abs(len(typed) - len(letters)) > allowed:
            continue
        slips = _slips(typed, letters)
        if slips <= allowed and slips < fewest:
            best, fewest = candidate, slips
    return best


def _letters(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _slips(typed: str, letters: str) -> int:
    """Return the distance of two words (Damerau and Levenshtein's, each letter changed at most once)."""
    wrong_letter = 2 if len(letters) <= SHORT_CHARS else 1
    before: list[int] = []
    row = list(range(len(letters) + 1))
    for i, ours in enumerate(typed, start=1):
        before, above, row = row, before, [i]
        for j, theirs in enumerate(letters, start=1):
            steps = [before[j] + 1, row[j - 1] + 1, before[j - 1] + (wrong_letter if ours != theirs else 0)]
            if i > 1 and j > 1 and ours == letters[j - 2] and theirs == typed[i - 2]:
                steps.append(above[j - 2] + 1)
            row.append(min(steps))
    return row[-1]
