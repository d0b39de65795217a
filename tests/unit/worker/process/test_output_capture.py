"""What is kept of an output: exact below the bound, head and tail above it, all bytes accounted for."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.process.output_capture import OutputCapture

GAP = re.compile(r"\n\[\.\.\. (\d+) bytes dropped here \.\.\.\]\n")
LIMITS = st.integers(0, 64)


def fed(limit_bytes: int, *parts: bytes) -> OutputCapture:
    capture = OutputCapture(limit_bytes)
    for part in parts:
        capture.feed(part)
    return capture


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return `data` in pieces, as a pipe may deliver it."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@given(st.binary(max_size=200), st.lists(st.integers(0, 1000)))
def test_an_output_within_the_bound_is_kept_exactly(data: bytes, cuts: list[int]) -> None:
    capture = fed(max(1, len(data)), *split(data, cuts))

    assert capture.text() == data.decode("utf-8", "backslashreplace")
    assert capture.total_dropped_bytes() == 0


@given(LIMITS, st.text("abc", max_size=200), st.lists(st.integers(0, 1000)))
def test_head_tail_and_dropped_bytes_add_up(limit: int, text: str, cuts: list[int]) -> None:
    capture = fed(limit, *split(text.encode(), cuts))

    pieces = GAP.split(capture.text())
    if len(pieces) == 1:
        assert pieces == [text]
        return
    head, dropped, tail = pieces
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + int(dropped) + len(tail) == len(text)
    assert len(head) + len(tail) == limit
    assert capture.total_dropped_bytes() == int(dropped)


@given(LIMITS, st.text(max_size=100), st.lists(st.integers(0, 1000)))
def test_the_bound_never_splits_a_character(limit: int, text: str, cuts: list[int]) -> None:
    text = text.replace("\\", "/")
    kept = fed(limit, *split(text.encode(), cuts)).text()

    # Half a character would be shown as a backslash and its number.
    assert "\\" not in kept
    pieces = GAP.split(kept)
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])


@given(LIMITS, st.binary(max_size=100), st.lists(st.integers(0, 1000)))
def test_output_may_arrive_in_any_pieces(limit: int, data: bytes, cuts: list[int]) -> None:
    whole, pieces = fed(limit, data), fed(limit, *split(data, cuts))

    assert pieces.text() == whole.text()
    assert pieces.total_dropped_bytes() == whole.total_dropped_bytes() == max(0, len(data) - limit)


def test_bytes_that_are_no_text_are_escaped() -> None:
    assert fed(100, b"a\xffb\0\x1b[31m").text() == "a\\xffb\0\x1b[31m"


def test_memory_stays_within_the_bound_for_any_amount_of_output() -> None:
    limit, part = 1 << 20, 1 << 16
    capture = OutputCapture(limit)
    tracemalloc.start()
    try:
        for _ in range(1000):
            capture.feed(bytes(part))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert capture.total_dropped_bytes() == 1000 * part - limit
    assert peak_bytes < 3 * limit


def test_an_output_in_single_bytes_stays_bounded_too() -> None:
    capture = fed(64, *([b"x"] * 10_000))

    assert len(GAP.sub("", capture.text())) == 64
    assert capture.total_dropped_bytes() == 10_000 - 64


def test_new_output_can_be_read_while_more_arrives() -> None:
    capture = OutputCapture(8)
    capture.feed(b"abcd")

    assert capture.since(0, max_bytes=100) == (0, b"abcd")
    assert capture.since(2, max_bytes=100) == (2, b"cd")
    assert capture.since(4, max_bytes=100) == (4, b"")
    assert capture.since(0, max_bytes=3) == (1, b"bcd")


def test_dropped_bytes_are_missing_from_the_new_output() -> None:
    capture = OutputCapture(8)
    capture.feed(b"head" + b"." * 10 + b"tail")

    start, data = capture.since(0, max_bytes=100)
    assert start + len(data) == 18
    assert data.endswith(b"tail")
    assert len(data) < 18


@given(
    LIMITS, st.binary(max_size=200), st.lists(st.integers(0, 1000)), st.integers(0, 200), st.integers(1, 99)
)
def test_the_output_since_an_offset_is_the_newest_kept(
    limit: int, data: bytes, cuts: list[int], offset: int, most: int
) -> None:
    capture, offset = fed(limit, *split(data, cuts)), min(offset, len(data))

    start, found = capture.since(offset, max_bytes=most)

    assert start >= offset
    assert found == data[start:]
    if not capture.total_dropped_bytes():
        assert start == max(offset, len(data) - most)
