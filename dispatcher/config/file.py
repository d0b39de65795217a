"""Reads the environment and `[tool.passmuster]` of the root's `pyproject.toml` by the table of settings.

`passmuster/settings/argument_parser.py` reads the third source, the command line. The tables for some files
only are read here too:

    [[tool.passmuster.overrides]]
    files = ["tests/db/**"]
    group = "database"
    timeout = "10m"

    [tool.passmuster.groups.database]
    max = 2

Their values have the types of the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from dispatcher.config.choices import SERIAL, FileGroup, Override
from dispatcher.config.model import MAX_JOBS
from dispatcher.config.settings import BY_NAME, SETTINGS
from passmuster.model.command_template import words_problem
from passmuster.model.errors import ConfigurationError
from passmuster.model.path_patterns import normal_pattern
from passmuster.model.status import RunnerKind
from passmuster.settings.argument_parser import read_variables
from passmuster.settings.origins import GivenValue, Origin, Source
from passmuster.settings.setting import VARIABLE_PREFIX, Setting
from passmuster.settings.values import FLAG, TEXT, TEXTS, Value, ValueType, count, on_one_line

FILE_NAME = "pyproject.toml"
_MARK = b"passmuster"
_VARIABLES = frozenset(name for row in SETTINGS for name in (*row.variables, *row.renamed))
_FORMER_KEYS = {row.renamed_from: row for row in SETTINGS if row.renamed_from and row.in_file}

_TOML_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}

_OVERRIDE_FIELDS = {"timeout": "timeout_s", "pytest-args": "pytest_arguments"}
"""The fields of `Override` whose names differ from their keys."""

_PER_FILE = ("pytest-args", "runner", "command", "isolation", "split", "retries", "cached")

OVERRIDE_KEYS: dict[str, ValueType] = {
    "files": TEXTS,
    **{name: BY_NAME[name].type for name in _PER_FILE},
    "memory": replace(BY_NAME["memory-limit"].type, none_words=()),
    "timeout": BY_NAME["timeout"].type,
    "group": TEXT,
    "serial": FLAG,
}
"""The keys of an override: its files, the settings that may differ from file to file, and their group.

`serial = true` creates a group of its own, of which one file runs at a time.
"""

GROUP_KEYS: dict[str, ValueType] = {"max": count(minimum=1, maximum=MAX_JOBS)}


def read_environment(environ: Mapping[str, str]) -> tuple[GivenValue, ...]:
    """Return the values from the environment: for each setting, its strongest variable that is not empty.

    Raises:
        ConfigurationError: a variable's name is almost that of a setting.
    """
    unknown = [name for name in environ if name.startswith(VARIABLE_PREFIX) and name not in _VARIABLES]
    if unknown:
        from dispatcher.config.unknown_arguments import refuse_variables  # Rarely needed.

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
    given: dict[str, GivenValue] = {}
    for key, value in _our_table(_parse(content, path), path).items():
        place = f"[tool.passmuster] {on_one_line(key)} in {on_one_line(str(path))}"
        setting = _find_setting(key, place)
        if setting.name in given:
            raise ConfigurationError(
                f"{setting.name} is given twice, by {given[setting.name].origin} and {place}"
            )
        if setting.is_table:
            texts, records = _read_table(setting, value, place)
        else:
            texts, records = _texts_of(setting.name, setting.type, value, place), None
        given[setting.name] = GivenValue(
            setting=setting,
            texts=texts,
            origin=Origin(source=Source.FILE, name=place),
            key=key.replace("_", "-"),
            value=records,
        )
    return tuple(given.values())


def _parse(content: bytes, path: Path) -> Mapping[str, object]:
    import tomllib  # Slow to import, and only needed by projects with such a table.

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
        if isinstance(table, dict):
            table = table.get(key, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"[tool.passmuster] in {path} must be a table, got {_described(table)}")
    return table


def _find_setting(key: str, place: str) -> Setting:
    name = key.replace("_", "-")
    setting = BY_NAME.get(name) or _FORMER_KEYS.get(name)
    if setting is not None and setting.in_file:
        return setting
    if setting is not None:
        instead = " or ".join((*setting.arguments, *setting.variables))
        advice = f"use {instead}" if instead else "name the files as arguments"
        raise ConfigurationError(
            f"{setting.name} cannot be set by the configuration file ({place}): {advice}"
        )
    # People also try the names of the Python API's fields, such as `max_workers` for `jobs`.
    names = {row.name: row.name for row in SETTINGS if row.in_file}
    names |= {row.target.replace("_", "-"): row.name for row in SETTINGS if row.in_file}
    raise _unknown_key(key, name.lower(), names, place, otherwise="see --help for the settings")


def _unknown_key(
    key: str, typed: str, names: Mapping[str, str], place: str, *, otherwise: str
) -> ConfigurationError:
    from difflib import get_close_matches  # Only needed after an error.

    matches = get_close_matches(typed, names, n=1)
    advice = f"did you mean {names[matches[0]]}?" if matches else otherwise
    return ConfigurationError(f"unknown key {on_one_line(key)!r} ({place}): {advice}")


def _texts_of(name: str, type_: ValueType, value: object, place: str) -> tuple[str, ...]:
    """Return a value of the file as the texts that its type reads; several only for a list.

    The type is compared exactly: in Python `true` is also a number, in a configuration that is a mistake.
    """
    if type(value) in type_.toml_types:
        if not isinstance(value, list):
            return (str(value).lower() if isinstance(value, bool) else str(value),)
        wrong = next((item for item in value if not isinstance(item, str)), None)
        if wrong is None:
            return tuple(value)
        value = wrong
    raise _wrong_type(name, type_.allowed, value, place)


def _wrong_type(name: str, allowed: str, value: object, place: str) -> ConfigurationError:
    return ConfigurationError(
        f"wrong type for {name}: expected {allowed}, got {_described(value)} (from {place})"
    )


def _described(value: object) -> str:
    """Return a value of the file as messages show it: its type, and the value if it is short."""
    name = _TOML_NAMES.get(type(value), "a date or time")
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, dict | list) or not shown.isprintable():
        return name
    return f"{name}: {shown}"


def _read_table(setting: Setting, value: object, place: str) -> tuple[tuple[str, ...], tuple[object, ...]]:
    """Return the content of `overrides` or `groups`: a line for people and a record for each entry."""
    if isinstance(value, list) and list in setting.type.toml_types:
        overrides = [_override(item, f"{place}, number {n}") for n, item in enumerate(value, start=1)]
        return tuple(map(_override_text, overrides)), tuple(overrides)
    if isinstance(value, dict) and dict in setting.type.toml_types:
        groups = [_group(name, table, place) for name, table in value.items()]
        return tuple(f"{on_one_line(group.name)} (max {group.max_files})" for group in groups), tuple(groups)
    raise _wrong_type(setting.name, setting.type.allowed, value, place)


def _override(value: object, place: str) -> Override:
    read = _read_keys("override", OVERRIDE_KEYS, value, place)
    files, group, serial = (read.pop(key, None) for key in ("files", "group", "serial"))
    if not isinstance(files, tuple) or not files:
        raise ConfigurationError(f"an override needs files, a list of patterns ({place})")
    patterns = tuple(_pattern(pattern, place) for pattern in files)
    if group is not None and serial:
        raise ConfigurationError(f"group and serial cannot be combined ({place}): choose one")
    if serial is not None and group is None:
        group = SERIAL + ", ".join(patterns) if serial else ""
    if isinstance(command := read.get("command"), tuple):
        if problem := words_problem(command):
            raise ConfigurationError(f"wrong value for command: {problem} (from {place})")
        runner = read.get("runner", RunnerKind.COMMAND)
        if runner is not RunnerKind.COMMAND:
            raise ConfigurationError(f"runner {runner} and command cannot be combined ({place}): choose one")
        read["runner"] = runner
    fields = {_OVERRIDE_FIELDS.get(key, key): value for key, value in read.items()}
    return replace(Override(files=patterns), group=group, **fields)


def _pattern(text: str, place: str) -> str:
    pattern = normal_pattern(text)
    if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
        raise ConfigurationError(
            "wrong value for files: expected patterns relative to the root, without '..', "
            f"got {text!r} (from {place})"
        )
    return pattern


def _group(name: str, value: object, place: str) -> FileGroup:
    if not name.strip() or name.startswith(SERIAL):
        raise ConfigurationError(f"a group cannot be called {name!r} (from {place})")
    place = f"{place}, {on_one_line(name)}"
    max_files = _read_keys("group", GROUP_KEYS, value, place).get("max")
    if not isinstance(max_files, int):
        raise ConfigurationError(f"a group needs max, {GROUP_KEYS['max'].allowed} ({place})")
    return FileGroup(name=name, max_files=max_files)


def _read_keys(what: str, types: Mapping[str, ValueType], value: object, place: str) -> dict[str, Value]:
    """Return the values of one table by key."""
    if not isinstance(value, dict):
        raise _wrong_type(what, "a table", value, place)
    read: dict[str, Value] = {}
    for key, given in value.items():
        type_ = types.get(key)
        if type_ is None:
            names = {name: name for name in types}
            raise _unknown_key(key, key, names, place, otherwise=f"known are {', '.join(types)}")
        texts = _texts_of(key, type_, given, place)
        try:
            values = tuple(type_.read(text) for text in texts)
        except ValueError as error:
            raise ConfigurationError(f"wrong value for {key}: {error} (from {place})") from error
        read[key] = values if type_.is_list else values[0]
    return read


def _override_text(override: Override) -> str:
    """Return one override as a line, for `--show-config`."""
    line = f"{' '.join(override.files)}:"
    for key in OVERRIDE_KEYS:
        # `serial` is stored as a group.
        if key in ("files", "serial"):
            continue
        value = getattr(override, _OVERRIDE_FIELDS.get(key, key))
        if isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, float):
            value = f"{value:g}s"
        if value is not None:
            line += f" {key}={str(value).lower() if isinstance(value, bool) else value}"
    return on_one_line(line)
