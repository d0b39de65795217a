"""Combines all sources into one configuration: arguments over environment over file over defaults.

Every given value is read and checked, even if a stronger source overrides it, so that a mistake in a file
shows at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.config.choices import AUTO_SHARD, IN_RUN
from dispatcher.config.file import read_environment, read_file
from dispatcher.config.model import Layout, TestConfig
from dispatcher.config.settings import PATHS, PYTEST_ARGUMENTS, ROOT, RUN_PARSER, SETTINGS
from dispatcher.config.validate import validate
from dispatcher.model.shard_option import shard_of
from passmuster.model.errors import ConfigurationError
from passmuster.settings.argument_parser import ParsedArguments, read_value, strongest_values
from passmuster.settings.origins import GivenValue, Origin, Origins, Source, rename_notes
from passmuster.settings.path_resolver import PathResolver, is_directory
from passmuster.settings.values import Value, on_one_line


class Loaded(Struct, frozen=True, kw_only=True):
    """A complete configuration."""

    config: TestConfig
    origins: Origins
    texts: Mapping[str, str]  # the given values, as `--show-config` prints them, by the setting's name
    warnings: tuple[str, ...] = ()  # lines for the user, without a tag; none of them stops the run
    notes: tuple[str, ...] = ()  # lines about former names that were used


_THE_ARGUMENTS = Origin(source=Source.ARGUMENT, name="the arguments")
_AFTER_DASHES = Origin(source=Source.ARGUMENT, name="the arguments after --")
_THE_CURRENT_DIRECTORY = Origin(source=Source.DEFAULT, name="the current directory")


def load_config(argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Loaded:
    """Return the configuration of a run, with the origin of each value and the warnings.

    Args:
        cwd: the caller's current directory, absolute.

    Raises:
        ConfigurationError: a value is wrong; the message names it, its origin, and what is allowed.
    """
    arguments = RUN_PARSER.parse(argv)
    if arguments.problems:
        raise ConfigurationError(arguments.problems[0])
    if arguments.unknown:
        # Rarely needed.
        from dispatcher.config.unknown_arguments import refuse_options

        refuse_options(arguments.unknown, argv)
    return config_of(arguments, environ, cwd)


def config_of(arguments: ParsedArguments, environ: Mapping[str, str], cwd: Path) -> Loaded:
    """Return the configuration of a run from parsed arguments without problems; see `load_config`."""
    stronger = (*read_environment(environ), *_from_arguments(arguments))
    root, root_given = _find_root(stronger, cwd, environ)
    resolver = PathResolver(cwd=cwd, root=root, home=environ.get("HOME", ""))
    winners: dict[str, tuple[GivenValue, Value]] = {}
    all_given = (*read_file(root), *stronger)
    for given in all_given:
        winners[given.setting.name] = (given, _read(given, resolver, environ))
    winners[ROOT.name] = (root_given, root)
    config = _config_of(winners.values())
    origins = Origins({name: given.origin for name, (given, _) in winners.items()})
    if arguments.unknown and config.strict_args:
        word = on_one_line(arguments.unknown[0])
        raise ConfigurationError(f"unknown argument: {word} (--strict-args is on); see --help")
    # As the shell scripts warned.
    unknown = (f"Unknown argument: {on_one_line(word)}" for word in arguments.unknown)
    return Loaded(
        config=config,
        origins=origins,
        texts={name: _shown(given, value) for name, (given, value) in winners.items()},
        warnings=(*unknown, *validate(config, origins)),
        notes=rename_notes(all_given),
    )


def _from_arguments(arguments: ParsedArguments) -> tuple[GivenValue, ...]:
    given = strongest_values(arguments.given)
    if arguments.paths:
        given[PATHS.name] = GivenValue(setting=PATHS, texts=tuple(arguments.paths), origin=_THE_ARGUMENTS)
    if arguments.passed_on:
        given[PYTEST_ARGUMENTS.name] = GivenValue(
            setting=PYTEST_ARGUMENTS, texts=tuple(arguments.passed_on), origin=_AFTER_DASHES
        )
    return tuple(given.values())


def _find_root(
    stronger: Sequence[GivenValue], cwd: Path, environ: Mapping[str, str]
) -> tuple[Path, GivenValue]:
    """Return the root, with symlinks resolved, and where it was given."""
    default = GivenValue(setting=ROOT, texts=(str(cwd),), origin=_THE_CURRENT_DIRECTORY)
    given = next((given for given in reversed(stronger) if given.setting is ROOT), default)
    resolver = PathResolver(cwd=cwd, root=cwd, home=environ.get("HOME", ""))
    path = resolver.locate(str(read_value(given)), from_file=False)
    if not is_directory(path):
        what = "is not a directory" if os.path.lexists(path) else "does not exist"
        raise ConfigurationError(
            f"root {on_one_line(str(path))} {what} (from {given.origin}): name the project's folder"
        )
    return Path(os.path.realpath(path)), given


def _read(given: GivenValue, resolver: PathResolver, environ: Mapping[str, str]) -> Value:
    value = read_value(given)
    if value is None:
        return None
    if value == AUTO_SHARD:
        return shard_of(environ, origin=given.origin.name)
    if value == IN_RUN:
        return Path()
    if given.setting.type.is_path:
        return resolver.locate(str(value), from_file=given.from_file)
    if given.setting.name == "python":
        return resolver.locate_interpreter(str(value), from_file=given.from_file)
    return value


def _config_of(winners: Iterable[tuple[GivenValue, Value]]) -> TestConfig:
    """Return the configuration with these values. A test compares the types of rows and fields."""
    fields: dict[str, Value] = {}
    layout: dict[str, Value] = {}
    for given, value in winners:
        prefix, _, name = given.setting.target.rpartition(".")
        (layout if prefix else fields)[name] = value
    return replace(TestConfig(), layout=replace(Layout(), **layout), **fields)


def _shown(given: GivenValue, value: Value) -> str:
    """Return a value for people: without secrets, on one line."""
    if isinstance(value, Path) or given.setting.name == "python":
        return on_one_line(str(value))
    shown = given.setting.type.shown
    texts = given.texts if shown is None else map(shown, given.texts)
    return ", ".join(map(on_one_line, texts))


def format_config(loaded: Loaded) -> str:
    """Return every setting once, as aligned lines `name = value   (origin)`, without a final newline."""
    rows = [
        (one.name, loaded.texts.get(one.name, one.default_text), loaded.origins[one.name]) for one in SETTINGS
    ]
    names = max(len(name) for name, _, _ in rows)
    # One very long value must not push the origins of all others off the screen.
    values = max((len(value) for _, value, _ in rows if len(value) <= MAX_ALIGNED_CHARS), default=0)
    return "\n".join(f"{name:<{names}} = {value:<{values}}   ({origin})" for name, value, origin in rows)


MAX_ALIGNED_CHARS = 60
"""Characters of the longest value whose origin is aligned with those of the others."""
