"""Each value type reads valid text, and refuses other text with what is allowed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.settings import SETTINGS
from passmuster.model.status import RunnerKind
from passmuster.model.units import Amount
from passmuster.settings.values import (
    BYTES,
    FLAG,
    PATH,
    PERCENT,
    TEXT,
    TIME,
    Value,
    ValueType,
    choice,
    count,
    on_one_line,
    optional,
)

SMALL = count(minimum=1, maximum=9)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FLAG, "YES", True),
        (FLAG, "0", False),
        (FLAG, " off ", False),
        (SMALL, " 4 ", 4),
        (SMALL, "+4", 4),
        (BYTES, "2MiB", 2 * 1024**2),
        (PERCENT, "80", 80.0),
        (PERCENT, "80.5%", 80.5),
        (TIME, "5m", 300.0),
        (TEXT, "a b", "a b"),
        (choice(RunnerKind), "PyTest", RunnerKind.PYTEST),
        (optional(SMALL), "none", None),
        (optional(SMALL), "3", 3),
    ],
)
def test_text_is_read_as_the_value_it_means(kind: ValueType, text: str, value: Value) -> None:
    assert kind.read(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (FLAG, "maybe"),
        (FLAG, ""),
        (SMALL, "0"),
        (SMALL, "10"),
        (SMALL, "-1"),
        (SMALL, "1.5"),
        (SMALL, "four"),
        (SMALL, "9" * 5000),
        (BYTES, "80%"),
        (PERCENT, "-1"),
        (PERCENT, "101"),
        (PERCENT, "nan"),
        (TIME, "9000h"),
        (TIME, "80%"),
        (TEXT, "  "),
        (TEXT, "a\0b"),
        (PATH, ""),
        (PATH, "a\0b"),
        (choice(RunnerKind), "nose"),
    ],
)
def test_wrong_text_is_refused_with_what_is_allowed(kind: ValueType, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected .+, got {re.escape(repr(text))}$"):
        kind.read(text)


def test_a_wrong_choice_is_refused_with_all_choices() -> None:
    with pytest.raises(ValueError, match="one of auto, script, pytest, unittest, command, got"):
        choice(RunnerKind).read("nose")


def test_an_optional_kind_mentions_that_none_is_allowed_too() -> None:
    with pytest.raises(ValueError, match="from 1 to 9, or none, got 'x'"):
        optional(SMALL).read("x")


@given(st.sampled_from(SETTINGS), st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_line(setting: object, text: str) -> None:
    kind = getattr(setting, "type", TEXT)
    assert isinstance(kind, ValueType)
    refusal = "expected it"
    try:
        kind.read(text)
    except ValueError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert refusal.startswith("expected ")


@given(st.integers(min_value=1, max_value=2**60))
def test_a_number_of_bytes_stays_about_the_same_number(size_bytes: int) -> None:
    assert BYTES.read(str(size_bytes)) == Amount(size_bytes=int(float(size_bytes))).size_bytes


@pytest.mark.parametrize(
    ("text", "shown"), [("plain ü", "plain ü"), ("a\nb", r"'a\nb'"), ("\udcff", r"'\udcff'")]
)
def test_text_is_shown_on_one_line(text: str, shown: str) -> None:
    assert on_one_line(text) == shown
