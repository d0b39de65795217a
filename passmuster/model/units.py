"""Parses and formats sizes and times. Elsewhere, sizes are bytes (`int`) and times seconds (`float`)."""

from __future__ import annotations

import re

from msgspec import Struct

_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "K": 1024,
    "KB": 1000,
    "KIB": 1024,
    "M": 1024**2,
    "MB": 1000**2,
    "MIB": 1024**2,
    "G": 1024**3,
    "GB": 1000**3,
    "GIB": 1024**3,
    "T": 1024**4,
    "TB": 1000**4,
    "TIB": 1024**4,
}
_TIME_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%]*)")
_LONGEST_TEXT = 64
"""Characters of a size or time. A longer one would overflow a float."""
_TIME_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|min|h|m|s)")

SIZES_ALLOWED = "a size such as 4GiB, 512MB, or 80%"
TIMES_ALLOWED = "a time such as 90s, 5m, 1h30m, or a number of seconds"


class Amount(Struct, frozen=True):
    """A size, or a share of a size that is not known yet; one of the two fields is set."""

    size_bytes: int | None = None
    fraction: float | None = None  # 0.8 for `80%`

    def resolve(self, whole_bytes: int) -> int:
        """Return the size in bytes; a share is one of `whole_bytes`."""
        if self.size_bytes is not None:
            return self.size_bytes
        return int(whole_bytes * (self.fraction or 0.0))

    def __str__(self) -> str:
        if self.size_bytes is not None:
            return format_bytes(self.size_bytes)
        return f"{(self.fraction or 0.0) * 100:g}%"


def parse_amount(text: str) -> Amount:
    """Read a size or a percentage.

    Raises:
        ValueError: the text is neither, or not above zero; the message is `expected X, got Y`.
    """
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if match is None or len(text) > _LONGEST_TEXT:
        raise ValueError(f"expected {SIZES_ALLOWED}, got {text!r}")
    number, unit = float(match[1]), match[2].upper()
    if number <= 0:
        raise ValueError(f"expected a size above zero, got {text!r}")
    if unit == "%":
        if number > 100:
            raise ValueError(f"expected at most 100%, got {text!r}")
        return Amount(fraction=number / 100)
    if unit not in _SIZE_UNITS:
        raise ValueError(f"expected {SIZES_ALLOWED}, got {text!r}")
    size_bytes = int(number * _SIZE_UNITS[unit])
    if size_bytes == 0:
        raise ValueError(f"expected a size of at least one byte, got {text!r}")
    return Amount(size_bytes=size_bytes)


def parse_seconds(text: str) -> float:
    """Read a time: a number of seconds, or parts such as `1h30m`.

    Raises:
        ValueError: the text is not a time, or not above zero; the message is `expected X, got Y`.
    """
    stripped = text.strip()
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"expected {TIMES_ALLOWED}, got {text!r}")
    match = _NUMBER_AND_UNIT.fullmatch(stripped)
    if match is not None and match[2] in _TIME_UNITS:
        seconds = float(match[1]) * _TIME_UNITS[match[2]]
    else:
        parts = _TIME_PART.findall(stripped)
        if not parts or _TIME_PART.sub("", stripped).strip():
            raise ValueError(f"expected {TIMES_ALLOWED}, got {text!r}")
        seconds = sum(float(number) * _TIME_UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"expected a time above zero, got {text!r}")
    return seconds


def format_bytes(size_bytes: int) -> str:
    """Return a size for a person: `512 B`, `1.5 MiB`, `4 GiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        # A value that would round to 1024 takes the next unit; one that would round to 100.0 has no decimals.
        if abs(size) < 1023.5 or unit == "GiB":
            return f"{size:.0f} {unit}" if size >= 99.95 or size == int(size) else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable: the last unit always returns")


def format_seconds(seconds: float) -> str:
    """Return a time for a person: `0.04s`, `12.3s`, `3m 05s`, `1h 02m`."""
    # The bounds are where rounding would show `1.00s` and `60.0s`.
    if seconds < 0.995:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"
