"""Reads single keys from the terminal, and leaves it as it was."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dispatcher.watch.events import Key

_KEYS = {key.value: key for key in Key}
_ESCAPE = 27
"""Starts what a cursor or function key sends."""


@contextmanager
def read_keys(report: Callable[[Key], None]) -> Iterator[bool]:
    """Report keys in a thread of its own while the context lasts; yield whether there is a terminal.

    Without a terminal in the foreground, nothing is read. Ctrl-C and Ctrl-Z keep their meaning.
    """
    terminal = _terminal()
    if terminal is None:
        yield False
        return
    before = termios.tcgetattr(terminal)

    def enter(_number: int = 0, _frame: FrameType | None = None) -> None:
        if _is_in_foreground(terminal):
            tty.setcbreak(terminal, termios.TCSANOW)

    woken, waker = os.pipe()
    thread = threading.Thread(target=_read, args=(terminal, woken, report), name="keys", daemon=True)
    continued = signal.signal(signal.SIGCONT, enter)  # A shell sets its own mode while this is suspended.
    try:
        enter()
        thread.start()
        yield True
    finally:
        signal.signal(signal.SIGCONT, continued)
        os.close(waker)
        if thread.ident is not None:
            thread.join()
        os.close(woken)
        # Otherwise it is the shell's, and the system would stop this process.
        if _is_in_foreground(terminal):
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _terminal() -> int | None:
    """Return the descriptor of the terminal that sends keys to this process; None: there is none."""
    try:
        terminal = sys.stdin.fileno()
        return terminal if os.isatty(terminal) and _is_in_foreground(terminal) else None
    except (AttributeError, OSError, ValueError):  # No standard input, or a closed one.
        return None


def _is_in_foreground(terminal: int) -> bool:
    """Return whether this process may read from and change its terminal; not if that was hung up."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


def _read(terminal: int, woken: int, report: Callable[[Key], None]) -> None:
    while True:
        ready, _, _ = select.select([terminal, woken], [], [])
        if woken in ready:
            return
        try:
            typed = os.read(terminal, 64)
        except OSError:  # It was hung up, which a signal says too.
            return
        if not typed:
            return
        if typed[0] != _ESCAPE:
            for letter in typed.decode("ascii", "replace").replace("\r", "\n"):
                if letter in _KEYS:
                    report(_KEYS[letter])
