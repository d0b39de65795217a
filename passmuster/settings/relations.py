"""Checks settings against each other, by the relations that the settings declare."""

from __future__ import annotations

from collections.abc import Sequence

from passmuster.model.errors import ConfigurationError
from passmuster.settings.origins import Origins, Source
from passmuster.settings.setting import Conflict, Requirement, Setting
from passmuster.settings.values import NONE, on_one_line


class Relations:
    """The settings of one program, with a record of their values and where these came from."""

    def __init__(self, rows: Sequence[Setting], record: object, origins: Origins) -> None:
        self._rows = {row.name: row for row in rows}
        self._record = record
        self._origins = origins

    def check(self) -> None:
        """Refuse settings that exclude each other, and those without a setting that they need.

        Raises:
            ConfigurationError: there are any; the message names both and where they came from.
        """
        given = [row for row in self._rows.values() if (row.conflicts or row.needs) and self._is_set(row)]
        for row in given:
            for conflict in row.conflicts:
                other = self._rows[conflict.name]
                value = other.value_in(self._record)
                counts = self._origins[row.name].is_of_this_call or not conflict.of_this_call
                if counts and value != other.fallback and (not conflict.values or value in conflict.values):
                    raise self._conflict(row, other, conflict)
        for row in given:
            for need in row.needs:
                counts = self._origins[row.name].is_of_this_call or not need.of_this_call
                if counts and not self.is_on(need.name):
                    raise self._missing(row, self._rows[need.name], need)

    def without_effect(self) -> tuple[str, ...]:
        """Return a warning for each value of this call that has no effect without another setting.

        A value in the configuration file is meant for the runs that have the other setting.
        """
        return tuple(
            f"{self._origins[row.name]} has no effect without {_option(self._rows[row.only_with[0]])}"
            for row in self._rows.values()
            if row.only_with and self._origins[row.name].is_of_this_call and self._is_set(row)
            if not any(map(self.is_on, row.only_with))
        )

    def is_on(self, name: str) -> bool:
        """Whether a setting has a value that is not none, off or empty."""
        return self._rows[name].value_in(self._record) not in (None, False, ())

    def _is_set(self, row: Setting) -> bool:
        return row.value_in(self._record) != row.fallback

    def _conflict(self, row: Setting, other: Setting, conflict: Conflict) -> ConfigurationError:
        advice = "leave out one of them"
        if self._origins[other.name].source is not Source.ARGUMENT and other.type.none_words:
            advice += f", or give {_option(other)} {NONE}"
        value = str(other.value_in(self._record)) if conflict.values and other.options else ""
        pair = f"{self._named(row)} cannot be combined with {self._named(other, value)}"
        return ConfigurationError(f"{pair}: {conflict.why}; {advice}")

    def _missing(self, row: Setting, other: Setting, need: Requirement) -> ConfigurationError:
        origin, named = self._origins[other.name], self._named(row)
        if origin.source is Source.DEFAULT:
            metavar = f" {other.type.metavar}" if other.options else ""
            is_argument = self._origins[row.name].source is Source.ARGUMENT
            own = self._origins[row.name].name if is_argument else row.name
            return ConfigurationError(
                f"{named} needs {need.what}: give {_option(other)}{metavar}, or leave out {own}"
            )
        text = other.type.write(other.value_in(self._record)).lower()
        return ConfigurationError(
            f"{named} needs {need.what}, but {other.name} is {text} (from {origin}): leave out one of them"
        )

    def _named(self, row: Setting, value: str = "") -> str:
        """Return a setting as messages name it: the argument as typed, or its name and where it came from."""
        origin, value = self._origins[row.name], f" {value}" if value else ""
        if origin.source is not Source.ARGUMENT:
            return f"{row.name}{value} (from {origin})"
        if row.arguments:
            return f"{origin}{value}"
        values = row.value_in(self._record)
        return on_one_line(str(values[0] if isinstance(values, tuple) and values else values))


def _option(row: Setting) -> str:
    """Return the argument that sets a value or switches it on, or the setting's name if it has none."""
    words = (*row.options, *(word for word, text in row.constants if text != "false"))
    return next((word for word in words if word.startswith("--")), row.name)
