"""Reads the environment and `[tool.passmuster]` of the root's `pyproject.toml` by the table of settings.

The third source, the command line, has its own module (`arguments.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dispatcher.config.settings import BY_NAME, SETTINGS
from passmuster.errors import ConfigurationError
from passmuster.settings.origins import Given, Origin, Source
from passmuster.settings.setting import VARIABLE_PREFIX, Setting
from passmuster.settings.values import Kind, on_one_line
from passmuster.settings.words import read_variables

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


def read_environment(environ: Mapping[str, str]) -> tuple[Given, ...]:
    """Return what the environment gives. For each setting the strongest variable that is not empty counts.

    Raises:
        ConfigurationError: a variable's name is almost that of a setting.
    """
    unknown = [name for name in environ if name.startswith(VARIABLE_PREFIX) and name not in _VARIABLES]
    if unknown:
        # Rare, so not paid for by every run.
        from dispatcher.config.unknown_words import refuse_variables

        refuse_variables([name for name in unknown if environ[name]])
    return read_variables(SETTINGS, environ)


def read_file(root: Path) -> tuple[Given, ...]:
    """Return what `[tool.passmuster]` in the root's `pyproject.toml` gives; nothing when there is none.

    Raises:
        ConfigurationError: the file cannot be read or is broken, or the table holds an unknown key or a
            value of a wrong type.
    """
    path = root / FILE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    # Most projects do not mention us; then neither the parser nor its import is paid for.
    if _MARK not in content:
        return ()
    table = _our_table(_parse(content, path), path)
    given: dict[str, Given] = {}
    for key, value in table.items():
        origin = f"[tool.passmuster] {on_one_line(key)} in {on_one_line(str(path))}"
        setting = _setting_of(key, origin)
        if setting.name in given:
            raise ConfigurationError(
                f"{setting.name} is given twice, by {given[setting.name].origin} and {origin}"
            )
        given[setting.name] = _given(setting, value, origin)
    return tuple(given.values())


def _given(setting: Setting, value: object, origin: str) -> Given:
    if not setting.is_table:
        texts = texts_of(setting.name, setting.kind, value, origin)
        return Given(setting=setting, texts=texts, origin=_in_file(origin))
    # Few projects have such tables.
    from dispatcher.config.file_tables import read_table

    texts, records = read_table(setting, value, origin)
    return Given(setting=setting, texts=texts, origin=_in_file(origin), value=records)


def _in_file(name: str) -> Origin:
    return Origin(source=Source.FILE, name=name)


def _parse(content: bytes, path: Path) -> Mapping[str, object]:
    # Not needed by projects that do not configure us, and not light.
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
    # Only ever needed on the way out.
    from difflib import get_close_matches

    # People also try the names of the Python API's fields, such as `max_workers` for `jobs`.
    names = {setting.name: setting.name for setting in SETTINGS if setting.in_file}
    names |= {s.target.replace("_", "-"): s.name for s in SETTINGS if s.in_file}
    matches = get_close_matches(key.replace("_", "-").lower(), names, n=1)
    return f"did you mean {names[matches[0]]}?" if matches else "see --help for the settings"


def texts_of(name: str, kind: Kind, value: object, origin: str) -> tuple[str, ...]:
    """Return a value of the file as the texts that its kind reads; several only for a list.

    The type is compared exactly: in Python `true` is a number too, in a configuration it is a slip.
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
    """Return a value of the file as messages show it: its kind, and the value where that is short."""
    kind = _TOML_NAMES.get(type(value), "a date or time")
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    if isinstance(value, dict | list) or not shown.isprintable():
        return kind
    return f"{kind}: {shown}"
