"""Every reporter receives every event in order, and one that fails is dropped."""

from __future__ import annotations

from dispatcher.model.event_bus import EventBus
from dispatcher.model.events import Notice
from passmuster.model.errors import InfrastructureError
from tests.unit.dispatcher.engine.scripted_backend import Listener

NEWS = Notice(at_s=1.0, text="news")


class Full(Listener):
    def handle(self, event: object) -> None:
        raise InfrastructureError("cannot write report.xml: no space left")


def test_all_reporters_receive_events_in_their_order() -> None:
    told: list[str] = []

    class Named(Listener):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def handle(self, event: object) -> None:
            told.append(self.name)

    EventBus([Named("a"), Named("b")], [Named("keeper")])(NEWS)

    assert told == ["a", "b", "keeper"]


def test_the_others_receive_the_reason_why_one_was_dropped() -> None:
    first, last = Listener(), Listener()
    announce = EventBus([first, Full(), last])

    announce(NEWS)
    announce(NEWS)

    texts = [[notice.text for notice in listener.of(Notice)] for listener in (first, last)]
    why = "cannot write report.xml: no space left"
    assert texts == [["news", why, "news"], [why, "news", "news"]]
    assert announce.failures == (why,)


def test_a_keeper_that_fails_makes_no_report_incomplete() -> None:
    listener = Listener()
    announce = EventBus([listener], [Full()])

    announce(NEWS)

    assert announce.failures == ()
    assert len(listener.events) == 2


def test_when_all_fail_at_the_same_event_each_is_named_once() -> None:
    announce = EventBus([Full(), Listener(fails_at=object), Full()])

    announce(NEWS)
    announce(NEWS)

    assert len(announce.failures) == 3
