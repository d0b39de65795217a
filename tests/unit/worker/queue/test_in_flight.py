"""The book of what a worker has."""

from __future__ import annotations

from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles


def held(name: str) -> InFlightFile:
    return InFlightFile(run_id="run", path=name, delivery=101, attempt_id=f"run:{name}#1")


def test_only_what_the_broker_gave_is_held() -> None:
    roster = InFlightFiles()

    assert roster.add(held("a"))
    assert roster.add(held("b"))
    roster.claim("run:b#1")

    assert roster.claimed() == (held("b"),)


def test_an_attempt_is_here_once() -> None:
    roster = InFlightFiles()
    roster.add(held("a"))

    assert not roster.add(held("a"))
    roster.remove("run:a#1")
    assert roster.add(held("a"))


def test_lost_is_final_and_told_once() -> None:
    roster = InFlightFiles()
    roster.add(held("a"))

    assert roster.mark_aborted("run:a#1", AbortReason.CANCELLED)
    assert not roster.mark_aborted("run:a#1", AbortReason.CANCELLED)
    assert roster.mark_aborted("run:a#1", AbortReason.LOST)
    assert not roster.mark_aborted("run:a#1", AbortReason.CANCELLED)
    assert roster.abort_reason("run:a#1") is AbortReason.LOST


def test_the_fate_of_a_file_goes_with_it() -> None:
    roster = InFlightFiles()
    roster.add(held("a"))
    roster.mark_aborted("run:a#1", AbortReason.LOST)
    roster.remove("run:a#1")

    assert not roster.mark_aborted("run:a#1", AbortReason.LOST)
    assert roster.abort_reason("run:a#1") is None


def test_a_closed_roster_takes_nothing_and_may_be_waited_for() -> None:
    roster = InFlightFiles()
    roster.add(held("a"))
    roster.close()

    assert not roster.add(held("b"))
    assert not roster.wait_until_empty(0)
    roster.remove("run:a#1")
    assert roster.wait_until_empty(0)
