"""Keys are read one by one, and the terminal is left as it was."""

from __future__ import annotations

import contextlib
import os
import pty
import queue
import sys
import termios
from collections.abc import Iterator

import pytest

from dispatcher.watch.events import Key
from dispatcher.watch.keys import read_keys


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A terminal as standard input; its outer and its inner end."""
    outer, inner = pty.openpty()
    with open(inner, closefd=False) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        # The terminal of these tests, if there is one, is another one.
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
        yield outer, inner
    os.close(outer)
    os.close(inner)


def test_only_the_keys_of_a_watch_are_reported(terminal: tuple[int, int]) -> None:
    outer, inner = terminal
    before, pressed = termios.tcgetattr(inner), queue.SimpleQueue[Key]()
    with contextlib.suppress(ZeroDivisionError), read_keys(pressed.put) as has_terminal:
        assert has_terminal
        for typed in (b"x", b"\x1b[A", b"a", b"f\r", b"q"):
            os.write(outer, typed)
        assert [pressed.get(timeout=30) for _ in range(4)] == [Key.ALL, Key.FAILED, Key.AGAIN, Key.QUIT]
        raise ZeroDivisionError
    assert termios.tcgetattr(inner) == before


def test_without_a_terminal_in_the_foreground_nothing_is_read(
    terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    with read_keys(lambda key: pytest.fail(key)) as has_terminal:
        assert not has_terminal


def test_a_closed_standard_input_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with read_keys(lambda key: pytest.fail(key)) as has_terminal:
        assert not has_terminal
