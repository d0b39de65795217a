"""The end of a worker: a grace for what runs, none for who asks twice, and no process that stays."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.unit.worker.queue.scripted_queue import ScriptedExecutor, task
from tests.unit.worker.workbench import DEADLINE_S, until
from worker.queue import shutdown as ending
from worker.queue.in_flight import InFlightFile, InFlightFiles
from worker.queue.shutdown import TERM_S, Shutdown

HELD = InFlightFile(run_id="run", path="ok.py", delivery=101, attempt_id=task().attempt_id)


class Stage:
    """An `Shutdown` with its thread."""

    def __init__(self, *, grace_s: float) -> None:
        self.executor, self.roster = ScriptedExecutor(), InFlightFiles()
        self.left = threading.Event()
        self.ending = Shutdown(self.executor, self.roster, grace_s=grace_s, force_exit=self.left.set)
        self.thread = threading.Thread(target=self.ending.wait, daemon=True)
        self.thread.start()

    def finish(self) -> None:
        self.ending.mark_exiting()
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


def stopped(stage: Stage) -> Callable[[], bool]:
    return lambda: bool(stage.executor.stops)


def test_a_file_that_ends_within_the_grace_is_waited_for() -> None:
    stage = Stage(grace_s=DEADLINE_S)
    stage.roster.add(HELD)

    stage.ending.request()
    until(lambda: stage.roster.is_closed, "nothing is taken any more")
    assert not stage.roster.is_stopping
    stage.roster.remove(HELD.attempt_id)
    until(stopped(stage), "the rest is stopped")

    stage.finish()
    assert not stage.left.is_set()


def test_after_the_grace_what_runs_is_ended() -> None:
    stage = Stage(grace_s=0.01)
    stage.roster.add(HELD)

    stage.ending.request()
    until(stopped(stage), "it is stopped")

    assert stage.roster.is_stopping
    assert stage.executor.stops == [TERM_S]
    stage.finish()


def test_who_asks_twice_is_not_made_to_wait() -> None:
    stage = Stage(grace_s=600)
    stage.roster.add(HELD)

    stage.ending.request()
    stage.ending.request()
    until(stopped(stage), "it is stopped")

    assert stage.executor.stops == [0]
    stage.finish()


def test_at_once_means_at_once() -> None:
    stage = Stage(grace_s=600)
    stage.roster.add(HELD)

    stage.ending.request(at_once=True)
    until(stopped(stage), "it is stopped")

    assert stage.executor.stops == [0]
    stage.finish()


def test_a_process_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "EXIT_S", 0.01)
    stage = Stage(grace_s=0.01)

    stage.ending.request()

    assert stage.left.wait(DEADLINE_S)
