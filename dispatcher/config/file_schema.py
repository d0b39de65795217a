"""Generates the JSON schema of `pyproject.toml` with `[tool.passmuster]` from the table of settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dispatcher.config.file import GROUP_KEYS, OVERRIDE_KEYS
from dispatcher.config.settings import SETTINGS
from passmuster.settings.setting import Setting
from passmuster.settings.values import ValueType

Schema = dict[str, object]

_TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def file_schema() -> Schema:
    """Return the JSON schema (draft 7)."""
    tables: dict[str, Schema] = {
        "overrides": {"type": "array", "items": _keys_schema(OVERRIDE_KEYS, required=["files"])},
        "groups": {"type": "object", "additionalProperties": _keys_schema(GROUP_KEYS, required=["max"])},
    }
    tool = {"type": "object", "properties": {"passmuster": _table_schema(SETTINGS, tables)}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pyproject.toml with [tool.passmuster]",
        "type": "object",
        "properties": {"tool": tool},
    }


def _keys_schema(types: Mapping[str, ValueType], *, required: Iterable[str]) -> Schema:
    return _object_schema({key: _value_schema(type_) for key, type_ in types.items()}, required=required)


def _table_schema(rows: Iterable[Setting], tables: Mapping[str, Schema]) -> Schema:
    """Return the schema of a table with the settings that the configuration file can have."""
    properties: dict[str, object] = {}
    for row in rows:
        if not row.in_file:
            continue
        schema = tables[row.name] if row.is_table else _value_schema(row.type)
        described = {"description": f"{row.summary} (default: {row.default_text})", **schema}
        properties[row.name] = described
        if row.name in row.renamed.values():
            properties[row.renamed_from] = {**described, "deprecated": True}
    return _object_schema(properties)


def _object_schema(properties: Mapping[str, object], *, required: Iterable[str] = ()) -> Schema:
    """Return the schema of a table that has these keys and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _value_schema(type: ValueType) -> Schema:
    """Return the schema of a value: its types, its choices and its range.

    The texts of sizes and times are only checked when a run reads them.
    """
    variants: list[Schema] = []
    for toml_type in type.toml_types:
        if toml_type is list:
            variants.append({"type": "array", "items": {"type": "string"}})
            continue
        schema: Schema = {"type": _TYPE_NAMES[toml_type]}
        if toml_type is str and type.choices:
            schema["enum"] = [*type.choices, *type.none_words]
        elif toml_type is str and type.minimum is not None:
            schema["enum"] = list(type.none_words)
        elif toml_type is int and type.minimum is not None:
            schema |= {"minimum": type.minimum, "maximum": type.maximum}
        variants.append(schema)
    return variants[0] if len(variants) == 1 else {"anyOf": variants}
