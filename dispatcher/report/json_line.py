"""One line of JSON for programs: ASCII, whatever stands in it."""

from __future__ import annotations

import json

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def json_line(payload: dict[str, JsonValue]) -> bytes:
    """Return `payload` as a line; text that is no text is escaped, and the object then says so."""
    # ASCII only: U+2028 and others like it are line ends to some readers, and a line is an object.
    text = json.dumps(payload, separators=(",", ":"))
    if "\\ud" in text:
        # A surrogate: half of a pair that is one character, or a lone one that strict readers refuse.
        escaped = _escaped(payload)
        if escaped != payload and isinstance(escaped, dict):
            text = json.dumps(escaped | {"escaped": True}, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def _escaped(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [_escaped(item) for item in value]
        case dict():
            return {key: _escaped(item) for key, item in value.items()}
        case _:
            return value
