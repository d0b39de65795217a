"""The files that a worker holds."""

from __future__ import annotations

from worker.queue.in_flight import AbortReason, InFlightFile, InFlightFiles


def held(name: str) -> InFlightFile:
    return InFlightFile(run_id="run", path=name, delivery=101, attempt_id=f"run:{name}#1")


def test_only_claimed_files_are_renewed() -> None:
    in_flight = InFlightFiles()

    assert in_flight.add(held("a"))
    assert in_flight.add(held("b"))
    in_flight.claim("run:b#1")

    assert in_flight.claimed() == (held("b"),)


def test_an_attempt_can_be_added_once() -> None:
    in_flight = InFlightFiles()
    in_flight.add(held("a"))

    assert not in_flight.add(held("a"))
    in_flight.remove("run:a#1")
    assert in_flight.add(held("a"))


def test_an_abort_reason_is_set_once_and_lost_is_final() -> None:
    in_flight = InFlightFiles()
    in_flight.add(held("a"))

    assert in_flight.mark_aborted("run:a#1", AbortReason.CANCELLED)
    assert not in_flight.mark_aborted("run:a#1", AbortReason.CANCELLED)
    assert in_flight.mark_aborted("run:a#1", AbortReason.LOST)
    assert not in_flight.mark_aborted("run:a#1", AbortReason.CANCELLED)
    assert in_flight.abort_reason("run:a#1") is AbortReason.LOST


def test_removing_a_file_removes_its_abort_reason() -> None:
    in_flight = InFlightFiles()
    in_flight.add(held("a"))
    in_flight.mark_aborted("run:a#1", AbortReason.LOST)
    in_flight.remove("run:a#1")

    assert not in_flight.mark_aborted("run:a#1", AbortReason.LOST)
    assert in_flight.abort_reason("run:a#1") is None


def test_a_closed_worker_accepts_no_file_and_becomes_empty() -> None:
    in_flight = InFlightFiles()
    in_flight.add(held("a"))
    in_flight.close()

    assert not in_flight.add(held("b"))
    assert not in_flight.wait_until_empty(0)
    in_flight.remove("run:a#1")
    assert in_flight.wait_until_empty(0)
