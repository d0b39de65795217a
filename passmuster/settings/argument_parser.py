"""Parses the arguments of a command line by a table of settings, for all programs of Passmuster.

It does not use argparse: the contract of the shell scripts ignores unknown arguments with a warning, anywhere
between known options and paths, and argparse cannot separate them. Problems are collected instead of raised,
so `--help` works together with a wrong argument. Abbreviations are not accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from passmuster.model.errors import ConfigurationError
from passmuster.settings.locations import PathResolver
from passmuster.settings.origins import GivenValue, Origin, Source
from passmuster.settings.setting import Setting
from passmuster.settings.values import Value, on_one_line

HELP = ("-h", "--help")
VERSION = ("-V", "--version")

_Record = TypeVar("_Record")


class ParsedArguments(Struct, frozen=True, kw_only=True):
    """What a command line says.

    Args:
        given: values, later ones stronger.
        paths: words that are not options.
        passed_on: words after `--`, for a program that runs another one with them.
        unknown: arguments that look like options but are none, as typed.
        problems: what is wrong, one line each.
        wants_help: whether the help text was asked for.
        wants_version: whether the version was asked for.
    """

    given: tuple[GivenValue, ...]
    paths: tuple[str, ...]
    passed_on: tuple[str, ...]
    unknown: tuple[str, ...]
    problems: tuple[str, ...]
    wants_help: bool
    wants_version: bool


class ArgumentParser:
    """The words that one program understands.

    Args:
        rows: its settings, those of the configuration and its own.
        ignored: words that name what happens anyway.
        passes_on: whether words after `--` are for another program; else they are paths.
    """

    def __init__(
        self, rows: Iterable[Setting], *, ignored: Iterable[str] = (), passes_on: bool = False
    ) -> None:
        self.rows = tuple(rows)
        self.passes_on = passes_on
        self.options = {word: row for row in self.rows for word in row.options}
        self.constants = {word: (row, text) for row in self.rows for word, text in row.constants}
        self.plain = frozenset((*self.constants, *ignored, *HELP, *VERSION))
        """Words without a value."""
        self.known = (*self.options, *self.constants, *HELP, *VERSION)
        """All that a misspelt word may have been meant to be."""

    def parse(self, argv: Sequence[str]) -> ParsedArguments:
        """Read the words after the program's name. Never raises."""
        reader = _Reader(table=self, words=list(argv))
        reader.read()
        return ParsedArguments(
            given=tuple(reader.given),
            paths=tuple(reader.paths),
            passed_on=tuple(reader.passed_on),
            unknown=tuple(reader.unknown),
            problems=(*reader.problems, *_exclusive(reader.given)),
            wants_help=not reader.plain.isdisjoint(HELP),
            wants_version=not reader.plain.isdisjoint(VERSION),
        )


class _Reader(Struct):
    """The words that are left, and what was understood so far."""

    table: ArgumentParser
    words: list[str]
    given: list[GivenValue] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    passed_on: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    plain: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Consume every word."""
        self.words.reverse()
        while self.words:
            word = self.words.pop()
            if word == "--":
                (self.passed_on if self.table.passes_on else self.paths).extend(reversed(self.words))
                return
            if not word.startswith("-") or word == "-":
                self.paths.append(word)
            elif word.startswith("--"):
                self._read_long(word)
            else:
                self._read_short(word)

    def _read_long(self, word: str) -> None:
        name, has_value, value = word.partition("=")
        if name in self.table.options:
            self._take_value(name, value if has_value else None)
        elif name not in self.table.plain:
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
            if name in self.table.options:
                rest = letters[position + 1 :]
                steps.append((name, rest.removeprefix("=") if rest else None))
                break
            if name not in self.table.plain:
                self.unknown.append(word)
                return
            steps.append((name, None))
        for name, value in steps:
            if name in self.table.options:
                self._take_value(name, value)
            else:
                self._take_plain(name)

    def _take_value(self, name: str, value: str | None) -> None:
        kind = self.table.options[name].type
        if value is None:
            following = self.words[-1] if self.words else None
            if following is None or following.startswith("--") or following in self.table.plain:
                self.problems.append(f"{name} needs a value: expected {kind.allowed}")
                return
            value = self.words.pop()
        self._give(self.table.options[name], kind.split(value), name)

    def _take_plain(self, name: str) -> None:
        self.plain.add(name)
        if name in self.table.constants:
            setting, text = self.table.constants[name]
            self._give(setting, (text,), name)

    def _give(self, setting: Setting, texts: tuple[str, ...], name: str) -> None:
        origin = Origin(source=Source.ARGUMENT, name=name)
        self.given.append(GivenValue(setting=setting, texts=texts, origin=origin))


def _exclusive(given: Iterable[GivenValue]) -> Iterable[str]:
    """Return a problem for each setting of which only one word may be given, and several were."""
    chosen: dict[str, dict[tuple[str, ...], str]] = {}
    for one in given:
        if one.setting.is_exclusive:
            chosen.setdefault(one.setting.name, {})[one.texts] = one.origin.name
    for words in chosen.values():
        if len(words) > 1:
            yield f"{' and '.join(sorted(words.values()))} cannot be combined: choose one"


def refuse_problems(arguments: ParsedArguments) -> None:
    """Raise for the first problem.

    Raises:
        ConfigurationError: there is one.
    """
    if arguments.problems:
        raise ConfigurationError(f"{arguments.problems[0]}; see --help")


def refuse_unknown(words: Iterable[str], table: ArgumentParser, *, only_misspelt: bool = False) -> None:
    """Raise for the first unknown word, and name the one that it may have been meant to be.

    Args:
        words: words that the program does not know.
        table: those that it knows.
        only_misspelt: whether a word that is near to none of these passes.

    Raises:
        ConfigurationError: there is one.
    """
    for word in words:
        from passmuster.settings.spelling import nearest  # Only ever needed on the way out.

        meant = nearest(word.partition("=")[0], table.known) if word.startswith("-") else None
        if meant is not None or not only_misspelt:
            advice = "see --help" if meant is None else f"did you mean {meant}?"
            raise ConfigurationError(f"unknown argument: {on_one_line(word)}; {advice}")


def read_variables(rows: Iterable[Setting], environ: Mapping[str, str]) -> tuple[GivenValue, ...]:
    """Return what the environment gives. For each row the strongest variable that is not empty counts."""
    given: list[GivenValue] = []
    for row in rows:
        name = next((name for name in row.variables if environ.get(name)), None)
        if name is not None:
            origin = Origin(source=Source.VARIABLE, name=name)
            given.append(GivenValue(setting=row, texts=row.type.split(environ[name]), origin=origin))
    return tuple(given)


def strongest_values(given: Iterable[GivenValue]) -> dict[str, GivenValue]:
    """Return the strongest value of each setting, by its name; those of a list are put together."""
    strongest: dict[str, GivenValue] = {}
    for one in given:
        earlier = strongest.get(one.setting.name)
        is_further = earlier is not None and earlier.origin.source is one.origin.source
        if earlier is not None and is_further and one.setting.type.is_list:
            one = replace(one, texts=(*earlier.texts, *one.texts))
        strongest[one.setting.name] = one
    return strongest


def read_value(given: GivenValue) -> Value:
    """Return the value that was given, a path still as text.

    Raises:
        ConfigurationError: it is none that the setting may have.
    """
    kind = given.setting.type
    if given.value is not None:
        return given.value
    try:
        if kind.is_list:
            return tuple(str(kind.read(text)) for text in given.texts)
        return kind.read(given.texts[0])
    except ValueError as error:
        raise ConfigurationError(
            f"wrong value for {given.setting.name}: {error} (from {given.origin})"
        ) from error


def read_record(record: type[_Record], given: Iterable[GivenValue], bases: PathResolver) -> _Record:
    """Return a program's own options, as a record whose fields are rows.

    Args:
        record: the class of the record.
        given: what was given for its rows.
        bases: what relative paths are relative to.

    Raises:
        ConfigurationError: a value is none that its setting may have.
    """
    values: dict[str, Value] = {}
    for one in strongest_values(given).values():
        value = read_value(one)
        is_path = one.setting.type.is_path and value is not None
        values[one.setting.target] = bases.locate(str(value), from_file=one.from_file) if is_path else value
    return record(**values)
