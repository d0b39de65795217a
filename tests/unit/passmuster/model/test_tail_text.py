"""Pieces of output become lines that are safe for a terminal."""

from __future__ import annotations

from passmuster.model.text import MAX_HELD_CHARS, TailText


def test_whole_lines_are_shown_and_the_rest_waits() -> None:
    text = TailText()

    assert text.take(0, b"one\ntw") == "one\n"
    assert text.take(6, b"o\n") == "two\n"
    assert text.end() == ""


def test_a_line_without_an_end_is_shown_when_asked_and_ended_at_the_end() -> None:
    text = TailText()
    assert text.take(0, b"half") == ""

    assert text.flush() == "half"
    assert text.flush() == ""
    assert text.end() == "\n"


def test_control_sequences_for_terminals_are_removed() -> None:
    assert "\x1b" not in TailText().take(0, b"\x1b[2Jgone\n")


def test_a_letter_may_come_in_two_pieces() -> None:
    text = TailText()
    data = "ü\n".encode()

    assert text.take(0, data[:1]) + text.take(1, data[1:]) == "ü\n"


def test_pieces_may_overlap_or_leave_something_out() -> None:
    text = TailText()
    assert text.take(0, b"abc\n") == "abc\n"

    assert text.take(2, b"c\nd\n") == "d\n"
    assert text.take(16, b"z\n") == "[... 10 bytes are not shown here ...]\nz\n"


def test_a_line_without_an_end_is_not_held_for_ever() -> None:
    assert len(TailText().take(0, b"x" * (MAX_HELD_CHARS + 1))) == MAX_HELD_CHARS + 1
