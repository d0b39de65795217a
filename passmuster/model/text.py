"""Makes text from tests safe to print: the output of a test is data, never instructions. Pure.

Escape sequences are removed; any other character that could move a cursor, hide text or reverse the reading
order is written as a visible escape. Output of a running file arrives in pieces and is shown when a line is
complete, or after a while: a file that hangs may have printed the reason without ending the line.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence

from msgspec import Struct, to_builtins

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
    """Return `text` without control sequences for terminals; newlines and tabs stay.

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


def first_texts(texts: Sequence[str], most: int) -> list[str]:
    """Return the first `most` texts; if there are more, a last one says how many."""
    more = len(texts) - most
    return [*texts[:most], *([f"and {more} more"] if more > 0 else [])]


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
        # Megabytes without a newline are cut first: sanitizing them would take seconds.
        head, tail = sanitize(line[:half])[:half], sanitize(line[-half:])[-half:]
    return f"{head}[... {len(line) - 2 * half} characters left out ...]{tail}"


JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def json_line(payload: dict[str, JsonValue]) -> bytes:
    """Return `payload` as a line. Text with surrogates is escaped; the object then has `escaped`."""
    # ASCII only: some readers take U+2028 and similar characters for line ends.
    text = json.dumps(payload, separators=(",", ":"))
    if "\\ud" in text:
        # Half of a pair, or a lone surrogate, which strict readers refuse.
        escaped = _escaped(payload)
        if escaped != payload and isinstance(escaped, dict):
            text = json.dumps(escaped | {"escaped": True}, separators=(",", ":"))
    return text.encode("ascii") + b"\n"


def json_fields(source: Struct, *names: str) -> dict[str, JsonValue]:
    """Return fields of a value as JSON has them; `key=field` gives a field another name.

    Floats are rounded to six decimals: seconds to microseconds.
    """
    found: dict[str, JsonValue] = {}
    for name in names:
        key, _, field = name.rpartition("=")
        value = getattr(source, field)
        value = to_builtins(list(value) if isinstance(value, tuple) else value)
        found[key or field] = round(value, 6) if isinstance(value, float) else value
    return found


def _escaped(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [_escaped(item) for item in value]
        case dict():
            return {key: _escaped(item) for key, item in value.items()}
        case _:
            return value


MAX_HELD_CHARS = 64 * 1024
"""Length from which an incomplete line is shown."""


class TailText:
    """The output of one running file, from its first piece on."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._position = 0
        self._held = ""
        self._is_in_line = False

    def take(self, start: int, data: bytes) -> str:
        """Return the text to show after the next piece.

        Args:
            start: the position of `data` in the output, in bytes; pieces may overlap or have gaps.
        """
        gap = start - self._position
        if gap < 0:
            data = data[-gap:]
        if not data:
            return ""
        before = self._missing(gap) if gap > 0 else ""
        self._position = max(start, self._position) + len(data)
        whole, newline, self._held = (self._held + self._decoder.decode(data)).rpartition("\n")
        shown = "".join(f"{line}\n" for line in shown_lines(f"{whole}\n")) if newline else ""
        if newline:
            self._is_in_line = False
        if len(self._held) > MAX_HELD_CHARS:
            shown += self.flush()
        return before + shown

    def flush(self) -> str:
        """Return the incomplete line so far."""
        held, self._held = sanitize(self._held), ""
        self._is_in_line = self._is_in_line or bool(held)
        return held

    def end(self) -> str:
        """Return the rest, with a line end."""
        rest = self.flush()
        if self._is_in_line:
            rest += "\n"
        self._is_in_line = False
        return rest

    def _missing(self, count: int) -> str:
        self._held += self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return f"{self.end()}[... {count} bytes are not shown here ...]\n"
