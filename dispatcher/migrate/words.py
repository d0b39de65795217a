"""Reads the words behind `migrate`, and chooses what references become."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from dispatcher.config.locations import Bases, is_directory
from dispatcher.config.values import on_one_line
from dispatcher.migrate.command_names import TESTS, NewCommand
from passmuster.errors import ConfigurationError
from passmuster.spelling import advice

_VALUED = ("--root", "--command")
_SWITCHES = ("--help", "-h", "--check", "--apply", "--rollback", "--wrappers")

_OWN_MARK = b"passmuster"
"""Both commands import this package of ours; a script of somebody else that has their name does not."""


class Way(StrEnum):
    """What is done."""

    SHOW = "show"
    CHECK = "--check"
    APPLY = "--apply"
    ROLLBACK = "--rollback"


class Words(Struct, frozen=True, kw_only=True):
    """What was asked for.

    Args:
        way: what is done.
        root: the repository, absolute.
        wrappers: whether scripts of the old names stay that call the new commands.
        command: what references become; None: what is there decides.
        wants_help: whether the help text was asked for.
    """

    way: Way
    root: Path
    wrappers: bool = False
    command: NewCommand | None = None
    wants_help: bool = False


def read_migrate_words(argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Words:
    """Return what the words ask for.

    Raises:
        ConfigurationError: a word is unknown, lacks its value, or two of them exclude each other.
    """
    ways: list[Way] = []
    wrappers, command = False, None
    root, origin = environ.get("PASSMUSTER_ROOT", ""), "PASSMUSTER_ROOT"
    for word, value in _pairs(argv):
        match word:
            case "--help" | "-h":
                return Words(way=Way.SHOW, root=cwd, wants_help=True)
            case "--check" | "--apply" | "--rollback":
                ways.append(Way(word))
            case "--wrappers":
                wrappers = True
            case "--command":
                command = _read_command(value)
            case _:
                root, origin = value, word
    chosen = sorted(set(ways))
    if len(chosen) > 1:
        raise ConfigurationError(f"{' and '.join(chosen)} cannot be combined: choose one")
    way = chosen[0] if chosen else Way.SHOW
    if way in (Way.CHECK, Way.ROLLBACK) and wrappers:
        raise ConfigurationError(f"--wrappers makes something, and {way} does not: use --apply --wrappers")
    place = Bases(cwd=cwd, root=cwd, home=environ.get("HOME", "")).locate(root or ".", from_file=False)
    if not is_directory(place):
        raise ConfigurationError(
            f"root {on_one_line(str(place))} is not a directory (from {origin}): name the repository's folder"
        )
    return Words(way=way, root=Path(os.path.realpath(place)), wrappers=wrappers, command=command)


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = list(reversed(argv))
    while words:
        word, has_value, value = words.pop().partition("=")
        if word in _VALUED:
            if not has_value and not words:
                raise ConfigurationError(f"{word} needs a value; see --help")
            yield word, value if has_value else words.pop()
        elif word in _SWITCHES and not has_value:
            yield word, ""
        else:
            shown = on_one_line(word + has_value + value)
            raise ConfigurationError(f"unknown argument: {shown}; {advice(word, (*_VALUED, *_SWITCHES))}")


def _read_command(value: str) -> NewCommand:
    try:
        return NewCommand(value if value != "run_tests.py" else NewCommand.FILE)
    except ValueError:
        raise ConfigurationError(
            f"wrong value for command: expected {' or '.join(NewCommand)}, got {value!r} (from --command)"
        ) from None


def is_our_file(path: Path) -> bool:
    """Return whether a file is one of this program's commands."""
    try:
        return _OWN_MARK in path.read_bytes()
    except OSError:
        return False


def choose_command(root: Path, environ: Mapping[str, str]) -> NewCommand | None:
    """Return what is there to be called: the file in the repository, else the installed command."""
    if is_our_file(root / f"{TESTS}.py"):
        return NewCommand.FILE
    name = NewCommand.PACKAGE.for_stem(TESTS)
    return NewCommand.PACKAGE if shutil.which(name, path=environ.get("PATH", os.defpath)) else None
