"""Encodes values as text for a message or a file, and decodes them strictly: the decoded value is equal.

The text is ASCII JSON made by `json`, because file names need not be UTF-8 and msgspec's JSON rejects the
surrogates that represent such bytes. The caller names the class to decode; the text never chooses it.

The path of a task is checked to be relative and, lexically, inside its root; only the worker can check for
links that lead out of the root. `coverage_files` of a result are paths on the worker's machine: the receiver
must replace them and never open them.
"""

from __future__ import annotations

import json
import math
import re
from enum import Enum
from types import NoneType
from typing import Any, Generic, NoReturn, TypeVar, get_args, get_type_hints

from msgspec import Struct, ValidationError, convert, to_builtins

from passmuster.model.errors import PassmusterError
from passmuster.model.result import TestResult
from passmuster.model.task import TestTask

Value = TypeVar("Value", bound=Struct)

MAX_TASK_CHARS = 256 * 1024
"""Characters of a task's text: a path, limits, and an environment as large as `exec` accepts."""

MAX_RESULT_CHARS = 64 * 1024 * 1024
"""Characters of a result's text: the output's 2 MiB, each byte six characters at worst, and many cases."""

_MAX_INT = 2**63 - 1
"""No valid count needs more than 64 bits, and a float cannot represent them all."""

_STEP = re.compile(r"\.(\w+)|\[([0-9]+)\]")
"""One step of the path in msgspec's errors: a field, or an item of a list."""


class CodecError(PassmusterError):
    """A text that is not the expected value, or a value that must not be sent."""


class TextCodec(Generic[Value]):
    """Encodes values of one class as text, and decodes them.

    Args:
        cls: a Struct of plain values, enums, tuples and Structs.
        what: the name of a value in errors (`the task`).
        max_chars: maximum characters of a text.
    """

    def __init__(self, cls: type[Value], what: str, max_chars: int) -> None:
        self._cls, self._what, self._max_chars = cls, what, max_chars

    def encode(self, value: Value) -> str:
        """Return `value` as text.

        Raises:
            CodecError: the text would be too long, a number is not finite, or a path must not be sent.
        """
        self._check_path(value)
        try:
            text = json.dumps(to_builtins(value), allow_nan=False, separators=(",", ":"))
        except ValueError as error:
            raise CodecError(f"{self._what} cannot be sent: {error}") from error
        self._check_size(text)
        return text

    def decode(self, text: str) -> Value:
        """Return the value in `text`.

        Raises:
            CodecError: the text is not JSON, too long, or not exactly such a value; names the place.
        """
        what = self._what
        self._check_size(text)
        try:
            found = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise CodecError(f"{what} is not valid JSON: {error}") from error
        try:
            value = convert(found, self._cls)
        except ValidationError as error:
            raise CodecError(_mismatch(error, found, self._cls, what)) from error
        except UnicodeEncodeError as error:  # A lone surrogate in place of a number or an enum.
            raise CodecError(f"{what} has {_shown(error.object)} where it is not allowed") from error
        # `convert` ignores unknown keys, uses defaults for missing ones, and does not limit numbers.
        if difference := _difference(found, to_builtins(value), what):
            raise CodecError(difference)
        self._check_path(value)
        return value

    def _check_size(self, text: str) -> None:
        if len(text) > self._max_chars:
            raise CodecError(
                f"{self._what} has {len(text)} characters, at most {self._max_chars} are allowed"
            )

    def _check_path(self, value: Value) -> None:
        if isinstance(value, TestTask | TestResult) and (problem := _path_problem(value.file_path)):
            raise CodecError(
                f"{self._what}: file_path {ascii(value.file_path)[:100]} {problem}, "
                "it must be relative to the project root"
            )


TASK_CODEC = TextCodec(TestTask, "the task", MAX_TASK_CHARS)
RESULT_CODEC = TextCodec(TestResult, "the result", MAX_RESULT_CHARS)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Reject a repeated key: two readers could use different values."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _mismatch(error: ValidationError, found: Any, cls: type[Struct], what: str) -> str:
    """Return what `convert` rejected: the place, the value, and what is allowed there."""
    problem, _, path = str(error).partition(" - at `$")
    place, kind = what, cls
    for field, index in _STEP.findall(path):
        if field:
            found, kind, place = found[field], get_type_hints(kind)[field], f"{place}: {field}"
        else:
            kinds = get_args(kind)
            found, place = found[int(index)], f"{place}[{index}]"
            kind = kinds[0] if kinds[-1] is Ellipsis else kinds[int(index)]
        if NoneType in get_args(kind):
            kind = next(one for one in get_args(kind) if one is not NoneType)
    if problem.startswith("Object missing required field"):
        return f"{place} lacks the key {problem.split('`')[1]!r}"
    if isinstance(found, list) and get_args(kind):
        return f"{place} has {len(found)} items, {len(get_args(kind))} are expected"
    return f"{place} is {_shown(found)}, it must be {_allowed(kind)}"


def _allowed(kind: Any) -> str:
    if get_args(kind):
        return "a list"
    if issubclass(kind, Struct):
        return "an object"
    if issubclass(kind, Enum):
        return "one of " + ", ".join(member.value for member in kind)
    return f"of type {kind.__name__}"


def _difference(found: Any, exact: object, place: str) -> str:
    """Return a difference between a text's content and the value read from it, or "" if there is none.

    Their types and lengths are known to match.
    """
    if isinstance(found, int) and abs(found) > _MAX_INT:
        return f"{place} is a number of more than 64 bits"
    if isinstance(exact, float) and not math.isfinite(exact):
        return f"{place} is {_shown(found)}, it must be a finite number"
    if isinstance(exact, dict):
        if unknown := found.keys() - exact.keys():
            return f"{place} has the unknown key {_shown(min(unknown))}"
        if missing := exact.keys() - found.keys():
            return f"{place} lacks the key {min(missing)!r}"
        for name, item in exact.items():
            if difference := _difference(found[name], item, f"{place}: {name}"):
                return difference
    if isinstance(exact, tuple):
        for index, item in enumerate(exact):
            if difference := _difference(found[index], item, f"{place}[{index}]"):
                return difference
    return ""


def _shown(value: object) -> str:
    """Return the start of the received text on one line; it is untrusted and of any length."""
    return ascii(value)[:60]


def _path_problem(path: str) -> str | None:
    """Return why a path must not be sent, or None."""
    if not path:
        return "is empty"
    if "\0" in path:
        return "contains a NUL"
    if "\\" in path:
        return "contains a backslash"
    if path.startswith("/"):
        return "is absolute"
    return "leads upwards" if ".." in path.split("/") else None
