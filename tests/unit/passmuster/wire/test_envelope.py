"""A message is verified only with the secret, the right kind, and unchanged content."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.wire import envelope
from passmuster.wire.envelope import Envelope, EnvelopeError, pack_bytes, unpack_bytes

texts = st.text(max_size=50) | st.text(max_size=3).map(lambda text: text * 1000)


def test_a_secret_can_be_replaced_while_both_sides_run() -> None:
    old, both, new = Envelope("old"), Envelope("new\nold"), Envelope("new")

    assert both.verify("task", old.sign("task", "a")) == ("a",)
    assert new.verify("task", both.sign("task", "a")) == ("a",)
    with pytest.raises(EnvelopeError, match="wrong signature"):
        old.verify("task", both.sign("task", "a"))


def test_a_run_is_answered_with_the_secret_that_it_came_with() -> None:
    old, both, new = Envelope("old"), Envelope("old\nnew"), Envelope("new")
    terms = new.sign("terms", "a")
    both.verify("terms", terms)
    both.answer_run("r", terms)

    assert new.verify("result", both.sign("result", "a", run_id="r")) == ("a",)
    assert old.verify("result", both.sign("result", "a", run_id="another")) == ("a",)
    both.answer_run("r", old.sign("terms", "a"))
    assert old.verify("result", both.sign("result", "a", run_id="r")) == ("a",)


@given(secret=st.text(max_size=10), kind=st.text(max_size=10), parts=st.lists(texts, max_size=4))
def test_a_signed_message_is_verified(secret: str, kind: str, parts: list[str]) -> None:
    signed = Envelope(secret).sign(kind, *parts)

    assert Envelope(secret).verify(kind, signed) == tuple(parts)
    assert Envelope(secret).verify(kind, signed.encode()) == tuple(parts)


def test_text_that_is_not_utf_8_is_preserved() -> None:
    parts = ("\udcff", "\udcff" * 1000)

    assert Envelope("s").verify("task", Envelope("s").sign("task", *parts)) == parts


def test_long_parts_are_compressed() -> None:
    assert len(Envelope("s").sign("result", "line\n" * 100_000)) < 10_000


@given(st.data())
def test_no_changed_message_is_verified(data: st.DataObject) -> None:
    signed = Envelope("s").sign("task", "a" * 600, "b")
    place = data.draw(st.integers(0, len(signed) - 1))
    letter = data.draw(st.characters(codec="ascii").filter(lambda letter: letter != signed[place]))
    changed = signed[:place] + letter + signed[place + 1 :]

    with pytest.raises(EnvelopeError):
        Envelope("s").verify("task", changed)


@given(st.text())
def test_no_other_text_is_verified(text: str) -> None:
    with pytest.raises(EnvelopeError):
        Envelope("s").verify("task", text)


def test_a_wrong_secret_is_reported_as_such() -> None:
    with pytest.raises(EnvelopeError, match="wrong signature: give the dispatcher and all workers the same"):
        Envelope("mine").verify("task", Envelope("yours").sign("task", "a"))


def test_an_empty_secret_does_not_verify_other_signatures() -> None:
    with pytest.raises(EnvelopeError, match="wrong signature"):
        Envelope("").verify("task", Envelope("s").sign("task", "a"))


def test_a_task_is_not_accepted_as_a_result() -> None:
    with pytest.raises(EnvelopeError, match="of the kind 'task', 'result' was expected"):
        Envelope("s").verify("result", Envelope("s").sign("task", "a"))


def test_the_signature_covers_the_boundaries_of_the_parts() -> None:
    one, two = Envelope("s").sign("task", "ab", "c"), Envelope("s").sign("task", "a", "bc")

    assert json.loads(one)[-1] != json.loads(two)[-1]


def test_another_version_is_reported_as_such() -> None:
    message = json.loads(Envelope("s").sign("task", "a"))
    message[0] = 7

    with pytest.raises(EnvelopeError, match="version 7, this program uses 2: use the same version"):
        Envelope("s").verify("task", json.dumps(message))


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", '[2,"a"]', '[true,"task","x"]', '[2,"task",{},"x"]', "[" * 9999]
)
def test_a_malformed_message_is_rejected(text: str) -> None:
    with pytest.raises(EnvelopeError):
        Envelope("s").verify("task", text)


def test_a_message_that_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = Envelope("s").sign("task", "a")
    monkeypatch.setattr(envelope, "MAX_MESSAGE_CHARS", len(signed) - 1)

    with pytest.raises(EnvelopeError, match="at most"):
        Envelope("s").verify("task", signed)
    with pytest.raises(EnvelopeError, match="larger than"):
        Envelope("s").sign("task", "a")


def test_the_total_size_of_the_parts_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = Envelope("s").sign("task", "a" * 1000, "b" * 1000)
    monkeypatch.setattr(envelope, "MAX_PARTS_BYTES", 1999)

    with pytest.raises(EnvelopeError, match="more than the 999 bytes"):
        Envelope("s").verify("task", signed)


@given(st.binary(max_size=2000))
def test_packed_bytes_are_unpacked_unchanged(data: bytes) -> None:
    assert unpack_bytes(pack_bytes(data), limit_bytes=len(data)) == data


def test_a_decompression_bomb_is_rejected() -> None:
    bomb = b64encode(zlib.compress(bytes(10_000_000))).decode()

    with pytest.raises(EnvelopeError, match="more than the 1000 bytes"):
        unpack_bytes(bomb, limit_bytes=1000)


@pytest.mark.parametrize(
    "text",
    ["", "?", "é", "AAAA", pack_bytes(b"abc")[:-4], b64encode(zlib.compress(b"abc") + b"more").decode()],
)
def test_damaged_data_is_refused(text: str) -> None:
    with pytest.raises(EnvelopeError, match="damaged"):
        unpack_bytes(text, limit_bytes=1000)
