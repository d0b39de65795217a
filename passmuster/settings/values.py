"""Kinds of values: how the text of a setting is read, and what is said when it is wrong.

`settings.py` gives every setting one of these kinds. Whatever a value came from, it is read from text
here, so a variable and a key of the configuration file cannot mean different things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from passmuster.model.command_template import EXAMPLE, check_word
from passmuster.model.units import (
    SIZES_ALLOWED,
    TIMES_ALLOWED,
    Amount,
    format_bytes,
    parse_amount,
    parse_seconds,
)

Value = object
"""What a setting holds. Its field's type says more, and a test compares that with the setting's kind."""

MAX_NAME_CHARS = 200
"""Characters of a name of a run: enough for a repository, a workflow and a number."""

MAX_SHOWN_CHARS = 80
"""Characters of a wrong value that a message shows, where it may be long."""

LONGEST_S = 365 * 86400.0
"""Seconds in a year. The system's waiting calls overflow somewhat above; no test runs longer."""

NONE = "none"
"""The word that takes back a value of a weaker source, for settings that may be without one."""

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]+)?")


class ValueType(Struct, frozen=True, kw_only=True):
    """One kind of value.

    Args:
        read: turns text into the value; raises ValueError with `expected X, got Y`.
        allowed: what is allowed, as it follows "expected".
        metavar: what stands for the value in the help text; empty: the option takes none.
        toml_types: types that a key of the configuration file may have.
        choices: the words of which the text is one, where there are only few.
        is_list: several values, separated by commas; a list in the configuration file.
        splitter: splits the text of a list whose values are not separated by commas.
        is_path: the text is a path that still has to be made absolute.
        is_output: the run writes to that path: a folder where `is_folder`, else a file.
        is_folder: see there.
        shown: turns the text into what people may see of it; None: all of it.
        write: turns a value into text that `read` reads as that value.
        without_none: of a kind with the word `none`, the same one without it.
    """

    read: Callable[[str], Value]
    allowed: str
    metavar: str
    toml_types: tuple[type, ...] = (str,)
    choices: tuple[str, ...] = ()
    is_list: bool = False
    splitter: Callable[[str], Sequence[str]] | None = None
    is_path: bool = False
    is_output: bool = False
    is_folder: bool = False
    shown: Callable[[str], str] | None = None
    write: Callable[[Any], str] = str
    without_none: ValueType | None = None

    def split(self, text: str) -> tuple[str, ...]:
        """Return the texts of which one argument or variable is made: several only for a list."""
        if self.splitter is not None:
            return tuple(self.splitter(text))
        return tuple(text.split(",")) if self.is_list else (text,)


def quoted(text: str) -> str:
    """Return text in quotes, on one line whatever it holds."""
    return repr(text)


def on_one_line(text: str) -> str:
    """Return text as it is when it can be printed on one line, else escaped."""
    return text if text.isprintable() else ascii(text)


def _read_flag(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"expected {FLAG.allowed}, got {quoted(text)}")


def _read_text(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"expected a text that is not empty, got {quoted(text)}")
    return text


def _split_arguments(text: str) -> Sequence[str]:
    import shlex  # Few runs pass arguments on.

    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _read_argument(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"expected a word that is not empty, got {quoted(text)}")
    return text


def _read_module(text: str) -> str:
    name = text.strip()
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"expected {MODULES.allowed}, got {quoted(text)}")
    return name


def _read_run_name(text: str) -> str:
    if not (text.isprintable() and 0 < len(text) <= MAX_NAME_CHARS and text.strip()):
        raise ValueError(f"expected {RUN_NAME.allowed}, got {quoted(text)[:MAX_SHOWN_CHARS]}")
    return text


def _write_flag(value: bool) -> str:  # noqa: FBT001 - the value itself
    return "true" if value else "false"


def _write_time(seconds: float) -> str:
    return f"{seconds:g}s"


def _write_bytes(size_bytes: int) -> str:
    return format_bytes(size_bytes).replace(" ", "")


def _write_amount(amount: Amount) -> str:
    return str(amount if amount.size_bytes is None else amount.size_bytes)


def _read_table(text: str) -> Value:
    raise ValueError(f"expected a table of the configuration file, got {quoted(text)}")


def _read_path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError(f"expected {PATH.allowed}, got {quoted(text)}")
    return text


def _read_time(text: str) -> float:
    seconds = parse_seconds(text)
    if seconds > LONGEST_S:
        raise ValueError(f"expected at most {LONGEST_S / 86400:.0f} days, got {quoted(text)}")
    return seconds


def _read_bytes(text: str) -> int:
    amount = parse_amount(text)
    if amount.size_bytes is None:
        raise ValueError(f"expected {BYTES.allowed}, got {quoted(text)}")
    return amount.size_bytes


def _read_percent(text: str) -> float:
    word = text.strip().removesuffix("%")
    if _NUMBER.fullmatch(word) is None or not 0 <= float(word) <= 100:
        raise ValueError(f"expected {PERCENT.allowed}, got {quoted(text)}")
    return float(word)


def _read_ratio(text: str) -> float:
    word = text.strip()
    if _NUMBER.fullmatch(word) is None or not 1 < float(word) <= 1000:
        raise ValueError(f"expected {RATIO.allowed}, got {quoted(text)}")
    return float(word)


def count(*, least: int, most: int) -> ValueType:
    """Return the kind of whole numbers from `least` to `most`."""
    allowed = f"a whole number from {least} to {most}"

    def read(text: str) -> int:
        word = text.strip()
        if _WHOLE_NUMBER.fullmatch(word) is None or not least <= int(word) <= most:
            raise ValueError(f"expected {allowed}, got {quoted(text)}")
        return int(word)

    return ValueType(read=read, allowed=allowed, metavar="N", toml_types=(int,))


def one_of(words: Sequence[str]) -> ValueType:
    """Return the kind of words of which one is chosen."""
    allowed = f"one of {', '.join(words)}"

    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in words:
            raise ValueError(f"expected {allowed}, got {quoted(text)}")
        return word

    return ValueType(read=read, allowed=allowed, metavar="|".join(words), choices=tuple(words))


def choice(members: type[StrEnum]) -> ValueType:
    """Return the kind of words of which one is chosen, as a member of an enumeration."""
    kind = one_of([member.value for member in members])
    return replace(kind, read=lambda text: members(str(kind.read(text))))


def optional(kind: ValueType, word: str = "") -> ValueType:
    """Return `kind` with the word `none` added, and another `word`, which stand for the default."""
    words = {word, NONE} - {""}
    added = f"{word}, or {NONE}" if word else f"or {NONE}"

    def read(text: str) -> Value:
        if text.strip().lower() in words:
            return None
        try:
            return kind.read(text)
        except ValueError as error:
            expected, separator, got = str(error).rpartition(", got ")
            raise ValueError(f"{expected}, {added}{separator}{got}") from None

    # Without `str` the file could not say none at all, and the reader rejects other words by itself.
    types = kind.toml_types if str in kind.toml_types else (*kind.toml_types, str)
    return replace(kind, read=read, allowed=f"{kind.allowed}, {added}", toml_types=types, without_none=kind)


FLAG = ValueType(
    read=_read_flag,
    allowed="true or false (also 1, 0, yes, no, on, off)",
    metavar="",
    toml_types=(bool,),
    write=_write_flag,
)
TEXT = ValueType(read=_read_text, allowed="a text", metavar="TEXT")
RUN_NAME = ValueType(
    read=_read_run_name, allowed=f"a name of 1 to {MAX_NAME_CHARS} printable characters", metavar="TEXT"
)
TEXTS = ValueType(
    read=_read_text, allowed="a list of texts", metavar="TEXT[,...]", toml_types=(list, str), is_list=True
)
TEST_IDS = replace(
    TEXTS, allowed="a test such as tests/test_a.py::test_one", metavar="ID", splitter=lambda text: [text]
)
ARGUMENTS = ValueType(
    read=_read_argument,
    allowed="arguments of pytest, such as --runslow",
    metavar="[WORD, ...]",
    toml_types=(list,),
    is_list=True,
    splitter=_split_arguments,
)
MODULES = ValueType(
    read=_read_module,
    allowed="a list of importable names such as mypackage or mypackage.models",
    metavar="NAME[,...]",
    toml_types=(list, str),
    is_list=True,
)
COMMAND = ValueType(
    read=check_word,
    allowed=f"a list of words, such as {EXAMPLE}",
    metavar="[WORD, ...]",
    toml_types=(list,),
    is_list=True,
)
TABLES = ValueType(read=_read_table, allowed="a list of tables", metavar="[TABLE, ...]", toml_types=(list,))
TABLE = ValueType(
    read=_read_table, allowed="a table of tables", metavar="{NAME = TABLE, ...}", toml_types=(dict,)
)
PATH = ValueType(read=_read_path, allowed="a path", metavar="PATH", is_path=True)
OUT_FILE = replace(PATH, is_output=True)
OUT_FOLDER = replace(PATH, is_output=True, is_folder=True)
TIME = ValueType(
    read=_read_time, allowed=TIMES_ALLOWED, metavar="TIME", toml_types=(str, int, float), write=_write_time
)
SIZE = ValueType(
    read=parse_amount, allowed=SIZES_ALLOWED, metavar="SIZE", toml_types=(str, int), write=_write_amount
)
BYTES = ValueType(
    read=_read_bytes,
    allowed="a size such as 512KiB or 2MB",
    metavar="SIZE",
    toml_types=(str, int),
    write=_write_bytes,
)
RATIO = ValueType(
    read=_read_ratio, allowed="a number above 1, such as 1.5", metavar="N", toml_types=(int, float, str)
)
PERCENT = ValueType(
    read=_read_percent, allowed="a percentage from 0 to 100", metavar="PERCENT", toml_types=(int, float, str)
)
