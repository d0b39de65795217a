"""What one setting is: a row of a table, written as the annotation of the field that holds its value.

    timeout_s: Annotated[float, setting("timeout", TIME, Group.LIMITS, "time for each file")] = 300.0

Everything that is said about a setting is said there: the readers of arguments, variables and the
configuration file, the checks, the help, the reference and the shell completion all go by the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from passmuster.settings.values import FLAG, Value, ValueType

VARIABLE_PREFIX = "PASSMUSTER_"
"""What the variables of all settings start with."""


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
    """A setting that this one cannot be combined with.

    Args:
        name: the other setting.
        why: the reason, as it follows a colon.
        values: the values of the other setting that this holds for; empty: every one but its default.
        of_this_call: whether it holds only for a value that this call gives, not for one from the file.
    """

    name: str
    why: str
    values: tuple[Value, ...] = ()
    of_this_call: bool = False


class Requirement(Struct, frozen=True, kw_only=True):
    """A setting that this one is nothing without.

    Args:
        name: the other setting.
        what: what it stands for, as it follows "needs".
        of_this_call: as for `With`.
    """

    name: str
    what: str
    of_this_call: bool = False


class Setting(Struct, frozen=True, kw_only=True):
    """One thing a user may set.

    Args:
        name: its name for `--show-config`, and its key in the configuration file.
        group: the heading of the help text under which it stands.
        kind: how its text is read.
        summary: the help text, a fragment without a full stop.
        target: the field that holds its value; `layout.X` for one of a record in the field `layout`.
        fallback: the field's default.
        default: the default in words, where it is worked out at run time; empty: `fallback` as text.
        options: arguments that take a value.
        constants: arguments that stand for a value, each with that value's text.
        values_help: the help text of each value, where each has its own.
        variables: environment variables, the strongest first.
        is_exclusive: whether its words exclude each other; else the last one counts.
        in_file: whether the configuration file may set it.
        is_table: whether it is a table of the configuration file, which `file.py` reads.
        whole_run: whether it says which files run, or what is made of all of them: nothing for a single file.
        same_on_all: whether all machines of a joined run must have the same value.
        many_machines: whether it is about other machines, so that a run on this one alone leaves it out.
        per_file: its key in an override, which sets it for some files; empty: it has none.
        commands: the subcommands that take it, besides a run.
        is_secret: whether its value, or the file it names, holds a secret: tests never see its variables.
        worker_option: whether a worker that the run starts on this machine gets it, by the same name.
        only_with: settings of which one must be on, else it has no effect.
        conflicts: what it cannot be combined with.
        needs: what must be on.
    """

    name: str
    group: Group
    type: ValueType
    summary: str
    target: str = ""
    fallback: Value = None
    default: str = ""
    options: tuple[str, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    values_help: tuple[tuple[str, str], ...] = ()
    variables: tuple[str, ...] = ()
    is_exclusive: bool = False
    in_file: bool = True
    is_table: bool = False
    whole_run: bool = False
    same_on_all: bool = False
    many_machines: bool = False
    per_file: str = ""
    commands: tuple[str, ...] = ()
    is_secret: bool = False
    worker_option: bool = False
    only_with: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    needs: tuple[Requirement, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All its arguments."""
        return (*self.options, *(word for word, _ in self.constants))

    def help_of(self, word: str) -> str:
        """Return the help text of one of its arguments."""
        text = dict(self.constants).get(word, "")
        if dict(self.values_help).get(text):
            return dict(self.values_help)[text]
        return f"do not {self.summary}" if text == "false" else self.summary

    @property
    def default_text(self) -> str:
        """The default as text for the user."""
        return self.default or self.type.write(self.fallback)

    def value_in(self, record: object) -> Value:
        """Return the value that a record of the table holds."""
        for name in self.target.split("."):
            record = getattr(record, name)
        return record


def variable_name(name: str) -> str:
    """Return the environment variable of a setting: `memory-limit` is `PASSMUSTER_MEMORY_LIMIT`."""
    return f"{VARIABLE_PREFIX}{name.upper().replace('-', '_')}"


def setting(
    name: str,
    kind: ValueType,
    group: Group,
    summary: str,
    *,
    short: str = "",
    aliases: tuple[str, ...] = (),
    legacy: str = "",
    option: str | None = None,
    **others: Any,
) -> Setting:
    """Return the row of a setting whose argument takes a value.

    Args:
        name: see `Setting`.
        kind: see `Setting`.
        group: see `Setting`.
        summary: see `Setting`.
        short: the one-letter option, such as `-j`.
        aliases: names of the option in other test runners.
        legacy: the equivalent variable of the shell scripts.
        option: the option if it is not `--NAME`; empty: none.
        others: further fields of `Setting`.
    """
    long = f"--{name}" if option is None else option
    return Setting(
        name=name,
        group=group,
        type=kind,
        summary=summary,
        options=tuple(word for word in (short, long, *aliases) if word),
        variables=tuple(word for word in (variable_name(name), legacy) if word),
        **others,
    )


def switch(
    name: str,
    group: Group,
    summary: str,
    *,
    is_on: bool = False,
    aliases: tuple[str, ...] = (),
    **others: Any,
) -> Setting:
    """Return the row of a setting that `--NAME` or an alias switches on, and `--no-NAME` off.

    Args:
        name: see `Setting`.
        group: see `Setting`.
        summary: see `Setting`.
        is_on: whether it is on by default; the help shows the option that changes the default.
        aliases: names of the option in other test runners.
        others: further fields of `Setting`.
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


def option(name: str, kind: ValueType, summary: str, **others: Any) -> Setting:
    """Return the row of a program's own argument `--NAME VALUE`, for which there is no variable."""
    return Setting(
        name=name,
        group=Group.OTHER,
        type=kind,
        summary=summary,
        options=(f"--{name}",),
        in_file=False,
        **others,
    )


def flag(name: str, summary: str, **others: Any) -> Setting:
    """Return the row of a program's own argument `--NAME`, for which there is no variable."""
    return Setting(
        name=name,
        group=Group.OTHER,
        type=FLAG,
        summary=summary,
        constants=((f"--{name}", "true"),),
        in_file=False,
        **others,
    )


def layout(name: str, kind: ValueType, summary: str, default: str) -> Setting:
    """Return the row of a setting about where tests lie, for which there is no argument."""
    return setting(name, kind, Group.LAYOUT, summary, option="", default=default)


def table(name: str, kind: ValueType, summary: str, **others: Any) -> Setting:
    """Return the row of a setting that only the configuration file has, as a table of its own or several."""
    return Setting(
        name=name,
        group=Group.BY_FILE,
        type=kind,
        summary=summary,
        default="none",
        is_table=True,
        **others,
    )


def rows_of(record: type) -> tuple[Setting, ...]:
    """Return the rows of a record's fields, by the headings of the help text, each in the fields' order.

    A field without a row holds another record with rows.

    Args:
        record: a class of which every field has a default. Its annotations must not be strings: its module
            has no `from __future__ import annotations`.
    """
    return tuple(sorted(_rows(record, ""), key=lambda row: _ORDER[row.group]))


_ORDER = {group: place for place, group in enumerate(Group)}


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
