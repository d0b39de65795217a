"""Tests that a leader that is asked to end hands running files over to other members."""

from __future__ import annotations

import pytest

from dispatcher.engine.backend import Backend
from dispatcher.join.member import HandedOverError, HandoverBackend
from passmuster.wire.join_store import NotLeadingError


class Inner:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_led_by_others = False

    def withdraw(self) -> tuple[()]:
        self.asked.append("withdraw")
        return ()

    def close(self) -> None:
        if self.is_led_by_others:
            raise NotLeadingError
        self.asked.append("close")


def around(inner: Inner, *, leaves: bool) -> Backend:
    return HandoverBackend(inner, lambda: leaves)  # type: ignore[arg-type]  # All that is called.


def test_nothing_is_withdrawn_when_the_run_is_handed_over() -> None:
    inner = Inner()
    with pytest.raises(HandedOverError):
        around(inner, leaves=True).withdraw()
    assert inner.asked == []

    assert around(inner, leaves=False).withdraw() == ()
    assert inner.asked == ["withdraw"]


def test_closing_does_not_stop_a_run_that_another_member_leads() -> None:
    inner = Inner()
    inner.is_led_by_others = True

    around(inner, leaves=True).close()

    assert inner.asked == []
