"""Who gets a place on a worker, and in which turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from passmuster.wire.broker_messages import WorkerStatus
from tests.unit.worker.queue.scripted_queue import NAME, Desk, task
from worker.queue.admission import ADMIT_S

ALONE = task("alone.py", exclusive=True)
OTHER = task("other.py")
BIG = task("big.py", predicted_bytes=2 << 30)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def wanted() -> bool:
    return True


def card(name: str, *, gib: int, runs: tuple[str, ...] = ("run",)) -> WorkerStatus:
    return WorkerStatus(name=name, host="h", slots=1, busy=0, budget_bytes=gib << 30, version="1", runs=runs)


def while_refused(desk: Desk, times: int, then: Callable[[], object]) -> None:
    """Have something done when a file was refused a place so many times."""
    desk.executor.refuses = 1_000_000
    refused = 0

    def count() -> None:
        nonlocal refused
        refused += 1
        if refused == times:
            then()

    desk.executor.while_refusing = count


def test_a_file_that_must_be_alone_waits_as_long_as_it_takes(desk: Desk) -> None:
    desk.executor.refuses = 1000

    assert desk.admission.admit(ALONE, wanted)

    assert desk.executor.admitted == ["alone.py"]
    assert desk.clock.now > 10 * ADMIT_S


def test_nothing_else_is_admitted_while_a_file_waits_to_be_alone(desk: Desk) -> None:
    answers: list[bool] = []

    def come_between() -> None:
        desk.executor.refuses = 0
        answers.append(desk.admission.admit(OTHER, wanted))

    while_refused(desk, 1, come_between)

    assert desk.admission.admit(ALONE, wanted)
    assert answers == [False]
    assert desk.executor.admitted == ["alone.py"]
    assert desk.admission.admit(OTHER, wanted)


def test_a_second_file_that_must_be_alone_is_for_others(desk: Desk) -> None:
    answers: list[bool] = []

    def come_between() -> None:
        desk.executor.refuses = 0
        answers.append(desk.admission.admit(task("second.py", exclusive=True), wanted))

    while_refused(desk, 1, come_between)

    assert desk.admission.admit(ALONE, wanted)
    assert answers == [False]
    assert desk.admission.admit(task("second.py", exclusive=True), wanted)


def test_a_file_that_nobody_wants_any_more_gives_its_turn_away(desk: Desk) -> None:
    desk.executor.refuses = 1_000_000

    assert not desk.admission.admit(ALONE, lambda: False)

    assert desk.clock.now < 2 * ADMIT_S
    desk.executor.refuses = 0
    assert desk.admission.admit(OTHER, wanted)


def test_the_end_of_the_worker_ends_the_wait(desk: Desk) -> None:
    while_refused(desk, 3, desk.roster.close)

    assert not desk.admission.admit(ALONE, wanted)


def test_a_file_too_big_for_this_worker_is_left_to_one_that_has_room(tmp_path: Path) -> None:
    desk = Desk(tmp_path, cards=[card("worker-2", gib=4)])

    assert not desk.admission.admit(BIG, wanted)
    assert desk.executor.admitted == []
    assert desk.admission.admit(OTHER, wanted)


@pytest.mark.parametrize(
    "cards",
    [
        [],
        [card("worker-2", gib=1)],
        [card(NAME, gib=4)],
        [card("worker-2", gib=4, runs=("another run",))],
    ],
)
def test_a_file_too_big_for_all_workers_is_taken_and_gets_its_turn(
    tmp_path: Path, cards: list[WorkerStatus]
) -> None:
    desk = Desk(tmp_path, cards=cards)
    desk.executor.refuses = 1000

    assert desk.admission.admit(BIG, wanted)
