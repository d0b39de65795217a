"""A message is opened by who has the secret, as what it was sealed, whole and unchanged; else not at all."""

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


def test_a_secret_is_replaced_while_both_sides_go_on() -> None:
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
    both.forget_run("r")
    assert old.verify("result", both.sign("result", "a", run_id="r")) == ("a",)


@given(secret=st.text(max_size=10), kind=st.text(max_size=10), parts=st.lists(texts, max_size=4))
def test_what_was_sealed_is_opened(secret: str, kind: str, parts: list[str]) -> None:
    sealed = Envelope(secret).sign(kind, *parts)

    assert Envelope(secret).verify(kind, sealed) == tuple(parts)
    assert Envelope(secret).verify(kind, sealed.encode()) == tuple(parts)


def test_text_that_is_no_utf_8_survives() -> None:
    parts = ("\udcff", "\udcff" * 1000)

    assert Envelope("s").verify("task", Envelope("s").sign("task", *parts)) == parts


def test_long_parts_are_compressed() -> None:
    assert len(Envelope("s").sign("result", "line\n" * 100_000)) < 10_000


@given(st.data())
def test_no_changed_message_is_opened(data: st.DataObject) -> None:
    sealed = Envelope("s").sign("task", "a" * 600, "b")
    place = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.characters(codec="ascii").filter(lambda letter: letter != sealed[place]))
    changed = sealed[:place] + letter + sealed[place + 1 :]

    with pytest.raises(EnvelopeError):
        Envelope("s").verify("task", changed)


@given(st.text())
def test_no_other_text_is_opened(text: str) -> None:
    with pytest.raises(EnvelopeError):
        Envelope("s").verify("task", text)


def test_another_secret_is_told_as_such() -> None:
    with pytest.raises(EnvelopeError, match="wrong signature: give the dispatcher and all workers the same"):
        Envelope("mine").verify("task", Envelope("yours").sign("task", "a"))


def test_no_secret_is_not_any_secret() -> None:
    with pytest.raises(EnvelopeError, match="wrong signature"):
        Envelope("").verify("task", Envelope("s").sign("task", "a"))


def test_a_task_is_not_taken_for_a_result() -> None:
    with pytest.raises(EnvelopeError, match="of the kind 'task', 'result' was expected"):
        Envelope("s").verify("result", Envelope("s").sign("task", "a"))


def test_parts_cannot_move_over_their_border() -> None:
    one, two = Envelope("s").sign("task", "ab", "c"), Envelope("s").sign("task", "a", "bc")

    assert json.loads(one)[-1] != json.loads(two)[-1]


def test_another_version_is_told_as_such() -> None:
    message = json.loads(Envelope("s").sign("task", "a"))
    message[0] = 7

    with pytest.raises(EnvelopeError, match="version 7, this program uses 2: use the same version"):
        Envelope("s").verify("task", json.dumps(message))


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", '[2,"a"]', '[true,"task","x"]', '[2,"task",{},"x"]', "[" * 9999]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(EnvelopeError):
        Envelope("s").verify("task", text)


def test_a_message_that_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = Envelope("s").sign("task", "a")
    monkeypatch.setattr(envelope, "MAX_MESSAGE_CHARS", len(sealed) - 1)

    with pytest.raises(EnvelopeError, match="at most"):
        Envelope("s").verify("task", sealed)
    with pytest.raises(EnvelopeError, match="larger than"):
        Envelope("s").sign("task", "a")


def test_all_parts_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = Envelope("s").sign("task", "a" * 1000, "b" * 1000)
    monkeypatch.setattr(envelope, "MAX_PARTS_BYTES", 1999)

    with pytest.raises(EnvelopeError, match="more than the 999 bytes"):
        Envelope("s").verify("task", sealed)


@given(st.binary(max_size=2000))
def test_packed_bytes_come_back(data: bytes) -> None:
    assert unpack_bytes(pack_bytes(data), limit_bytes=len(data)) == data


def test_a_little_that_would_become_much_is_refused() -> None:
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
