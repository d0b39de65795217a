"""Records the origin of each value, for the merge of the sources, the checks, and error messages."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from msgspec import Struct

from passmuster.settings.setting import Setting


class Source(Enum):
    """The places where a value can be given, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    VARIABLE = "variable"
    ARGUMENT = "argument"


class Origin(Struct, frozen=True, kw_only=True):
    """Where a value was given."""

    source: Source
    name: str  # the place as messages name it: an option as typed, a variable, or a key with its file

    def __str__(self) -> str:
        return self.name

    @property
    def is_of_this_call(self) -> bool:
        """Whether this call gave the value: the configuration file applies to other calls too."""
        return self.source in (Source.VARIABLE, Source.ARGUMENT)


DEFAULT = Origin(source=Source.DEFAULT, name="default")
"""The origin of a value that was not given."""


class Origins(dict[str, Origin]):
    """Where each value of a configuration came from, by the setting's name; `DEFAULT` for all others."""

    def __missing__(self, name: str) -> Origin:
        return DEFAULT


NO_ORIGINS = Origins()
"""For a configuration that was made in Python: the caller gave each value."""


class GivenValue(Struct, frozen=True, kw_only=True):
    """A value that was given, still as text."""

    setting: Setting
    texts: tuple[str, ...]  # one text, or for a list each of its items
    origin: Origin
    key: str = ""  # the key in the configuration file; empty: it is not from there
    value: tuple[object, ...] | None = None  # the content of a table; None: the texts are still to be read

    @property
    def from_file(self) -> bool:
        """Whether the configuration file gave it: its paths are then relative to the root."""
        return self.origin.source is Source.FILE


def rename_notes(given: Iterable[GivenValue]) -> tuple[str, ...]:
    """Return a line for each former name of a setting that was used."""
    spellings = [(one.setting, one.key or one.origin.name, one.origin) for one in given]
    return tuple(
        f"{origin} is now {setting.renamed[spelling]}; the next version no longer accepts the old name"
        for setting, spelling, origin in spellings
        if spelling in setting.renamed
    )
