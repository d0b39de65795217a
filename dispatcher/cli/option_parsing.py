"""Reads words with a value that only a subcommand has, before `read_words` reads the settings."""

from __future__ import annotations

from collections.abc import Sequence

from passmuster.model.errors import ConfigurationError


def take_value(argv: Sequence[str], word: str, *, allowed: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the last value that `word` is given (`--run X`, `--run=X`), and the other words.

    Args:
        argv: the words.
        word: the one that has a value.
        allowed: what values there are, for the message.

    Raises:
        ConfigurationError: the value is missing.
    """
    value: str | None = None
    left: list[str] = []
    words = iter(argv)
    for one in words:
        name, has_value, text = one.partition("=")
        if one == "--":
            left += [one, *words]
        elif name != word:
            left.append(one)
        elif has_value:
            value = text
        else:
            value = next(words, "")
            if not value or value.startswith("--"):
                raise ConfigurationError(f"{word} needs a value: expected {allowed}")
    return value, tuple(left)


def renamed(argv: Sequence[str], word: str, other: str) -> tuple[str, ...]:
    """Return the words with one of them said in another way, with its value or before it."""
    end = argv.index("--") if "--" in argv else len(argv)
    said = [
        other + one[len(word) :] if one == word or one.startswith(f"{word}=") else one for one in argv[:end]
    ]
    return (*said, *argv[end:])
