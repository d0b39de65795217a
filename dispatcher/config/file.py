"""Reads the environment and `[tool.passmuster]` of the root's `pyproject.toml` by the table of settings.

`passmuster/settings/argument_parser.py` reads the third source, the command line. The tables for some files
only are read here too:

    [[tool.passmuster.overrides]]
    files = ["tests/db/**"]
    group = "database"
    timeout = "10m"

    [tool.passmuster.groups.database]
    max = 2

Their values are of the same kinds as those of the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from dispatcher.config.choices import SERIAL, FileGroup, Override
from dispatcher.config.model import MAX_JOBS
from dispatcher.config.settings import BY_NAME, SETTINGS
from passmuster.model.command_template import words_problem
from passmuster.model.errors import ConfigurationError
from passmuster.model.path_patterns import normal_pattern
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.units import Amount
from passmuster.settings.argument_parser import read_variables
from passmuster.settings.origins import GivenValue, Origin, Source
from passmuster.settings.setting import VARIABLE_PREFIX, Setting
from passmuster.settings.values import FLAG, TEXT, TEXTS, Value, ValueType, count, on_one_line

FILE_NAME = "pyproject.toml"
_MARK = b"passmuster"
_VARIABLES = frozenset(name for setting in SETTINGS for name in setting.variables)

_TOML_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}


def read_environment(environ: Mapping[str, str]) -> tuple[GivenValue, ...]:
    """Return the values from the environment. For each setting the strongest variable that is not empty
    counts.

    Raises:
        ConfigurationError: a variable's name is almost that of a setting.
    """
    unknown = [name for name in environ if name.startswith(VARIABLE_PREFIX) and name not in _VARIABLES]
    if unknown:
        # Rarely needed, so imported only here.
        from dispatcher.config.unknown_words import refuse_variables

        refuse_variables([name for name in unknown if environ[name]])
    return read_variables(SETTINGS, environ)


def read_file(root: Path) -> tuple[GivenValue, ...]:
    """Return the values of `[tool.passmuster]` in the root's `pyproject.toml`; empty if it has no such table.

    Raises:
        ConfigurationError: the file is unreadable or broken, or the table contains an unknown key or a value
            of a wrong type.
    """
    path = root / FILE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    # Most projects have no such table; then neither the parser nor its import costs anything.
    if _MARK not in content:
        return ()
    table = _our_table(_parse(content, path), path)
    given: dict[str, GivenValue] = {}
    for key, value in table.items():
        origin = f"[tool.passmuster] {on_one_line(key)} in {on_one_line(str(path))}"
        setting = _setting_of(key, origin)
        if setting.name in given:
            raise ConfigurationError(
                f"{setting.name} is given twice, by {given[setting.name].origin} and {origin}"
            )
        given[setting.name] = _given(setting, value, origin)
    return tuple(given.values())


def _given(setting: Setting, value: object, origin: str) -> GivenValue:
    if not setting.is_table:
        texts = texts_of(setting.name, setting.type, value, origin)
        return GivenValue(setting=setting, texts=texts, origin=_in_file(origin))
    # Few projects have such tables.

    texts, records = read_table(setting, value, origin)
    return GivenValue(setting=setting, texts=texts, origin=_in_file(origin), value=records)


def _in_file(name: str) -> Origin:
    return Origin(source=Source.FILE, name=name)


def _parse(content: bytes, path: Path) -> Mapping[str, object]:
    # Slow to import, and only needed by projects with such a table.
    import tomllib

    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path} is not UTF-8 (line {line}): save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {on_one_line(str(error))}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path} is not valid TOML: it is nested too deeply") from error


def _our_table(document: Mapping[str, object], path: Path) -> Mapping[str, object]:
    table: object = document
    for key in ("tool", "passmuster"):
        if not isinstance(table, dict):
            break
        table = table.get(key, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"[tool.passmuster] in {path} must be a table, got {described(table)}")
    return table


def _setting_of(key: str, origin: str) -> Setting:
    setting = BY_NAME.get(key.replace("_", "-"))
    if setting is not None and setting.in_file:
        return setting
    if setting is not None:
        raise ConfigurationError(
            f"{setting.name} cannot be set by the configuration file ({origin}): {_elsewhere(setting)}"
        )
    raise ConfigurationError(f"unknown key {on_one_line(key)!r} ({origin}): {_advice(key)}")


def _elsewhere(setting: Setting) -> str:
    words = (*setting.words, *setting.variables)
    return f"use {' or '.join(words)}" if words else "name the files as arguments"


def _advice(key: str) -> str:
    from difflib import get_close_matches  # Only needed after an error.

    # People also try the names of the Python API's fields, such as `max_workers` for `jobs`.
    names = {setting.name: setting.name for setting in SETTINGS if setting.in_file}
    names |= {s.target.replace("_", "-"): s.name for s in SETTINGS if s.in_file}
    matches = get_close_matches(key.replace("_", "-").lower(), names, n=1)
    return f"did you mean {names[matches[0]]}?" if matches else "see --help for the settings"


def texts_of(name: str, kind: ValueType, value: object, origin: str) -> tuple[str, ...]:
    """Return a value of the file as the texts that its kind reads; several only for a list.

    The type is compared exactly: in Python `true` is also a number, in a configuration that is a mistake.
    """
    if type(value) in kind.toml_types:
        if not isinstance(value, list):
            return (str(value).lower() if isinstance(value, bool) else str(value),)
        wrong = next((item for item in value if not isinstance(item, str)), None)
        if wrong is None:
            return tuple(value)
        value = wrong
    raise ConfigurationError(
        f"wrong type for {name}: expected {kind.allowed}, got {described(value)} (from {origin})"
    )


def described(value: object) -> str:
    """Return a value of the file as messages show it: its type, and the value if it is short."""
    kind = _TOML_NAMES.get(type(value), "a date or time")
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, dict | list) or not shown.isprintable():
        return kind
    return f"{kind}: {shown}"


_Type = TypeVar("_Type")

OVERRIDE_KEYS: dict[str, ValueType] = {
    "files": TEXTS,
    **{row.per_file: row.type.without_none or row.type for row in SETTINGS if row.per_file},
    "group": TEXT,
    "serial": FLAG,
}
"""The keys of an override: its files, the settings that may differ from file to file, and their group.

`serial = true` creates a group of its own, of which one file runs at a time.
"""

GROUP_KEYS: dict[str, ValueType] = {"max": count(least=1, most=MAX_JOBS)}
"""The keys of a group."""


def read_table(setting: Setting, value: object, origin: str) -> tuple[tuple[str, ...], tuple[object, ...]]:
    """Return the content of a table: a line for people and a record for each of its entries.

    Args:
        setting: `overrides` or `groups`.
        value: as the parser returned it.
        origin: file and key, for messages.

    Raises:
        ConfigurationError: it is not a table, or contains an unknown key or a wrong value.
    """
    kind = setting.type
    if type(value) not in kind.toml_types:
        raise _wrong_type(setting.name, kind.allowed, value, origin)
    if isinstance(value, list):
        overrides = [_override(item, f"{origin}, number {n}") for n, item in enumerate(value, start=1)]
        return tuple(map(_override_text, overrides)), tuple(overrides)
    assert isinstance(value, dict)
    groups = [_group(name, table, origin) for name, table in value.items()]
    return tuple(f"{on_one_line(group.name)} (max {group.max_files})" for group in groups), tuple(groups)


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
    runner, command, arguments = read.get("runner"), read.get("command"), read.get("pytest-args")
    assert arguments is None or isinstance(arguments, tuple)
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
        pytest_arguments=None if arguments is None else tuple(map(str, arguments)),
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
    return FileGroup(name=name, max_files=most)


def _read_keys(what: str, kinds: Mapping[str, ValueType], value: object, origin: str) -> dict[str, Value]:
    """Return the values of one table by key."""
    if not isinstance(value, dict):
        raise _wrong_type(what, "a table", value, origin)
    read: dict[str, Value] = {}
    for key, given in value.items():
        kind = kinds.get(key)
        if kind is None:
            from difflib import get_close_matches  # Only needed after an error.

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
    """Return a value, converted to the type of its kind."""
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
