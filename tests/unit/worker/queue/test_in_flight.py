"""The book of what a worker has."""

from __future__ import annotations

from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles


def held(name: str) -> InFlightFile:
    return InFlightFile(run_id="run", path=name, take=101, attempt_id=f"run:{name}#1")


def test_only_what_the_broker_gave_is_held() -> None:
    roster = InFlightFiles()

    assert roster.enter(held("a"))
    assert roster.enter(held("b"))
    roster.claim("run:b#1")

    assert roster.held() == (held("b"),)


def test_an_attempt_is_here_once() -> None:
    roster = InFlightFiles()
    roster.enter(held("a"))

    assert not roster.enter(held("a"))
    roster.leave("run:a#1")
    assert roster.enter(held("a"))


def test_lost_is_final_and_told_once() -> None:
    roster = InFlightFiles()
    roster.enter(held("a"))

    assert roster.doom("run:a#1", AbortReason.CANCELLED)
    assert not roster.doom("run:a#1", AbortReason.CANCELLED)
    assert roster.doom("run:a#1", AbortReason.LOST)
    assert not roster.doom("run:a#1", AbortReason.CANCELLED)
    assert roster.fate("run:a#1") is AbortReason.LOST


def test_the_fate_of_a_file_goes_with_it() -> None:
    roster = InFlightFiles()
    roster.enter(held("a"))
    roster.doom("run:a#1", AbortReason.LOST)
    roster.leave("run:a#1")

    assert not roster.doom("run:a#1", AbortReason.LOST)
    assert roster.fate("run:a#1") is None


def test_a_closed_roster_takes_nothing_and_may_be_waited_for() -> None:
    roster = InFlightFiles()
    roster.enter(held("a"))
    roster.close()

    assert not roster.enter(held("b"))
    assert not roster.wait_until_empty(0)
    roster.leave("run:a#1")
    assert roster.wait_until_empty(0)
