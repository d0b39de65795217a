"""Records as JSON text and back, by the types of their fields: what is not exactly as declared is refused.

Serves what goes over a wire: `codec` (tasks and results) and `run_record` (the cards of workers). Nothing
here chooses a class by what the text says: the caller names the record that it expects.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, partial
from typing import Any, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from msgspec import Struct

from passmuster.errors import PassmusterError

Record = TypeVar("Record")

_MOST_INT = 2**63 - 1
"""Numbers beyond 64 bits are nobody's count, and would overflow a float."""


class CodecError(PassmusterError):
    """A text that is no record of ours, or a record that may not be sent."""


def dump(record: object, *, what: str, most_chars: int) -> str:
    """Return `record`, a Struct of plain values, as JSON text of ASCII characters.

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
        cls: the Struct that is expected.
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
    return cast(Record, _reader(cast(Any, cls))(value, what))


def _check_size(text: str, what: str, most_chars: int) -> None:
    if len(text) > most_chars:
        raise CodecError(f"{what} has {len(text)} characters, at most {most_chars} are allowed")


def _plain(value: object) -> object:
    if isinstance(value, Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
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


_Reader = Callable[[object, str], object]
"""Returns a value as its declared type has it; takes the value and its place, for errors."""


@cache
def _reader(kind: Any) -> _Reader:
    """Return what reads values of a declared type: worked out once, since records come by the thousand."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return partial(_read_record, kind)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        [inner] = [inner for inner in get_args(kind) if inner is not type(None)]
        return partial(_read_optional, _reader(inner))
    if origin is tuple:
        kinds = get_args(kind)
        if len(kinds) == 2 and kinds[1] is Ellipsis:
            return partial(_read_list, _reader(kinds[0]))
        return partial(_read_tuple, tuple(map(_reader, kinds)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return partial(_read_member, {member.value: member for member in kind})
    return partial(_read_scalar, kind)


def _read_record(cls: type[Struct], value: object, place: str) -> object:
    if not isinstance(value, dict):
        raise _wrong(place, value, "an object")
    readers = _field_readers(cls)
    if unknown := value.keys() - readers.keys():
        raise CodecError(f"{place} has the unknown key {_shown(min(unknown))}")
    if missing := readers.keys() - value.keys():
        raise CodecError(f"{place} lacks the key {min(missing)!r}")
    return cls(**{name: read(value[name], f"{place}: {name}") for name, read in readers.items()})


@cache
def _field_readers(cls: type[Struct]) -> dict[str, _Reader]:
    hints = get_type_hints(cls)
    return {name: _reader(hints[name]) for name in cls.__struct_fields__}


def _read_optional(read: _Reader, value: object, place: str) -> object:
    return None if value is None else read(value, place)


def _read_list(read: _Reader, value: object, place: str) -> object:
    if not isinstance(value, list):
        raise _wrong(place, value, "a list")
    return tuple(read(item, f"{place}[{index}]") for index, item in enumerate(value))


def _read_tuple(readers: tuple[_Reader, ...], value: object, place: str) -> object:
    if not isinstance(value, list):
        raise _wrong(place, value, "a list")
    if len(value) != len(readers):
        raise CodecError(f"{place} has {len(value)} items, {len(readers)} are expected")
    pairs = zip(readers, value, strict=True)
    return tuple(read(item, f"{place}[{index}]") for index, (read, item) in enumerate(pairs))


def _read_member(members: Mapping[str, Enum], value: object, place: str) -> object:
    if type(value) is str and value in members:
        return members[value]
    raise _wrong(place, value, "one of " + ", ".join(members))


def _read_scalar(kind: type, value: object, place: str) -> object:
    if type(value) is not kind:  # not isinstance: True is an int to that
        if kind is float and type(value) is int and abs(value) <= _MOST_INT:
            return float(value)
        raise _wrong(place, value, f"of type {kind.__name__}")
    if kind is float and not math.isfinite(cast(float, value)):
        raise _wrong(place, value, "a finite number")
    if kind is int and abs(cast(int, value)) > _MOST_INT:
        raise CodecError(f"{place} is a number of more than 64 bits")
    return value


def _wrong(place: str, value: object, allowed: str) -> CodecError:
    return CodecError(f"{place} is {_shown(value)}, it must be {allowed}")


def _shown(value: object) -> str:
    """Return the start of what came: it is somebody's data, of any length, on one line."""
    return ascii(value)[:60]
