"""What one setting is: the record that the table `settings.py` is made of, and short ways to write one."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dispatcher.config.values import FLAG, Kind

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


class Setting(Struct, frozen=True, kw_only=True):
    """One thing a user may set.

    Args:
        name: its name for `--show-config`, and its key in the configuration file.
        target: the field of `TestConfig` it fills; `layout.X` for one of `Layout`; empty: neither.
        group: the heading of the help text under which it stands.
        kind: how its text is read.
        summary: the help text, a fragment without a full stop.
        default: what holds when nothing is given, in words.
        options: arguments that take a value.
        constants: arguments that stand for a value, each with that value's text.
        variables: environment variables, the strongest first.
        in_file: whether the configuration file may set it.
        repeats: whether a further argument adds to the earlier ones instead of replacing them.
        is_table: whether it is a table of the configuration file, which `file_tables.py` reads.
    """

    name: str
    target: str
    group: Group
    kind: Kind
    summary: str
    default: str
    options: tuple[str, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    variables: tuple[str, ...] = ()
    in_file: bool = True
    repeats: bool = False
    is_table: bool = False


def variable_name(name: str) -> str:
    """Return the environment variable of a setting: `memory-limit` is `PASSMUSTER_MEMORY_LIMIT`."""
    return f"{VARIABLE_PREFIX}{name.upper().replace('-', '_')}"


def valued(
    name: str,
    target: str,
    group: Group,
    kind: Kind,
    summary: str,
    default: str,
    *,
    short: str = "",
    aliases: tuple[str, ...] = (),
    constants: tuple[tuple[str, str], ...] = (),
    legacy: str = "",
    option: str | None = None,
    in_file: bool = True,
) -> Setting:
    """Return a setting whose argument takes a value.

    `option` is that argument where it is not `--NAME`; `aliases` are what other test runners call it.
    """
    long = f"--{name}" if option is None else option
    return Setting(
        name=name,
        target=target,
        group=group,
        kind=kind,
        summary=summary,
        default=default,
        options=tuple(word for word in (short, long, *aliases) if word),
        constants=constants,
        variables=tuple(word for word in (variable_name(name), legacy) if word),
        in_file=in_file,
        repeats=kind.is_list,
    )


def switch(
    name: str,
    target: str,
    group: Group,
    summary: str,
    *,
    default: str = "false",
    aliases: tuple[str, ...] = (),
    in_file: bool = True,
) -> Setting:
    """Return a setting that is switched on by `--NAME` or an alias, and off by `--no-NAME`."""
    constants = ((f"--{name}", "true"), (f"--no-{name}", "false"))
    others = tuple((alias, "true") for alias in aliases)
    return Setting(
        name=name,
        target=target,
        group=group,
        kind=FLAG,
        summary=summary,
        default=default,
        constants=(*(constants if default == "false" else constants[::-1]), *others),
        variables=(variable_name(name),),
        in_file=in_file,
    )


def layout(name: str, kind: Kind, summary: str, default: str) -> Setting:
    """Return a setting about where tests lie, for which there is no argument."""
    target = f"layout.{name.replace('-', '_')}"
    return valued(name, target, Group.LAYOUT, kind, summary, default, option="")


def file_only(name: str, target: str, group: Group, kind: Kind, summary: str, default: str) -> Setting:
    """Return a setting for which there is neither an argument nor a variable."""
    return Setting(name=name, target=target, group=group, kind=kind, summary=summary, default=default)


def table(name: str, kind: Kind, summary: str) -> Setting:
    """Return a setting that only the configuration file has, as a table of its own or several."""
    return Setting(
        name=name,
        target=name,
        group=Group.BY_FILE,
        kind=kind,
        summary=summary,
        default="none",
        is_table=True,
    )
