"""The types of setting values: how each is read from text, and which texts are allowed.

Arguments, variables and keys of the configuration file are all read from text here, so that they cannot mean
different things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from passmuster.model.command_template import EXAMPLE, check_word
from passmuster.model.units import SIZES_ALLOWED, TIMES_ALLOWED, format_bytes, parse_amount, parse_seconds

Value = object
"""The value of a setting. The type of its field is more precise; a test compares the two."""

MAX_NAME_CHARS = 200
"""Characters of a run's name: enough for a repository, a workflow and a number."""

MAX_SHOWN_CHARS = 80
"""Characters of a wrong value that a message shows, if the value may be long."""

MAX_SECONDS = 365 * 86400.0
"""One year. The system's waiting calls overflow somewhat above; no test runs longer."""

NONE = "none"
"""The word that removes the value of a weaker source, for settings that may have no value."""

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]+)?")


class ValueType(Struct, frozen=True, kw_only=True):
    """One type of value."""

    parse: Callable[[str], Value]
    """Returns the value of a text, or None if the text is not allowed. May raise ValueError with a message of
    its own, `expected X, got Y`."""
    expected: str  # the allowed texts, as they follow "expected"; without `none_words`
    metavar: str  # the placeholder for the value in the help text; empty: the option takes no value
    toml_types: tuple[type, ...] = (str,)  # the types of a key of the configuration file
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    is_list: bool = False  # several values: separated by commas in a text, a list in the configuration file
    splitter: Callable[[str], Sequence[str]] | None = None
    """Splits the text of a list whose values are not separated by commas."""
    is_path: bool = False  # the text is a path that still has to be made absolute
    is_output: bool = False  # the run writes to that path: a directory if `is_directory`, else a file
    is_directory: bool = False
    shown: Callable[[str], str] | None = None
    """Returns the part of a text that may be shown to people; None: all of it."""
    write: Callable[[Any], str] = str  # returns a text that `read` reads as this value
    none_words: tuple[str, ...] = ()  # words that stand for no value

    def read(self, text: str) -> Value:
        """Return the value of a text.

        Raises:
            ValueError: the text is not allowed; the message is `expected X, got Y`.
        """
        if text.strip().lower() in self.none_words:
            return None
        try:
            value = self.parse(text)
        except ValueError as error:
            if not str(error).startswith(f"expected {self.expected}, got "):
                raise
            value = None  # The message does not mention `none_words`.
        if value is None:
            raise ValueError(f"expected {self.allowed}, got {text!r}")
        return value

    @property
    def value_usage(self) -> str:
        """What follows an option in its usage: ` N`, or `[=SEED]` for a value that may be left out."""
        return self.metavar if self.metavar.startswith("[=") else f" {self.metavar}"

    @property
    def allowed(self) -> str:
        """The allowed texts, as they follow "expected"."""
        if not self.none_words:
            return self.expected
        *others, last = self.none_words
        return ", ".join((self.expected, *others, f"or {last}"))

    def split(self, text: str) -> tuple[str, ...]:
        """Return the texts in one argument or variable; several only for a list."""
        if self.splitter is not None:
            return tuple(self.splitter(text))
        return tuple(text.split(",")) if self.is_list else (text,)


def on_one_line(text: str) -> str:
    """Return a text unchanged if it can be printed on one line, else escaped."""
    return text if text.isprintable() else ascii(text)


def _parse_flag(text: str) -> bool | None:
    word = text.strip().lower()
    return word in _TRUE if word in (*_TRUE, *_FALSE) else None


def _parse_text(text: str) -> str | None:
    return text if text.strip() and "\0" not in text else None


def _parse_path(text: str) -> str | None:
    return text if text and "\0" not in text else None


def _split_arguments(text: str) -> Sequence[str]:
    import shlex  # Only few runs pass arguments on.

    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _parse_module(text: str) -> str | None:
    name = text.strip()
    return name if all(part.isidentifier() for part in name.split(".")) else None


def _parse_variable(text: str) -> str | None:
    return text if _VARIABLE.fullmatch(text) else None


def _parse_run_name(text: str) -> str:
    if not (text.isprintable() and text.strip() and len(text) <= MAX_NAME_CHARS):
        raise ValueError(f"expected {RUN_NAME.expected}, got {text!r:.{MAX_SHOWN_CHARS}}")
    return text


def _parse_table(text: str) -> Value:
    raise ValueError(f"expected a table of the configuration file, got {text!r}")


def _parse_time(text: str) -> float:
    seconds = parse_seconds(text)
    if seconds > MAX_SECONDS:
        raise ValueError(f"expected at most {MAX_SECONDS / 86400:.0f} days, got {text!r}")
    return seconds


def _parse_bytes(text: str) -> int | None:
    return parse_amount(text).size_bytes


def _parse_percentage(text: str) -> float | None:
    word = text.strip().removesuffix("%")
    return float(word) if _NUMBER.fullmatch(word) and 0 <= float(word) <= 100 else None


def _parse_factor(text: str) -> float | None:
    word = text.strip()
    return float(word) if _NUMBER.fullmatch(word) and 1 < float(word) <= 1000 else None


def count(*, minimum: int, maximum: int) -> ValueType:
    """Return the type of whole numbers from `minimum` to `maximum`."""

    def parse(text: str) -> int | None:
        word = text.strip()
        return int(word) if _WHOLE_NUMBER.fullmatch(word) and minimum <= int(word) <= maximum else None

    return ValueType(
        parse=parse,
        expected=f"a whole number from {minimum} to {maximum}",
        metavar="N",
        toml_types=(int,),
        minimum=minimum,
        maximum=maximum,
    )


def one_of(words: Sequence[str]) -> ValueType:
    """Return the type of a choice between words; capitals do not count."""

    def parse(text: str) -> str | None:
        word = text.strip().lower()
        return word if word in words else None

    return ValueType(
        parse=parse, expected=f"one of {', '.join(words)}", metavar="|".join(words), choices=tuple(words)
    )


def choice(members: type[StrEnum]) -> ValueType:
    """Return the type of a choice between the members of an enumeration."""
    by_word = {member.value: member for member in members}
    return replace(one_of(tuple(by_word)), parse=lambda text: by_word.get(text.strip().lower()))


def optional(type: ValueType, word: str = "") -> ValueType:
    """Return a type with the word `none` added, and another `word`, which stand for the default."""
    # Without `str` the file could not say none at all, and the parser rejects other words by itself.
    toml_types = type.toml_types if str in type.toml_types else (*type.toml_types, str)
    return replace(type, none_words=(word, NONE) if word else (NONE,), toml_types=toml_types)


FLAG = ValueType(
    parse=_parse_flag,
    expected="true or false (also 1, 0, yes, no, on, off)",
    metavar="",
    toml_types=(bool,),
    write=lambda value: str(value).lower(),
)
TEXT = ValueType(parse=_parse_text, expected="a text that is not empty", metavar="TEXT")
RUN_NAME = ValueType(
    parse=_parse_run_name, expected=f"a name of 1 to {MAX_NAME_CHARS} printable characters", metavar="TEXT"
)
TEXTS = ValueType(
    parse=_parse_text,
    expected="a list of texts that are not empty",
    metavar="TEXT[,...]",
    toml_types=(list, str),
    is_list=True,
)
TEST_IDS = replace(
    TEXTS, expected="a test such as tests/test_a.py::test_one", metavar="ID", splitter=lambda text: [text]
)
RANDOM = "random"
"""The word for a seed that is drawn when the run starts."""

SEED = ValueType(
    parse=lambda text: text if text == RANDOM or (text.isdecimal() and len(text) <= 18) else None,
    expected=f"a whole number that is not negative, or {RANDOM}",
    metavar="[=SEED]",
    toml_types=(str, int),
)
MERGE_BASE = "merge-base"
"""The word for the newest commit that the tree shares with the main branch."""

COMMIT = ValueType(parse=_parse_text, expected="the name of a commit", metavar="[=REF]")
ARGUMENTS = replace(
    TEXTS,
    expected="a list of arguments, such as --runslow",
    metavar="[WORD, ...]",
    toml_types=(list,),
    splitter=_split_arguments,
)
MODULES = replace(
    TEXTS,
    parse=_parse_module,
    expected="a list of importable names such as mypackage or mypackage.models",
    metavar="NAME[,...]",
)
VARIABLES = replace(TEXTS, parse=_parse_variable, expected="the name of a variable", metavar="NAME")
COMMAND = replace(
    TEXTS,
    parse=check_word,
    expected=f"a list of words, such as {EXAMPLE}",
    metavar="[WORD, ...]",
    toml_types=(list,),
)
TABLES = ValueType(
    parse=_parse_table, expected="a list of tables", metavar="[TABLE, ...]", toml_types=(list,)
)
TABLE = replace(TABLES, expected="a table of tables", metavar="{NAME = TABLE, ...}", toml_types=(dict,))
PATH = ValueType(parse=_parse_path, expected="a path", metavar="PATH", is_path=True)
OUTPUT_FILE = replace(PATH, is_output=True)
OUTPUT_DIRECTORY = replace(PATH, is_output=True, is_directory=True)
TIME = ValueType(
    parse=_parse_time,
    expected=TIMES_ALLOWED,
    metavar="TIME",
    toml_types=(str, int, float),
    write=lambda seconds: f"{seconds:g}s",
)
SIZE = ValueType(
    parse=parse_amount,
    expected=SIZES_ALLOWED,
    metavar="SIZE",
    toml_types=(str, int),
    write=lambda amount: str(amount if amount.size_bytes is None else amount.size_bytes),
)
BYTES = ValueType(
    parse=_parse_bytes,
    expected="a size such as 512KiB or 2MB",
    metavar="SIZE",
    toml_types=(str, int),
    write=lambda size_bytes: format_bytes(size_bytes).replace(" ", ""),
)
RATIO = ValueType(
    parse=_parse_factor, expected="a number above 1, such as 1.5", metavar="N", toml_types=(int, float, str)
)
PERCENT = ValueType(
    parse=_parse_percentage,
    expected="a percentage from 0 to 100",
    metavar="PERCENT",
    toml_types=(int, float, str),
)
