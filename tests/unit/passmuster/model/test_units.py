"""Sizes and times are parsed and formatted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.model.units import Amount, format_bytes, format_seconds, parse_amount, parse_seconds

KIB, MIB, GIB = 1024, 1024**2, 1024**3


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4GiB", 4 * GIB),
        ("4 gib", 4 * GIB),
        (" 512MB ", 512_000_000),
        ("512m", 512 * MIB),
        ("1.5K", 1536),
        ("1KB", 1000),
        ("2T", 2 * 1024 * GIB),
        ("2TB", 2 * 10**12),
        ("100", 100),
        ("7B", 7),
    ],
)
def test_a_size_is_read_with_its_unit(text: str, size_bytes: int) -> None:
    assert parse_amount(text) == Amount(size_bytes=size_bytes)


@pytest.mark.parametrize(("text", "fraction"), [("80%", 0.8), ("100%", 1.0), ("0.5 %", 0.005)])
def test_a_percentage_is_a_share_of_something(text: str, fraction: float) -> None:
    amount = parse_amount(text)
    assert amount.size_bytes is None
    assert amount.fraction == pytest.approx(fraction)


@pytest.mark.parametrize(
    "text",
    ["", " ", "GiB", "-1", "-4GiB", "0", "0%", "101%", "4 GiBs", "4,5GiB", "1e9", "4GiB 2MiB", "٤GiB", "nan"],
)
def test_a_wrong_size_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected .*, got {re.escape(repr(text))}$"):
        parse_amount(text)


def test_a_size_that_rounds_to_no_byte_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one byte, got '0\.4'"):
        parse_amount("0.4")


@pytest.mark.parametrize("parse", [parse_amount, parse_seconds])
def test_a_number_beyond_any_float_is_refused_and_does_not_overflow(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(ValueError, match=r"^expected "):
        parse("9" * 400)


def test_a_share_is_resolved_against_the_whole_and_a_size_is_not() -> None:
    assert parse_amount("25%").resolve(1000) == 250
    assert parse_amount("10B").resolve(1000) == 10


@pytest.mark.parametrize("text", ["4 GiB", "1.5 MiB", "80%", "12.5%"])
def test_an_amount_is_shown_as_it_would_be_written(text: str) -> None:
    assert str(parse_amount(text)) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("90s", 90.0),
        ("0.5", 0.5),
        ("250ms", 0.25),
        ("5m", 300.0),
        ("5min", 300.0),
        ("1h30m", 5400.0),
        ("1h 30m 5s", 5405.0),
        (" 2 h ", 7200.0),
        ("3m 05s", 185.0),
    ],
)
def test_a_time_is_read_with_its_units(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-5", "-5m", "0", "0s", "80%", "1h30", "1.5.3s", "5 days", "1d", "5s!"]
)
def test_a_wrong_time_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected .*, got {re.escape(repr(text))}$"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (1536, "1.5 KiB"),
        (MIB - 1, "1.0 MiB"),
        (int(99.97 * MIB), "100 MiB"),
        (300 * MIB, "300 MiB"),
        (4 * GIB, "4 GiB"),
        (2048 * GIB, "2048 GiB"),
    ],
)
def test_a_size_is_written_with_the_unit_that_fits(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00s"),
        (0.04, "0.04s"),
        (0.996, "1.0s"),
        (12.34, "12.3s"),
        (59.94, "59.9s"),
        (59.97, "1m 00s"),
        (185.4, "3m 05s"),
        (3599.7, "1h 00m"),
        (3725.0, "1h 02m"),
    ],
)
def test_a_time_is_written_with_the_units_that_fit(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.integers(min_value=1, max_value=2**50))
def test_a_written_size_is_read_back_as_nearly_the_same(size_bytes: int) -> None:
    read = parse_amount(format_bytes(size_bytes)).size_bytes
    assert read is not None
    assert read == pytest.approx(size_bytes, rel=0.05)


@given(st.floats(min_value=0.005, max_value=10**7))
def test_a_written_time_is_read_back_as_nearly_the_same(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds)) == pytest.approx(seconds, rel=0.05, abs=0.006)


@given(st.integers(min_value=0, max_value=2**50), st.integers(min_value=0, max_value=2**50))
def test_a_larger_size_is_never_written_as_a_smaller_one(one: int, other: int) -> None:
    small, large = sorted((one, other))

    def read(size_bytes: int) -> int:
        return parse_amount(format_bytes(size_bytes)).size_bytes or 0 if size_bytes else 0

    assert read(small) <= read(large)
