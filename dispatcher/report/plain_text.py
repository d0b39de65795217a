"""Turns what tests print into text that cannot harm: a test's output is data, never instructions.

Escape sequences are removed; any other character that could move a cursor, hide text, or reverse the
reading order is written as a visible escape. The console, the JUnit report and the live footer use it.
"""

from __future__ import annotations

import re

MAX_LINE_CHARS = 2000
"""Characters shown of one line on the console: some 20 rows of a terminal."""

_ESCAPE_SEQUENCES = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor movement, clearing.
    r"|\][^\x07\x1b\n]*+(?:\x07|\x1b\\)"  # OSC: titles, hyperlinks, the clipboard.
    r"|[PX^_][^\x1b\n]*+\x1b\\"  # DCS, SOS, PM and APC strings.
    r"|[ -/]*+[0-~]"  # Two characters and more: character sets, reset.
    r")"
)
_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1.
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Marks that change the reading order.
    "\u2028\u2029"  # Separators that some readers take for a newline.
    "\ud800-\udfff\ufffe\uffff"  # Lone surrogates, and the two that XML forbids.
    "]"
)


def sanitize(text: str) -> str:
    """Return `text` without anything a terminal would obey; newlines and tabs stay.

    `\\r\\n` becomes a newline, and so does a lone `\\r`. A surrogate that stands for an undecodable byte
    is shown as that byte (`\\xff`).
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x1b" in text:
        text = _ESCAPE_SEQUENCES.sub("", text)
    return _UNSAFE.sub(_visible, text)


def one_line(text: str) -> str:
    """Return `text` sanitized, with newlines and tabs made visible too: for paths and short messages."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return sanitize(text)


def last_lines(text: str, count: int) -> tuple[str, ...]:
    """Return the last `count` lines of an output, sanitized, as a terminal would have left them.

    Of a line that was overwritten with `\\r` (a progress bar) the last visible state is shown, and of a
    line over `MAX_LINE_CHARS` its start and its end.
    """
    body = text.removesuffix("\n")
    if not body:
        return ()
    return tuple(_shown(_last_state(line)) for line in body.rsplit("\n", count)[-count:])


def shown_lines(text: str) -> tuple[str, ...]:
    """Return all lines of an output, sanitized, each as `last_lines` would show it."""
    body = text.removesuffix("\n")
    return tuple(_shown(_last_state(line)) for line in body.split("\n")) if body else ()


def bounded_tail(text: str, limit_chars: int) -> str:
    """Return the last `limit_chars` characters of `text`, from the start of a line where one starts there."""
    if len(text) <= limit_chars:
        return text
    tail = text[-limit_chars:]
    head, newline, rest = tail.partition("\n")
    return rest if newline and rest and len(head) < limit_chars // 2 else tail


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _last_state(line: str) -> str:
    if "\r" not in line:
        return line
    return next((state for state in reversed(line.split("\r")) if state.strip()), "")


def _shown(line: str) -> str:
    half = MAX_LINE_CHARS // 2
    if len(line) <= 10 * MAX_LINE_CHARS:
        line = sanitize(line)
        if len(line) <= MAX_LINE_CHARS:
            return line
        head, tail = line[:half], line[-half:]
    else:
        # Megabytes without a newline are cut first: to sanitize them would take seconds.
        head, tail = sanitize(line[:half])[:half], sanitize(line[-half:])[-half:]
    return f"{head}[... {len(line) - 2 * half} characters left out ...]{tail}"
