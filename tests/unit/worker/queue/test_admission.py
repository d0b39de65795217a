"""The order in which a worker admits files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from passmuster.wire.broker_messages import WorkerStatus
from tests.unit.worker.queue.scripted_queue import NAME, ScriptedWorker, task
from worker.queue.admission import ADMIT_S

ALONE = task("alone.py", exclusive=True)
OTHER = task("other.py")
BIG = task("big.py", predicted_bytes=2 << 30)


@pytest.fixture
def worker(tmp_path: Path) -> ScriptedWorker:
    return ScriptedWorker(tmp_path)


def wanted() -> bool:
    return True


def status(name: str, *, gib: int, runs: tuple[str, ...] = ("run",)) -> WorkerStatus:
    return WorkerStatus(name=name, host="h", slots=1, busy=0, budget_bytes=gib << 30, version="1", runs=runs)


def while_refused(worker: ScriptedWorker, times: int, then: Callable[[], object]) -> None:
    """Call a function when a file was refused a slot so many times."""
    worker.executor.refuses = 1_000_000
    refused = 0

    def count() -> None:
        nonlocal refused
        refused += 1
        if refused == times:
            then()

    worker.executor.while_refusing = count


def test_an_exclusive_file_waits_without_a_limit(worker: ScriptedWorker) -> None:
    worker.executor.refuses = 1000

    assert worker.admission.admit(ALONE, wanted)

    assert worker.executor.admitted == ["alone.py"]
    assert worker.clock.now > 10 * ADMIT_S


def test_no_other_file_is_admitted_while_an_exclusive_file_waits(worker: ScriptedWorker) -> None:
    answers: list[bool] = []

    def come_between() -> None:
        worker.executor.refuses = 0
        answers.append(worker.admission.admit(OTHER, wanted))

    while_refused(worker, 1, come_between)

    assert worker.admission.admit(ALONE, wanted)
    assert answers == [False]
    assert worker.executor.admitted == ["alone.py"]
    assert worker.admission.admit(OTHER, wanted)


def test_a_second_exclusive_file_is_left_to_other_workers(worker: ScriptedWorker) -> None:
    answers: list[bool] = []

    def come_between() -> None:
        worker.executor.refuses = 0
        answers.append(worker.admission.admit(task("second.py", exclusive=True), wanted))

    while_refused(worker, 1, come_between)

    assert worker.admission.admit(ALONE, wanted)
    assert answers == [False]
    assert worker.admission.admit(task("second.py", exclusive=True), wanted)


def test_an_exclusive_file_that_is_no_longer_wanted_loses_its_turn(worker: ScriptedWorker) -> None:
    worker.executor.refuses = 1_000_000

    assert not worker.admission.admit(ALONE, lambda: False)

    assert worker.clock.now < 2 * ADMIT_S
    worker.executor.refuses = 0
    assert worker.admission.admit(OTHER, wanted)


def test_a_shutdown_ends_the_wait(worker: ScriptedWorker) -> None:
    while_refused(worker, 3, worker.in_flight.close)

    assert not worker.admission.admit(ALONE, wanted)


def test_a_file_too_large_for_this_worker_is_left_to_one_that_it_fits(tmp_path: Path) -> None:
    worker = ScriptedWorker(tmp_path, statuses=[status("worker-2", gib=4)])

    assert not worker.admission.admit(BIG, wanted)
    assert worker.executor.admitted == []
    assert worker.admission.admit(OTHER, wanted)


@pytest.mark.parametrize(
    "statuses",
    [
        [],
        [status("worker-2", gib=1)],
        [status(NAME, gib=4)],
        [status("worker-2", gib=4, runs=("another run",))],
    ],
)
def test_a_file_too_large_for_all_workers_runs_exclusively(
    tmp_path: Path, statuses: list[WorkerStatus]
) -> None:
    worker = ScriptedWorker(tmp_path, statuses=statuses)
    worker.executor.refuses = 1000

    assert worker.admission.admit(BIG, wanted)
