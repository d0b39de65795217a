"""Reads the command line by the table of settings.

Not argparse: the shell scripts' contract lets unknown words pass with a warning, wherever they stand
between known options and paths, and argparse cannot tell those apart. Problems are collected and not
raised, so that `--help` works beside a wrong argument.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from dispatcher.config.origins import Given, Origin, Source
from dispatcher.config.setting import Setting
from dispatcher.config.settings import MODE, SETTINGS
from dispatcher.config.values import on_one_line

SILENT = ("--unit", "--parallel", "--full", "--ff", "--failed-first")
"""Words of later shell scripts and of pytest that name what happens anyway."""

HELP = ("-h", "--help")
VERSION = ("-V", "--version")

_OPTIONS: dict[str, Setting] = {word: setting for setting in SETTINGS for word in setting.options}
_CONSTANTS: dict[str, tuple[Setting, str]] = {
    word: (setting, text) for setting in SETTINGS for word, text in setting.constants
}
_PLAIN = frozenset((*_CONSTANTS, *SILENT, *HELP, *VERSION))
KNOWN_WORDS: tuple[str, ...] = (*_OPTIONS, *_CONSTANTS, *SILENT, *HELP, *VERSION)


class Arguments(Struct, frozen=True, kw_only=True):
    """What the command line says.

    Args:
        given: values, later ones stronger.
        paths: words that are not options.
        unknown: words that look like options and are none, as typed.
        problems: what is wrong, one line each.
        wants_help: whether the help text was asked for.
        wants_version: whether the version was asked for.
    """

    given: tuple[Given, ...]
    paths: tuple[str, ...]
    unknown: tuple[str, ...]
    problems: tuple[str, ...]
    wants_help: bool
    wants_version: bool


class _Reader(Struct):
    """The words that are left, and what was understood so far."""

    words: list[str]
    given: list[Given] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    plain: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Consume every word."""
        self.words.reverse()
        while self.words:
            word = self.words.pop()
            if word == "--":
                self.paths.extend(reversed(self.words))
                return
            if not word.startswith("-") or word == "-":
                self.paths.append(word)
            elif word.startswith("--"):
                self._read_long(word)
            else:
                self._read_short(word)

    def _read_long(self, word: str) -> None:
        name, has_value, value = word.partition("=")
        if name in _OPTIONS:
            self._take_value(name, value if has_value else None)
        elif name not in _PLAIN:
            self.unknown.append(word)
        elif has_value:
            self.problems.append(f"{name} takes no value, got {value!r}: leave out {'=' + value!r}")
        else:
            self._take_plain(name)

    def _read_short(self, word: str) -> None:
        """Read `-x`, `-j4`, `-j=4`, `-j 4`, or several in one word such as `-xq`."""
        letters = word[1:]
        steps: list[tuple[str, str | None]] = []
        for position, letter in enumerate(letters):
            name = f"-{letter}"
            if name in _OPTIONS:
                rest = letters[position + 1 :]
                steps.append((name, rest.removeprefix("=") if rest else None))
                break
            if name not in _PLAIN:
                self.unknown.append(word)
                return
            steps.append((name, None))
        for name, value in steps:
            if name in _OPTIONS:
                self._take_value(name, value)
            else:
                self._take_plain(name)

    def _take_value(self, name: str, value: str | None) -> None:
        setting = _OPTIONS[name]
        if value is None:
            following = self.words[-1] if self.words else None
            if following is None or following.startswith("--") or following in _PLAIN:
                self.problems.append(f"{name} needs a value: expected {setting.kind.allowed}")
                return
            value = self.words.pop()
        texts = tuple(value.split(",")) if setting.kind.is_list else (value,)
        self._give(setting, texts, name)

    def _take_plain(self, name: str) -> None:
        self.plain.add(name)
        if name in _CONSTANTS:
            setting, text = _CONSTANTS[name]
            self._give(setting, (text,), name)

    def _give(self, setting: Setting, texts: tuple[str, ...], name: str) -> None:
        origin = Origin(source=Source.ARGUMENT, name=name)
        self.given.append(Given(setting=setting, texts=texts, origin=origin))


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Read the words after the program's name. Never raises."""
    reader = _Reader(words=list(argv))
    reader.read()
    modes = {given.texts: given.origin.name for given in reader.given if given.setting is MODE}
    if len(modes) > 1:
        reader.problems.append(f"{' and '.join(sorted(modes.values()))} cannot be combined: choose one")
    return Arguments(
        given=tuple(reader.given),
        paths=tuple(reader.paths),
        unknown=tuple(reader.unknown),
        problems=tuple(reader.problems),
        wants_help=not reader.plain.isdisjoint(HELP),
        wants_version=not reader.plain.isdisjoint(VERSION),
    )


def unknown_warning(word: str) -> str:
    """Return the shell scripts' own warning for a word they did not know."""
    return f"Unknown argument: {on_one_line(word)}"
