"""A worker's shutdown: a grace period for running files, and an exit in any case."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.unit.worker.queue.scripted_queue import ScriptedExecutor, task
from tests.unit.worker.workbench import DEADLINE_S, until
from worker.queue import shutdown
from worker.queue.in_flight import InFlightFile, InFlightFiles
from worker.queue.shutdown import TERM_S, Shutdown

FILE = InFlightFile(run_id="run", path="ok.py", delivery=101, attempt_id=task().attempt_id)


class Stage:
    """An `Shutdown` with its thread."""

    def __init__(self, *, grace_s: float) -> None:
        self.executor, self.in_flight = ScriptedExecutor(), InFlightFiles()
        self.left = threading.Event()
        self.shutdown = Shutdown(self.executor, self.in_flight, grace_s=grace_s, force_exit=self.left.set)
        self.thread = threading.Thread(target=self.shutdown.wait, daemon=True)
        self.thread.start()

    def finish(self) -> None:
        self.shutdown.mark_exiting()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


def stopped(stage: Stage) -> Callable[[], bool]:
    return lambda: bool(stage.executor.stops)


def test_the_worker_waits_for_a_file_within_the_grace_period() -> None:
    stage = Stage(grace_s=DEADLINE_S)
    stage.in_flight.add(FILE)

    stage.shutdown.request()
    until(lambda: stage.in_flight.is_closed, "nothing is taken any more")
    assert not stage.in_flight.is_stopping
    stage.in_flight.remove(FILE.attempt_id)
    until(stopped(stage), "the rest is stopped")

    stage.finish()
    assert not stage.left.is_set()


def test_running_files_are_stopped_after_the_grace_period() -> None:
    stage = Stage(grace_s=0.01)
    stage.in_flight.add(FILE)

    stage.shutdown.request()
    until(stopped(stage), "it is stopped")

    assert stage.in_flight.is_stopping
    assert stage.executor.stops == [TERM_S]
    stage.finish()


def test_a_second_request_skips_the_grace_period() -> None:
    stage = Stage(grace_s=600)
    stage.in_flight.add(FILE)

    stage.shutdown.request()
    stage.shutdown.request()
    until(stopped(stage), "it is stopped")

    assert stage.executor.stops == [0]
    stage.finish()


def test_an_urgent_request_skips_the_grace_period() -> None:
    stage = Stage(grace_s=600)
    stage.in_flight.add(FILE)

    stage.shutdown.request(at_once=True)
    until(stopped(stage), "it is stopped")

    assert stage.executor.stops == [0]
    stage.finish()


def test_a_process_that_does_not_exit_is_forced_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "EXIT_S", 0.01)
    stage = Stage(grace_s=0.01)

    stage.shutdown.request()

    assert stage.left.wait(DEADLINE_S)
