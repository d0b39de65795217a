"""Reads the tables of the configuration file that hold for some files only: overrides and groups.

    [[tool.passmuster.overrides]]
    files = ["tests/db/**"]
    group = "database"
    timeout = "10m"

    [tool.passmuster.groups.database]
    max = 2

Their values are of the same kinds as the settings' (`values.py`). Loaded only where there are such tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from dispatcher.config.choices import SERIAL, FileGroup, Override
from dispatcher.config.model import MAX_JOBS
from dispatcher.config.settings import SETTINGS
from dispatcher.config.sources import described, texts_of
from passmuster.command_template import words_problem
from passmuster.errors import ConfigurationError
from passmuster.path_patterns import normal_pattern
from passmuster.settings.setting import Setting
from passmuster.settings.values import FLAG, TEXT, TEXTS, Kind, Value, count, on_one_line
from passmuster.status import Isolation, RunnerKind
from passmuster.units import Amount

_Type = TypeVar("_Type")

OVERRIDE_KEYS: dict[str, Kind] = {
    "files": TEXTS,
    **{row.per_file: row.kind.without_none or row.kind for row in SETTINGS if row.per_file},
    "group": TEXT,
    "serial": FLAG,
}
"""The keys of an override: which files, the settings that may differ from file to file, and their group.
`serial = true` is a group of its own of which one file runs at a time."""

GROUP_KEYS: dict[str, Kind] = {"max": count(least=1, most=MAX_JOBS)}
"""The keys of a group."""


def read_table(setting: Setting, value: object, origin: str) -> tuple[tuple[str, ...], tuple[object, ...]]:
    """Return what a table holds: a line for people for each of its parts, and each part as a record.

    Args:
        setting: `overrides` or `groups`.
        value: as the parser returned it.
        origin: where it stands.

    Raises:
        ConfigurationError: it is none, or holds an unknown key or a wrong value.
    """
    kind = setting.kind
    if type(value) not in kind.toml_types:
        raise _wrong_type(setting.name, kind.allowed, value, origin)
    if isinstance(value, list):
        overrides = [_override(item, f"{origin}, number {n}") for n, item in enumerate(value, start=1)]
        return tuple(map(_override_text, overrides)), tuple(overrides)
    assert isinstance(value, dict)
    groups = [_group(name, table, origin) for name, table in value.items()]
    return tuple(f"{on_one_line(group.name)} (max {group.most})" for group in groups), tuple(groups)


def _override(value: object, origin: str) -> Override:
    read = _read_keys("override", OVERRIDE_KEYS, value, origin)
    files = read.get("files")
    if not isinstance(files, tuple) or not files:
        raise ConfigurationError(f"an override needs files, a list of patterns ({origin})")
    patterns = tuple(_pattern(str(pattern), origin) for pattern in files)
    group = read.get("group")
    serial = read.get("serial")
    if group is not None and serial:
        raise ConfigurationError(f"group and serial cannot be combined ({origin}): choose one")
    if serial is not None and group is None:
        group = SERIAL + ", ".join(patterns) if serial else ""
    runner, command = read.get("runner"), read.get("command")
    if command is not None:
        assert isinstance(command, tuple)
        if problem := words_problem(tuple(map(str, command))):
            raise ConfigurationError(f"wrong value for command: {problem} (from {origin})")
        if runner not in (None, RunnerKind.COMMAND):
            raise ConfigurationError(f"runner {runner} and command cannot be combined ({origin}): choose one")
        runner = RunnerKind.COMMAND
    return Override(
        files=patterns,
        isolation=_of(Isolation, read.get("isolation")),
        runner=_of(RunnerKind, runner),
        command=None if command is None else tuple(map(str, command)),
        timeout_s=_of(float, read.get("timeout")),
        memory=_of(Amount, read.get("memory")),
        retries=_of(int, read.get("retries")),
        group=_of(str, group),
    )


def _pattern(text: str, origin: str) -> str:
    pattern = normal_pattern(text)
    if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
        raise ConfigurationError(
            "wrong value for files: expected patterns relative to the root, without '..', "
            f"got {text!r} (from {origin})"
        )
    return pattern


def _group(name: str, value: object, origin: str) -> FileGroup:
    place = f"{origin}, {on_one_line(name)}"
    if not name.strip() or name.startswith(SERIAL):
        raise ConfigurationError(f"a group cannot be called {name!r} (from {origin})")
    most = _read_keys("group", GROUP_KEYS, value, place).get("max")
    if not isinstance(most, int):
        raise ConfigurationError(f"a group needs max, {GROUP_KEYS['max'].allowed} ({place})")
    return FileGroup(name=name, most=most)


def _read_keys(what: str, kinds: Mapping[str, Kind], value: object, origin: str) -> dict[str, Value]:
    """Return the values of one table by key."""
    if not isinstance(value, dict):
        raise _wrong_type(what, "a table", value, origin)
    read: dict[str, Value] = {}
    for key, given in value.items():
        kind = kinds.get(key)
        if kind is None:
            matches = get_close_matches(key, kinds, n=1)
            advice = f"did you mean {matches[0]}?" if matches else f"known are {', '.join(kinds)}"
            raise ConfigurationError(f"unknown key {on_one_line(key)!r} ({origin}): {advice}")
        texts = texts_of(key, kind, given, origin)
        try:
            values = tuple(kind.read(text) for text in texts)
        except ValueError as error:
            raise ConfigurationError(f"wrong value for {key}: {error} (from {origin})") from error
        read[key] = values if kind.is_list else values[0]
    return read


def _of(expected: type[_Type], value: Value) -> _Type | None:
    """Return a value as the type that its kind reads it as."""
    assert value is None or isinstance(value, expected)
    return value


def _wrong_type(name: str, allowed: str, value: object, origin: str) -> ConfigurationError:
    return ConfigurationError(
        f"wrong type for {name}: expected {allowed}, got {described(value)} (from {origin})"
    )


def _override_text(override: Override) -> str:
    """Return one override as a line, for `--show-config`."""
    facts = (
        ("isolation", override.isolation),
        ("runner", override.runner),
        ("command", None if override.command is None else list(override.command)),
        ("timeout", None if override.timeout_s is None else f"{override.timeout_s:g}s"),
        ("memory", override.memory),
        ("retries", override.retries),
        ("group", override.group),
    )
    shown = " ".join(f"{name}={value}" for name, value in facts if value is not None)
    return on_one_line(f"{' '.join(override.files)}: {shown}")
