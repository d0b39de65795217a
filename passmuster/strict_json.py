"""Records as JSON text and back, by the types of their fields: what is not exactly as declared is refused.

Serves what goes over a wire: `codec` (tasks and results) and `run_record` (the cards of workers). Nothing
here chooses a class by what the text says: the caller names the record that it expects.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from enum import Enum
from functools import cache
from typing import Any, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from passmuster.errors import PassmusterError

Record = TypeVar("Record")

_MOST_INT = 2**63 - 1
"""Numbers beyond 64 bits are nobody's count, and would overflow a float."""


class CodecError(PassmusterError):
    """A text that is no record of ours, or a record that may not be sent."""


def dump(record: object, *, what: str, most_chars: int) -> str:
    """Return `record`, a dataclass of plain values, as JSON text of ASCII characters.

    Args:
        record: what to write.
        what: what to call it in an error (`the task`).
        most_chars: characters that the text may have.

    Raises:
        CodecError: the text would be too long, or a number is not finite.
    """
    try:
        text = json.dumps(_plain(record), allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise CodecError(f"{what} cannot be sent: {error}") from error
    _check_size(text, what, most_chars)
    return text


def load(cls: type[Record], text: str, *, what: str, most_chars: int) -> Record:
    """Return the record of class `cls` that `text` holds.

    Args:
        cls: the dataclass that is expected.
        text: what came.
        what: what to call it in an error (`the task`).
        most_chars: characters that the text may have.

    Raises:
        CodecError: it is no JSON, too long, or not exactly such a record; names the place.
    """
    _check_size(text, what, most_chars)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"{what} is no JSON of ours: {error}") from error
    return cast(Record, _read(cls, value, what))


def _check_size(text: str, what: str, most_chars: int) -> None:
    if len(text) > most_chars:
        raise CodecError(f"{what} has {len(text)} characters, at most {most_chars} are allowed")


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that comes twice: two readers could take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _read(kind: Any, value: object, place: str) -> object:
    if dataclasses.is_dataclass(kind):
        return _read_record(cast(type, kind), value, place)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_optional(get_args(kind), value, place)
    if origin is tuple:
        return _read_tuple(get_args(kind), value, place)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_member(kind, value, place)
    return _read_scalar(kind, value, place)


def _read_record(cls: type, value: object, place: str) -> object:
    if not isinstance(value, dict):
        raise _wrong(place, value, "an object")
    hints = _hints(cls)
    if unknown := value.keys() - hints.keys():
        raise CodecError(f"{place} has the unknown key {_shown(min(unknown))}")
    if missing := hints.keys() - value.keys():
        raise CodecError(f"{place} lacks the key {min(missing)!r}")
    return cls(**{name: _read(hint, value[name], f"{place}: {name}") for name, hint in hints.items()})


@cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _read_optional(kinds: tuple[Any, ...], value: object, place: str) -> object:
    if value is None and type(None) in kinds:
        return None
    [kind] = [kind for kind in kinds if kind is not type(None)]
    return _read(kind, value, place)


def _read_tuple(kinds: tuple[Any, ...], value: object, place: str) -> object:
    if not isinstance(value, list):
        raise _wrong(place, value, "a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_read(kinds[0], item, f"{place}[{index}]") for index, item in enumerate(value))
    if len(value) != len(kinds):
        raise CodecError(f"{place} has {len(value)} items, {len(kinds)} are expected")
    pairs = zip(kinds, value, strict=True)
    return tuple(_read(kind, item, f"{place}[{index}]") for index, (kind, item) in enumerate(pairs))


def _read_member(kind: type[Enum], value: object, place: str) -> object:
    for member in kind:
        if type(value) is str and member.value == value:
            return member
    raise _wrong(place, value, "one of " + ", ".join(str(member.value) for member in kind))


def _read_scalar(kind: Any, value: object, place: str) -> object:
    if kind is float and type(value) is int and abs(value) <= _MOST_INT:
        return float(value)
    if type(value) is not kind:  # not isinstance: True is an int to that
        raise _wrong(place, value, f"of type {kind.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(place, value, "a finite number")
    if isinstance(value, int) and abs(value) > _MOST_INT:
        raise CodecError(f"{place} is a number of more than 64 bits")
    return value


def _wrong(place: str, value: object, allowed: str) -> CodecError:
    return CodecError(f"{place} is {_shown(value)}, it must be {allowed}")


def _shown(value: object) -> str:
    """Return the start of what came: it is somebody's data, of any length, on one line."""
    return ascii(value)[:60]
