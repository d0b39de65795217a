"""Parses the arguments of a command line by a table of settings, for all programs of Passmuster.

It does not use argparse: the contract of the shell scripts ignores unknown arguments with a warning, anywhere
between known options and paths, and argparse cannot separate them. Problems are collected instead of raised,
so that `--help` works together with a wrong argument. Abbreviations are not accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from passmuster.model.errors import ConfigurationError
from passmuster.settings.origins import GivenValue, Origin, Source
from passmuster.settings.path_resolver import PathResolver
from passmuster.settings.setting import VARIABLE_PREFIX, Setting
from passmuster.settings.values import Value, on_one_line

HELP = ("-h", "--help")
VERSION = ("-V", "--version")

_Record = TypeVar("_Record")


class ParsedArguments(Struct, kw_only=True):
    """The content of a command line."""

    given: list[GivenValue] = field(default_factory=list)  # values, later ones stronger
    paths: list[str] = field(default_factory=list)  # arguments that are not options
    passed_on: list[str] = field(default_factory=list)  # arguments after `--`, for another program
    unknown: list[str] = field(default_factory=list)
    """Arguments that look like options but are none, as typed."""
    problems: list[str] = field(default_factory=list)  # what is wrong, one line each
    wants_help: bool = False
    wants_version: bool = False


class ArgumentParser:
    """Parses the arguments of one program.

    Args:
        ignored: options that restate the default.
        passes_on: whether arguments after `--` are for another program; otherwise they are paths.
    """

    def __init__(
        self, rows: Iterable[Setting], *, ignored: Iterable[str] = (), passes_on: bool = False
    ) -> None:
        self.rows = tuple(rows)
        self._passes_on = passes_on
        self.options = {word: row for row in self.rows for word in row.options}
        self.constants = {word: (row, text) for row in self.rows for word, text in row.constants}
        self.known = tuple(dict.fromkeys((*self.options, *self.constants, *HELP, *VERSION)))
        """Every option that a misspelt one may stand for."""
        for row in self.rows:
            for former, present in row.renamed.items():
                if present in self.options:
                    self.options[former] = row
                elif present in self.constants:
                    self.constants[former] = self.constants[present]
        self.without_value = frozenset((*self.constants, *ignored, *HELP, *VERSION))

    def parse(self, argv: Sequence[str]) -> ParsedArguments:
        """Parse the arguments behind the program's name. Never raises."""
        parsed = ParsedArguments()
        words = list(reversed(argv))
        while words:
            word = words.pop()
            if word == "--":
                following = parsed.passed_on if self._passes_on else parsed.paths
                following += reversed(words)
                break
            if not word.startswith("-") or word == "-":
                parsed.paths.append(word)
                continue
            for name, value in self._split(word):
                # An optional value is only taken from behind `=`.
                if name in self.options and (value is not None or name not in self.constants):
                    self._add_option(parsed, name, value, words)
                elif name not in self.without_value:
                    parsed.unknown.append(word)
                elif value is not None:
                    parsed.problems.append(f"{name} takes no value, got {value!r}: leave out {'=' + value!r}")
                else:
                    self._add_constant(parsed, name)
        parsed.problems += _exclusive(parsed.given)
        return parsed

    def _split(self, word: str) -> list[tuple[str, str | None]]:
        """Return the options in one word with their values.

        `--x`, `--x=4`, `-x`, `-j4`, `-j=4`, and several in one word such as `-xq`.
        """
        if word.startswith("--"):
            name, has_value, value = word.partition("=")
            return [(name, value if has_value else None)]
        found: list[tuple[str, str | None]] = []
        for position, letter in enumerate(word[1:], start=2):
            name = f"-{letter}"
            if name in self.options:
                rest = word[position:]
                return [*found, (name, rest.removeprefix("=") if rest else None)]
            if name not in self.without_value:
                return [(word, None)]
            found.append((name, None))
        return found

    def _add_option(self, parsed: ParsedArguments, name: str, value: str | None, rest: list[str]) -> None:
        row = self.options[name]
        if value is None:
            following = rest[-1] if rest else "--"
            if following.startswith("--") or following in self.without_value:
                parsed.problems.append(f"{name} needs a value: expected {row.type.allowed}")
                return
            value = rest.pop()
        parsed.given.append(_given(row, row.type.split(value), name))

    def _add_constant(self, parsed: ParsedArguments, name: str) -> None:
        parsed.wants_help |= name in HELP
        parsed.wants_version |= name in VERSION
        if name in self.constants:
            row, text = self.constants[name]
            parsed.given.append(_given(row, (text,), name))


def _given(row: Setting, texts: tuple[str, ...], name: str) -> GivenValue:
    return GivenValue(setting=row, texts=texts, origin=Origin(source=Source.ARGUMENT, name=name))


def _exclusive(given: Iterable[GivenValue]) -> Iterable[str]:
    """Yield a problem for each setting with several arguments that exclude each other."""
    chosen: dict[str, dict[tuple[str, ...], str]] = {}
    for one in given:
        if one.setting.is_exclusive:
            chosen.setdefault(one.setting.name, {})[one.texts] = one.origin.name
    for names in chosen.values():
        if len(names) > 1:
            yield f"{' and '.join(sorted(names.values()))} cannot be combined: choose one"


def refuse_problems(arguments: ParsedArguments) -> None:
    """Raise for the first problem.

    Raises:
        ConfigurationError: there is one.
    """
    if arguments.problems:
        raise ConfigurationError(f"{arguments.problems[0]}; see --help")


def refuse_unknown(words: Iterable[str], parser: ArgumentParser, *, only_misspelt: bool = False) -> None:
    """Raise for the first unknown argument, and name the option that it probably stands for.

    Args:
        only_misspelt: whether to accept an argument that is not similar to a known option.

    Raises:
        ConfigurationError: there is one.
    """
    for word in words:
        from passmuster.settings.spelling import nearest  # Only needed after an error.

        meant = nearest(word.partition("=")[0], parser.known) if word.startswith("-") else None
        if meant is not None or not only_misspelt:
            advice = "see --help" if meant is None else f"did you mean {meant}?"
            raise ConfigurationError(f"unknown argument: {on_one_line(word)}; {advice}")


def read_variables(rows: Iterable[Setting], environ: Mapping[str, str]) -> tuple[GivenValue, ...]:
    """Return the values from the environment: for each row, its strongest variable that is not empty."""
    given: list[GivenValue] = []
    for row in rows:
        former = (name for name in row.renamed if name.startswith(VARIABLE_PREFIX))
        for name in (*row.variables, *former):
            if environ.get(name):
                origin = Origin(source=Source.VARIABLE, name=name)
                given.append(GivenValue(setting=row, texts=row.type.split(environ[name]), origin=origin))
                break
    return tuple(given)


def strongest_values(given: Iterable[GivenValue]) -> dict[str, GivenValue]:
    """Return the strongest value of each setting, by its name; lists from one source are concatenated."""
    strongest: dict[str, GivenValue] = {}
    for one in given:
        earlier = strongest.get(one.setting.name)
        if earlier is not None and one.setting.type.is_list and earlier.origin.source is one.origin.source:
            one = replace(one, texts=(*earlier.texts, *one.texts))
        strongest[one.setting.name] = one
    return strongest


def read_value(given: GivenValue) -> Value:
    """Return the value that was given, a path still as text.

    Raises:
        ConfigurationError: the value is not allowed.
    """
    if given.value is not None:
        return given.value
    try:
        if given.setting.type.is_list:
            return tuple(str(given.setting.type.read(text)) for text in given.texts)
        return given.setting.type.read(given.texts[0])
    except ValueError as error:
        raise ConfigurationError(
            f"wrong value for {given.setting.name}: {error} (from {given.origin})"
        ) from error


def read_record(record: type[_Record], given: Iterable[GivenValue], resolver: PathResolver) -> _Record:
    """Return a program's own options, as a record whose fields are rows.

    Raises:
        ConfigurationError: a value is not allowed.
    """
    values: dict[str, Value] = {}
    for one in strongest_values(given).values():
        value = read_value(one)
        if one.setting.type.is_path and value is not None:
            value = resolver.locate(str(value), from_file=one.from_file)
        values[one.setting.target] = value
    return record(**values)
