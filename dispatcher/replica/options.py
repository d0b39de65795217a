"""Selects the options of a CI command that the replica forwards to a run on this machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from dispatcher.config.settings import SETTINGS
from dispatcher.replica.expressions import Unknowns
from passmuster.settings.setting import Group, Setting

_VALUED = {word for row in SETTINGS for word in row.options if word not in dict(row.constants)}
"""Options whose value may be the next word."""

_SETTING_OF: dict[str, Setting] = {word: setting for setting in SETTINGS for word in setting.arguments}

_ELSEWHERE = [row for row in SETTINGS if row.group in (Group.QUEUE, Group.SHARDS) or row.name == "resume"]
"""The settings about shards, queues, and runs that are somewhere else."""

OF_MANY_MACHINES = frozenset(name for setting in _ELSEWHERE for name in setting.variables)
"""Their variables."""


class ForwardedOptions(Struct, frozen=True, kw_only=True):
    """The forwarded options, and those that are not.

    Args:
        elsewhere: dropped options about other machines, as written.
        unresolved: dropped options and paths with an unknown part, as written.
    """

    arguments: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()


def forward_options(arguments: Sequence[str], unknowns: Unknowns) -> ForwardedOptions:
    """Return which arguments of `run_tests.py` can be forwarded to a run on this machine alone."""
    forwarded: list[str] = []
    elsewhere: list[str] = []
    unresolved: list[str] = []
    for group, setting in _groups(arguments):
        shown = unknowns.restore(" ".join(group))
        if setting in _ELSEWHERE:
            elsewhere.append(shown)
        elif any(map(unknowns.are_in, group)):
            unresolved.append(shown)
        else:
            forwarded.extend(group)
    return ForwardedOptions(
        arguments=tuple(forwarded), elsewhere=tuple(elsewhere), unresolved=tuple(unresolved)
    )


def _groups(arguments: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Setting | None]]:
    """Yield each option together with its value, and each path, with the setting that it belongs to."""
    words = list(reversed(arguments))
    while words:
        word = words.pop()
        option = _option(word)
        if word == "--":
            yield (word, *reversed(words)), None
            return
        takes_next = option in _VALUED and (word == option or word.endswith(option[1:]))
        group = (word, words.pop()) if takes_next and words else (word,)
        yield group, _SETTING_OF.get(option)


def _option(word: str) -> str:
    """Return the option in a word: `--limit` of `--limit=3`, `-j` of `-qj4`; else the word itself."""
    if word.startswith("--"):
        return word.partition("=")[0]
    if not word.startswith("-"):
        return word
    letters = (f"-{letter}" for letter in word[1:])
    return next((letter for letter in letters if letter in _VALUED), word)
