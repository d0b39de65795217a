"""Output of a test cannot control a terminal or break XML."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.model.text import (
    MAX_LINE_CHARS,
    bounded_tail,
    first_texts,
    json_line,
    last_lines,
    one_line,
    sanitize,
    shown_lines,
)

HOSTILE = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]()0;mHJ\x07\\\r\n\t\x9b\x00P")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("größe 🎉 日本", "größe 🎉 日本"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07shown", "shown"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0;2\x1b\\sixel", "sixel"),
        ("\x1b(Bset\x1bc", "set"),
        ("\x1b]0;never ended", "0;never ended"),
        ("end\x1b", "end\\x1b"),
        ("a\x00b\x07c\x08d\x7f", "a\\x00b\\x07c\\x08d\\x7f"),
        ("\x9b31mc1", "\\x9b31mc1"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\u2028", "\\u2028"),
        ("\ud800 \udcff \uffff", "\\ud800 \\xff \\uffff"),
        ("a\r\nb\rc", "a\nb\nc"),
    ],
)
def test_only_printable_text_is_left(text: str, expected: str) -> None:
    assert sanitize(text) == expected


@given(HOSTILE)
def test_no_control_character_or_surrogate_survives(text: str) -> None:
    for character in sanitize(text):
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
    sanitize(text).encode()


@given(HOSTILE)
def test_sanitizing_twice_changes_nothing(text: str) -> None:
    assert sanitize(sanitize(text)) == sanitize(text)


@given(HOSTILE)
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert "\t" not in one_line(text)


def test_an_ordinary_path_stays_as_it_is() -> None:
    assert one_line("tests/my file[1].py") == "tests/my file[1].py"
    assert one_line("tests/größe.py") == "tests/größe.py"
    assert one_line("tests/two\nlines\t.py") == "tests/two\\nlines\\t.py"


def test_the_last_lines_are_those_tail_would_show() -> None:
    text = "".join(f"line {number}\n" for number in range(30))
    assert last_lines(text, 3) == ("line 27", "line 28", "line 29")
    assert last_lines("a\n\nb", 10) == ("a", "", "b")
    assert last_lines("", 10) == ()
    assert last_lines("\n", 10) == ()
    assert shown_lines("a\nb\n") == ("a", "b")


def test_of_a_progress_bar_the_last_visible_state_is_shown() -> None:
    assert last_lines("10%\r50%\r100%\nok\r\n", 5) == ("100%", "ok")
    assert last_lines("50%\r   \r", 5) == ("50%",)


def test_a_line_of_a_megabyte_is_shown_by_its_start_and_end() -> None:
    (line,) = last_lines("a" + "x" * 1_000_000 + "z\n", 10)
    assert len(line) < MAX_LINE_CHARS + 60
    assert line.startswith("ax")
    assert line.endswith("xz")
    assert f"[... {1_000_002 - MAX_LINE_CHARS} characters left out ...]" in line


def test_a_line_of_control_characters_is_bounded_too() -> None:
    for length in (MAX_LINE_CHARS, 1_000_000):
        (line,) = last_lines("\x00" * length, 10)
        assert set(line) <= set("\\x0[. charactesloutnf]123456789")
        assert len(line) < MAX_LINE_CHARS + 60
    coloured = "\x1b[31mx\x1b[0m" * 1000
    assert last_lines(coloured, 1) == ("x" * 1000,)


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_a_tail_is_the_end_and_never_too_long(text: str, limit: int) -> None:
    tail = bounded_tail(text, limit)
    assert len(tail) <= limit
    assert text.endswith(tail)
    assert tail or not text


def test_a_tail_starts_at_a_line_where_it_can() -> None:
    assert bounded_tail("first line\nsecond\nthird\n", 16) == "second\nthird\n"
    assert bounded_tail("x" * 100, 10) == "x" * 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", {"a": ["plain"]}),
        ("\U0001f600", {"a": ["\U0001f600"]}),
        ("a backslash \\ud800 in ASCII", {"a": ["a backslash \\ud800 in ASCII"]}),
        ("\udcff", {"a": ["\\udcff"], "escaped": True}),
    ],
)
def test_a_line_of_json_marks_escaped_text(text: str, expected: dict[str, object]) -> None:
    line = json_line({"a": [text]})

    assert line.endswith(b"\n")
    assert line.isascii()
    assert json.loads(line) == expected


def test_a_long_list_shows_its_first_texts_and_counts_the_rest() -> None:
    assert first_texts(["a", "b", "c"], 3) == ["a", "b", "c"]
    assert first_texts(["a", "b", "c"], 1) == ["a", "and 2 more"]
    assert first_texts([], 1) == []
