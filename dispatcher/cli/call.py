"""How a subcommand is called: its part of the command line, read, and what it gets of the process.

It takes some of the settings and switches of its own; unknown words are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from dispatcher.config.choices import Subcommand
from dispatcher.config.command_line import parse_arguments
from dispatcher.config.load import load_config
from dispatcher.config.model import TestConfig
from dispatcher.config.settings import PATHS, SETTINGS
from dispatcher.config.values import on_one_line
from dispatcher.engine.backend import Site
from dispatcher.terminal.stream import TextStream
from passmuster.model.errors import ConfigurationError
from passmuster.model.hidden_fields import repr_without


class Call(Struct, frozen=True, kw_only=True):
    """How a subcommand was called.

    Args:
        argv: the words behind it.
        environ: the environment.
        cwd: the current directory, absolute.
        program: the program and the subcommand, as the user called them.
        write: prints text.
        stdout: where `write` prints to.
        stderr: where warnings and errors go.
        runner_python: the interpreter for a project that has none.
        site: where files would run.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path
    program: str
    write: Callable[[str], None]
    stdout: TextStream
    stderr: TextStream
    runner_python: str
    site: Site

    __repr__ = repr_without("environ")


class Words(Struct, frozen=True, kw_only=True):
    """What was asked of a subcommand.

    Args:
        config: the settings, those of environment and configuration file included; the default with
            `wants_help`.
        switches: its own that were given.
        wants_help: whether its help text was asked for.
    """

    config: TestConfig
    switches: frozenset[str] = frozenset()
    wants_help: bool = False


def read_words(
    argv: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    command: Subcommand,
    switches: Collection[str] = (),
) -> Words:
    """Return what the words behind a subcommand ask for.

    Args:
        argv: the words.
        environ: the environment.
        cwd: the current directory, absolute.
        command: the subcommand; it takes the settings that name it.
        switches: its own words.

    Raises:
        ConfigurationError: a word is none of these, or a value is wrong.
    """
    plain = [word for word in argv if word not in switches]
    arguments = parse_arguments(plain)
    if arguments.wants_help:
        return Words(config=TestConfig(), wants_help=True)
    taken = [setting for setting in SETTINGS if command in setting.commands]
    wrong = [*arguments.unknown, *(() if PATHS in taken else arguments.paths)]
    wrong += [given.origin.name for given in arguments.given if given.setting not in taken]
    if wrong:
        from passmuster.settings.spelling import advice  # Only ever needed on the way out.

        words = [word for setting in taken for word in setting.words]
        what_to_do = advice(wrong[0].partition("=")[0], (*switches, *words))
        raise ConfigurationError(f"unknown argument: {on_one_line(wrong[0])}; {what_to_do}")
    config = load_config(plain, environ, cwd).config
    return Words(config=config, switches=frozenset(argv) & frozenset(switches))
