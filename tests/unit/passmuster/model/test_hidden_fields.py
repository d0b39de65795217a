"""Hidden fields do not appear in the repr of a value."""

from __future__ import annotations

from msgspec import Struct

from passmuster.model.hidden_fields import repr_without
from passmuster.wire.broker import parse_broker


class Door(Struct, frozen=True, kw_only=True):
    number: int
    code: str
    name: str = "front"

    __repr__ = repr_without("code")


def test_a_hidden_field_is_left_out_and_the_others_are_shown() -> None:
    assert repr(Door(number=1, code="1234")) == "Door(number=1, name='front')"
    assert str([Door(number=1, code="1234")]) == "[Door(number=1, name='front')]"


def test_a_broker_s_password_is_not_shown() -> None:
    address = parse_broker("redis://ada:hunter2@box/1", source="--broker")

    assert address.password == "hunter2"
    assert "hunter2" not in repr(address)
    assert "box" in repr(address)
