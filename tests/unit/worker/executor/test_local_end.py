"""Ending single attempts with real processes, and giving a place back that was reserved in vain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passmuster.model.status import Status, StopReason
from tests.unit.worker.workbench import Workbench, until

WAITS = """
    import pathlib, sys, time
    pathlib.Path(sys.argv[0] + ".ready").touch()
    stop = pathlib.Path("go-on")
    while not stop.exists():
        time.sleep(0.01)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.executor.close()


def test_only_the_named_attempt_is_stopped(bench: Workbench) -> None:
    bench.write("one.py", WAITS)
    bench.write("two.py", WAITS)
    one, two = bench.task("one.py"), bench.task("two.py")
    first, second = bench.start(one), bench.start(two)
    until(lambda: len(list(bench.root.glob("*.ready"))) == 2, "both run")

    bench.executor.stop_attempts([one.attempt_id, "nobody:knows#1"], StopReason.CANCELLED, grace_s=0)

    ended = first.result()
    assert (ended.status, ended.stop_reason) == (Status.CANCELLED, StopReason.CANCELLED)
    (bench.root / "go-on").touch()
    assert second.result().status is Status.PASS
    assert bench.left_of(one) == []


def test_an_admitted_attempt_is_stopped_when_it_starts(bench: Workbench) -> None:
    bench.write("one.py", WAITS)
    one = bench.task("one.py")
    assert bench.executor.admit(one)

    bench.executor.stop_attempts([one.attempt_id], StopReason.CANCELLED, grace_s=0)

    assert bench.executor.run_single_test(one).status is Status.CANCELLED


def test_a_stop_request_does_not_outlive_its_attempt(bench: Workbench) -> None:
    bench.write("ok.py", "pass\n")
    task = bench.task("ok.py")
    assert bench.executor.admit(task)
    bench.executor.stop_attempts([task.attempt_id], StopReason.CANCELLED, grace_s=0)
    bench.executor.release(task)
    bench.executor.stop_attempts([task.attempt_id], StopReason.CANCELLED, grace_s=0)

    assert bench.run(task).status is Status.PASS


def test_a_released_slot_is_free_again(bench: Workbench) -> None:
    bench.write("ok.py", "pass\n")
    tasks = [bench.task("ok.py") for _ in range(3)]
    assert [bench.executor.admit(task) for task in tasks] == [True, True, False]

    bench.executor.release(tasks[0])

    assert bench.executor.admit(tasks[2])
    bench.executor.release(tasks[1])
    bench.executor.release(tasks[2])
    assert bench.executor.free_capacity().is_idle
