"""A project's own command for a test file: the words and placeholders of `[tool.passmuster] command`.

    command = ["{python}", "manage.py", "test", "{module}"]

`{{` and `}}` stand for braces. No shell reads the words: each is one argument, passed as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

PLACEHOLDERS = ("python", "file", "module", "slot", "junit")
"""The project's interpreter, the path of the file and its dotted name (both from the working directory), the
number of its slot, and the path for a JUnit report of the command.
"""

NAMES_THE_FILE = ("file", "module")
"""A command must contain one of these; otherwise it would do the same for every file."""

EXAMPLE = '["{python}", "manage.py", "test", "{module}"]'

_OPTIONS_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
"""Options of Python whose value is the next word."""

_SHOWN = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
_BRACES = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]")


class CommandTemplate(Struct, frozen=True, kw_only=True):
    """A command whose words were checked."""

    words: tuple[str, ...]
    origin: str  # where it was configured, for messages

    def uses(self, name: str) -> bool:
        """Return whether one of the words contains a placeholder."""
        return any(name in names_in(word) for word in self.words)

    def measured(self, source: Sequence[str]) -> CommandTemplate | None:
        """Return the command under `coverage run`; None if that is not possible.

        The interpreter must run a script or a module. Data goes to `$COVERAGE_FILE`.
        """
        if self.words[0] != "{python}":
            return None
        start = 1
        while start < len(self.words) and _is_option(self.words[start]):
            start += 2 if self.words[start] in _OPTIONS_WITH_VALUE else 1
        rest = self.words[start:]
        if not rest or rest[0] in ("-", "-c"):
            return None
        if rest[:2] == ("-m", "coverage"):
            return self
        sources = ",".join(source).replace("{", "{{").replace("}", "}}")
        options = ("-p", *((f"--source={sources}",) if source else ()))
        words = (*self.words[:start], "-m", "coverage", "run", *options, *rest)
        return CommandTemplate(words=words, origin=self.origin)

    def fill(self, values: Mapping[str, str]) -> list[str]:
        """Return the words with each placeholder replaced by its value."""

        def replaced(match: re.Match[str]) -> str:
            name = match["name"]
            return match.group()[0] if name is None else values[name]

        return [_BRACES.sub(replaced, word) for word in self.words]


def check_word(text: str) -> str:
    """Return a word of a command unchanged.

    Raises:
        ValueError: it contains an unknown placeholder, a single brace or a NUL byte.
    """
    for match in _BRACES.finditer(text):
        is_literal = match.group() in ("{{", "}}")
        if not is_literal and match["name"] not in PLACEHOLDERS:
            raise ValueError(f"expected one of {_SHOWN}, or {{{{ and }}}} for braces, got {text!r}")
    if "\0" in text:
        raise ValueError(f"expected words without a NUL byte, got {text!r}")
    return text


def words_problem(words: Sequence[str]) -> str | None:
    """Return what is wrong with checked words as a whole, as `expected X, got Y`; None: nothing."""
    if not words or not words[0]:
        return f"expected a program and its arguments, such as {EXAMPLE}, got {list(words)!r}"
    if not any(name in names_in(word) for word in words for name in NAMES_THE_FILE):
        return f"expected {{file}} or {{module}} in one of the words, got {' '.join(words)!r}"
    return None


def _is_option(word: str) -> bool:
    """Whether a word is an option of Python that can precede a script or a module."""
    return word.startswith("-") and word not in ("-", "-c", "-m")


def names_in(word: str) -> list[str]:
    """Return the placeholders of a word."""
    return [match["name"] for match in _BRACES.finditer(word) if match["name"] is not None]
