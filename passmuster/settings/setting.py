"""Defines what one setting is: a row, written as the annotation of the field that holds its value.

    timeout_s: Annotated[float, setting("timeout", TIME, "time for each file", group=Group.LIMITS)] = 300.0

The readers of arguments, variables and the configuration file, the checks, the help, the reference, shell
completion and the JSON schema all use the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from passmuster.settings.values import FLAG, NONE, Value, ValueType

VARIABLE_PREFIX = "PASSMUSTER_"
"""The prefix of the environment variables of all settings."""


class Group(StrEnum):
    """The headings of the help text, in their order."""

    SELECTION = "What runs"
    EXECUTION = "How a file runs"
    LIMITS = "Limits"
    QUEUE = "On many machines"
    SHARDS = "On many machines with nothing between them"
    COVERAGE = "Coverage"
    OUTPUT = "Output"
    BY_FILE = "For some files only (configuration file only)"
    LAYOUT = "Layout (configuration file and variables only)"
    OTHER = "Other"


class Conflict(Struct, frozen=True, kw_only=True):
    """A setting that this one cannot be combined with."""

    name: str  # the other setting
    why: str  # the reason, as it follows a colon
    values: tuple[Value, ...] = ()
    """The conflicting values of the other setting; empty: every one but its default."""
    of_this_call: bool = False
    """Whether the conflict exists only for a value that this call gives, not for one from the file."""


class Requirement(Struct, frozen=True, kw_only=True):
    """A setting that this one needs."""

    name: str
    what: str  # what the needed setting stands for, as it follows "needs"
    of_this_call: bool = False  # as in `Conflict`


class Setting(Struct, frozen=True, kw_only=True):
    """One thing that a user can set."""

    name: str  # its name for `--show-config`, and its key in the configuration file
    group: Group
    type: ValueType
    summary: str  # the help text, a fragment without a full stop
    target: str = ""  # the field that holds its value; `layout.X` for one of a record in the field `layout`
    fallback: Value = None  # the field's default
    default: str = (
        ""  # the default in words if it is determined at run time; empty: `fallback` as text, or none
    )
    options: tuple[str, ...] = ()  # arguments that take a value
    constants: tuple[tuple[str, str], ...] = ()
    """Arguments that stand for a value, each with the text of that value."""
    values_help: tuple[tuple[str, str], ...] = ()  # the help text of each value, if each has its own
    variables: tuple[str, ...] = ()  # environment variables, the strongest first
    renamed_from: str = ""
    """Its former name, which still works with a note for one version: as option, variable and key."""
    is_exclusive: bool = False  # whether its arguments exclude each other; else the last one counts
    in_file: bool = True  # whether the configuration file can set it
    is_table: bool = False  # whether it is a table of the configuration file, which `file.py` reads
    only_with: tuple[str, ...] = ()  # settings of which one must be on, else it has no effect
    conflicts: tuple[Conflict, ...] = ()
    needs: tuple[Requirement, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """All its arguments, without former names."""
        return tuple(dict.fromkeys((*self.options, *(argument for argument, _ in self.constants))))

    @property
    def renamed(self) -> dict[str, str]:
        """The former option, variable and key, each with its present spelling."""
        if not self.renamed_from:
            return {}
        spellings = (self.name, *self.arguments, *self.variables)
        forms = ("{}", "--{}", "--no-{}")
        pairs = [(form.format(self.renamed_from), form.format(self.name)) for form in forms]
        pairs.append((variable_name(self.renamed_from), variable_name(self.name)))
        return {former: present for former, present in pairs if present in spellings}

    def help_of(self, argument: str) -> str:
        """Return the help text of one of its arguments."""
        text = dict(self.constants).get(argument, "")
        if text in dict(self.values_help):
            return dict(self.values_help)[text]
        return f"do not {self.summary}" if text == "false" else self.summary

    @property
    def default_text(self) -> str:
        """The default as text for the user."""
        return self.default or (NONE if self.fallback in (None, ()) else self.type.write(self.fallback))

    def value_in(self, record: object) -> Value:
        """Return the value in a record of the table."""
        for name in self.target.split("."):
            record = getattr(record, name)
        return record


def variable_name(name: str) -> str:
    """Return the environment variable of a setting: `PASSMUSTER_MEMORY_LIMIT` for `memory-limit`."""
    return f"{VARIABLE_PREFIX}{name.upper().replace('-', '_')}"


def setting(
    name: str,
    type: ValueType,
    summary: str,
    *,
    group: Group,
    short: str = "",
    aliases: tuple[str, ...] = (),
    legacy: str = "",
    option: str | None = None,
    **others: Any,
) -> Setting:
    """Return the row of a setting whose argument takes a value.

    Args:
        short: the one-letter option, such as `-j`.
        aliases: names of the option in other test runners.
        legacy: the equivalent variable of the shell scripts.
        option: the option if it is not `--NAME`; empty: none.
    """
    long = f"--{name}" if option is None else option
    return Setting(
        name=name,
        group=group,
        type=type,
        summary=summary,
        options=tuple(filter(None, (short, long, *aliases))),
        variables=tuple(filter(None, (variable_name(name), legacy))),
        **others,
    )


def switch(
    name: str,
    summary: str,
    *,
    group: Group,
    is_on: bool = False,
    aliases: tuple[str, ...] = (),
    **others: Any,
) -> Setting:
    """Return the row of a setting that `--NAME` or an alias switches on, and `--no-NAME` off.

    Args:
        is_on: whether it is on by default; the help shows the option that changes the default.
    """
    constants = ((f"--{name}", "true"), (f"--no-{name}", "false"))
    return Setting(
        name=name,
        group=group,
        type=FLAG,
        summary=summary,
        constants=(*(constants[::-1] if is_on else constants), *((alias, "true") for alias in aliases)),
        variables=(variable_name(name),),
        **others,
    )


def option(
    name: str,
    type: ValueType,
    summary: str,
    *,
    group: Group = Group.OTHER,
    variables: tuple[str, ...] = (),
    **others: Any,
) -> Setting:
    """Return the row of a program's own argument `--NAME VALUE`, which has no key."""
    row = setting(name, type, summary, group=group, in_file=False, **others)
    return replace(row, variables=variables)


def flag(name: str, summary: str, *, aliases: tuple[str, ...] = (), **others: Any) -> Setting:
    """Return the row of a program's own argument `--NAME`, which has no variable and no key."""
    return Setting(
        name=name,
        group=Group.OTHER,
        type=FLAG,
        summary=summary,
        constants=tuple((argument, "true") for argument in (f"--{name}", *aliases)),
        in_file=False,
        **others,
    )


def layout(name: str, type: ValueType, summary: str, default: str) -> Setting:
    """Return the row of a setting about the location of tests, which has no argument."""
    return setting(name, type, summary, group=Group.LAYOUT, option="", default=default)


def table(name: str, type: ValueType, summary: str, **others: Any) -> Setting:
    """Return the row of a setting that only the configuration file has, as one table or several."""
    return Setting(name=name, group=Group.BY_FILE, type=type, summary=summary, is_table=True, **others)


def rows_of(record: type) -> tuple[Setting, ...]:
    """Return the rows of a record's fields, in the order of the headings, then of the fields.

    A field without a row holds another record with rows.

    Args:
        record: a class whose fields all have defaults. Its annotations must not be strings: its module has no
            `from __future__ import annotations`.
    """
    groups = list(Group)
    return tuple(sorted(_rows(record, ""), key=lambda row: groups.index(row.group)))


def _rows(record: type, prefix: str) -> Iterator[Setting]:
    defaults = record()
    for owner in reversed(record.__mro__):
        for name, annotation in getattr(owner, "__annotations__", {}).items():
            fallback = getattr(defaults, name)
            rows = getattr(annotation, "__metadata__", ())
            for row in rows:
                yield replace(row, target=f"{prefix}{name}", fallback=fallback)
            if not rows and isinstance(annotation, type):
                yield from _rows(annotation, f"{prefix}{name}.")
