"""Where a value came from: the records that pass between the sources, the merge and the checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from dispatcher.config.model import TestConfig
from dispatcher.config.setting import Setting
from dispatcher.config.values import on_one_line

DEFAULT = "default"
"""The origin of a value that nobody gave."""


class Given(Struct, frozen=True, kw_only=True):
    """A value that somebody gave, still as text.

    Args:
        setting: what it is for.
        texts: one text, or for a list each of its items.
        origin: where it was given, as a person would look for it.
        value: what a table was read as; None: the texts are still to be read.
        from_file: whether paths in it are relative to the root instead of the current directory.
    """

    setting: Setting
    texts: tuple[str, ...]
    origin: str
    value: tuple[object, ...] | None = None
    from_file: bool = False


class Origin(NamedTuple):
    """The value of one setting as text, and where it came from."""

    name: str
    value: str
    origin: str


class Loaded(Struct, frozen=True, kw_only=True):
    """A complete configuration.

    Args:
        config: the values.
        origins: one for every setting, in the order of the table.
        warnings: lines for the user that stop nothing, without a tag.
    """

    config: TestConfig
    origins: tuple[Origin, ...]
    warnings: tuple[str, ...] = ()


def origin_of(name: str, origins: Iterable[Origin]) -> str:
    """Return where the setting `name` came from; `default` when it is not among `origins`."""
    return next((origin.origin for origin in origins if origin.name == name), DEFAULT)


def printable_list(texts: Iterable[str]) -> str:
    """Return texts joined by commas, on one line whatever they hold."""
    return ", ".join(on_one_line(text) for text in texts)
