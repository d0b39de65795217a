"""Amounts of money, in whole cents: a price is never a float."""

from __future__ import annotations

import re

_PRICE = re.compile(r"(-?)(\d+)(?:[.,](\d{2}))?")


def parse_price(text: str) -> int:
    """Return the cents of a price such as `12`, `12.50` or `12,50`."""
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a price: {text!r}")
    sign, whole, cents = match.groups()
    amount = int(whole) * 100 + int(cents or 0)
    return -amount if sign else amount


def format_price(cents: int) -> str:
    """Return cents as people write them: `-1,234.05`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"


def percent_of(cents: int, percent: int) -> int:
    """Return a share of an amount, with half a cent rounded up."""
    return (cents * percent + 50) // 100


def split_evenly(cents: int, parts: int) -> list[int]:
    """Split an amount so that the parts differ by a cent at most and add up exactly."""
    if parts < 1:
        raise ValueError("cannot split into no parts")
    share, rest = divmod(cents, parts)
    return [share + 1] * rest + [share] * (parts - rest)
