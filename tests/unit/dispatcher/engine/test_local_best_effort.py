"""Tests that best-effort tasks of the local pool use only idle slots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from dispatcher.engine.backend import BackendEvent, TaskStarted
from dispatcher.engine.local import LocalBackend
from passmuster.model.errors import InfrastructureError
from tests.unit.dispatcher.engine.test_local import ScriptedExecutor, finished, poll_until, task


@pytest.fixture
def executor() -> ScriptedExecutor:
    executor = ScriptedExecutor(slots=3)
    executor.holds = True
    return executor


@pytest.fixture
def backend(executor: ScriptedExecutor) -> Iterator[LocalBackend]:
    backend = LocalBackend(executor)
    yield backend
    backend.close()


def started(events: Sequence[BackendEvent]) -> list[str]:
    return [event.task.file_path for event in events if isinstance(event, TaskStarted)]


def test_a_best_effort_task_starts_when_no_other_waits(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.slots = 1
    backend.submit([task("a"), task("b")])
    backend.submit([task("spare")], best_effort=True)
    executor.slots = 2
    executor.let_end("a")
    poll_until(backend, lambda found: "spare" in started(found))

    assert executor.started == ["a", "b", "spare"]


@pytest.mark.parametrize(
    ("running_s", "spare_s", "starts"),
    [(60.0, 1.0, True), (60.0, 600.0, False), (0.001, None, False), (None, 600.0, True)],
)
def test_a_best_effort_task_starts_only_if_it_can_end_before_the_running_files(
    executor: ScriptedExecutor,
    backend: LocalBackend,
    running_s: float | None,
    spare_s: float | None,
    starts: bool,
) -> None:
    backend.submit([replace(task("a"), predicted_s=running_s)])
    backend.submit([replace(task("spare"), predicted_s=spare_s)], best_effort=True)

    assert executor.started == (["a", "spare"] if starts else ["a"])
    assert [one.file_path for one in backend.withdraw()] == ([] if starts else ["spare"])


def test_a_best_effort_task_does_not_overtake_one_that_waits_for_memory(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    backend.submit([task("a", 60), task("big", 60)])
    backend.submit([task("spare", 1)], best_effort=True)
    assert executor.started == ["a"]

    executor.let_end("a")
    poll_until(backend, lambda found: "spare" in started(found))

    assert executor.started == ["a", "big", "spare"]


def test_a_best_effort_task_waits_for_memory(executor: ScriptedExecutor, backend: LocalBackend) -> None:
    backend.submit([task("a", 60)])
    backend.submit([task("spare", 60), task("small", 10)], best_effort=True)

    assert executor.started == ["a", "small"]


def test_no_best_effort_task_starts_while_only_such_tasks_run(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.slots = 2
    backend.submit([task("a")])
    backend.submit([task("one"), task("two"), task("three")], best_effort=True)
    assert executor.started == ["a", "one"]

    executor.let_end("a")
    poll_until(backend, lambda found: finished(found) == ["a"])
    executor.let_end("one")
    poll_until(backend, lambda found: finished(found) == ["one"])

    assert executor.started == ["a", "one"]
    assert [withdrawn.file_path for withdrawn in backend.withdraw()] == ["two", "three"]


def test_a_refused_best_effort_task_keeps_its_position(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    backend.submit([task("a")])
    executor.refuses = 1
    backend.submit([task("one")], best_effort=True)
    assert executor.started == ["a"]

    backend.submit([task("two")], best_effort=True)

    assert executor.started == ["a", "one", "two"]


def test_a_failure_at_the_start_of_a_best_effort_task_loses_none(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    backend.submit([task("a")])
    executor.trouble_at_admit = InfrastructureError("no processes left")
    backend.submit([task("spare")], best_effort=True)

    with pytest.raises(InfrastructureError, match="no processes left"):
        poll_until(backend, lambda found: bool(finished(found)))
    assert [withdrawn.file_path for withdrawn in backend.withdraw()] == ["spare"]


def test_a_best_effort_task_counts_in_its_group(executor: ScriptedExecutor) -> None:
    backend = LocalBackend(executor, groups={"db": 1})
    backend.submit([replace(task("a"), group="db")])
    backend.submit([replace(task("spare"), group="db"), task("other")], best_effort=True)

    assert executor.started == ["a", "other"]
    backend.close()
