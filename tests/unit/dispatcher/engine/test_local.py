"""Tests the local pool over a scripted executor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import pytest

from dispatcher.engine.backend import BackendEvent, BackendNotice, TaskFinished, TaskStarted
from dispatcher.engine.local import LocalBackend
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import FreeCapacity, Limit, Usage
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask

DEADLINE_S = 20.0


def task(name: str, need_bytes: int | None = None, *, exclusive: bool = False, group: str = "") -> TestTask:
    return TestTask(run_id="r", file_path=name, predicted_bytes=need_bytes, exclusive=exclusive, group=group)


class ScriptedExecutor:
    """Runs a task until `let_end` is called for it, or the script says how it ends at once."""

    def __init__(self, *, slots: int = 1, free_bytes: int = 100) -> None:
        self.slots, self.free_bytes = slots, free_bytes
        self.holds = self.is_blind = False
        self.refuses = 0
        self.trouble: InfrastructureError | None = None
        self.trouble_at_admit: InfrastructureError | None = None
        self.bug: Exception | None = None
        self.started: list[str] = []
        self.together = self.asked = 0
        self.stops: list[tuple[StopReason, float]] = []
        self.closed = 0
        self._running: dict[str, TestTask] = {}
        self._changed = threading.Condition()
        self._ended: set[str] = set()

    def limits(self) -> tuple[Limit, ...]:
        return (Limit(name="slots", value=str(self.slots), source="the script"),)

    def prefetch(self, tasks: Sequence[TestTask]) -> None:
        self.expected = tuple(tasks)

    def free_capacity(self) -> FreeCapacity:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        with self._changed:
            used = sum(one.predicted_bytes or 10 for one in self._running.values())
            return FreeCapacity(
                slots=self.slots - len(self._running),
                free_bytes=self.free_bytes - used,
                unknown_bytes=10,
                running=len(self._running),
            )

    def admit(self, task: TestTask) -> bool:
        if self.trouble_at_admit is not None:
            raise self.trouble_at_admit
        with self._changed:
            if self.refuses:
                self.refuses -= 1
                return False
            self._running[task.file_path] = task
            self.together = max(self.together, len(self._running))
            self.started.append(task.file_path)
        return True

    def run_single_test(self, task: TestTask) -> TestResult:
        with self._changed:
            if self.holds:
                self._changed.wait_for(lambda: task.file_path in self._ended, DEADLINE_S)
            del self._running[task.file_path]
        if self.bug is not None:
            raise self.bug
        return TestResult(file_path=task.file_path, status=Status.PASS, attempt=task.attempt)

    def let_end(self, *names: str) -> None:
        with self._changed:
            self._ended.update(names)
            self._changed.notify_all()

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        self.stops.append((reason, grace_s))
        self.let_end(*self._running)

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        raise AssertionError("the local backend ends everything or nothing")

    def release(self, task: TestTask) -> None:
        with self._changed:
            del self._running[task.file_path]

    def check(self) -> None:
        if self.is_blind:
            raise InfrastructureError("memory is not measured")

    def usage(self) -> Usage:
        return Usage(slots=self.slots, budget_bytes=100, used_bytes=1, peak_bytes=2, files=())

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def executor() -> ScriptedExecutor:
    return ScriptedExecutor()


@pytest.fixture
def backend(executor: ScriptedExecutor) -> Iterator[LocalBackend]:
    backend = LocalBackend(executor, notices=["a notice"], groups={"db": 1})
    yield backend
    backend.close()


def poll_until(backend: LocalBackend, is_enough: Callable[[list[BackendEvent]], bool]) -> list[BackendEvent]:
    events: list[BackendEvent] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_enough(events):
        assert time.monotonic() < deadline_s, f"waited in vain after {events}"
        events += backend.poll(1.0)
    return events


def finished(events: Sequence[BackendEvent]) -> list[str]:
    return [event.task.file_path for event in events if isinstance(event, TaskFinished)]


def results(events: Sequence[BackendEvent]) -> list[TestResult]:
    return [event.result for event in events if isinstance(event, TaskFinished)]


def test_tasks_start_in_their_order_and_each_has_a_start_and_an_end(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    names = [f"{number}.py" for number in range(20)]
    backend.submit([task(name) for name in names])

    events = poll_until(backend, lambda found: len(finished(found)) == 20)

    assert executor.started == names
    assert finished(events) == names
    kinds = [(type(event), event.task.file_path) for event in events if not isinstance(event, BackendNotice)]
    assert kinds == [(kind, name) for name in names for kind in (TaskStarted, TaskFinished)]
    assert executor.together == 1


def test_slots_are_filled(executor: ScriptedExecutor, backend: LocalBackend) -> None:
    executor.slots, executor.holds = 3, True

    backend.submit([task(name) for name in "abcd"])

    assert executor.started == ["a", "b", "c"]
    executor.let_end("b", "d")
    assert set(finished(poll_until(backend, lambda found: len(finished(found)) == 2))) == {"b", "d"}
    executor.let_end("a", "c")


def test_a_full_pool_is_asked_again_and_again_whether_a_further_file_may_start(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.holds = True
    backend.submit([task("a"), task("b")])
    asked = executor.asked

    deadline_s = time.monotonic() + DEADLINE_S
    while executor.asked < asked + 3:
        assert time.monotonic() < deadline_s, "idle CPUs are looked for only if the pool asks"
        backend.poll(0.2)

    executor.let_end("a", "b")


def test_urgent_tasks_start_before_waiting_ones(executor: ScriptedExecutor, backend: LocalBackend) -> None:
    executor.holds = True
    backend.submit([task(name) for name in "abc"])
    backend.submit([task("retry")], urgent=True)

    executor.let_end("a", "b", "c", "retry")
    poll_until(backend, lambda found: len(finished(found)) == 4)

    assert executor.started == ["a", "retry", "b", "c"]


def test_a_file_that_does_not_fit_is_overtaken_and_reported_as_delayed(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.slots, executor.holds = 2, True
    backend.submit([task("a", 60), task("big", 90), task("small", 10)])
    assert executor.started == ["a", "small"]
    executor.let_end("small")
    poll_until(backend, lambda found: finished(found) == ["small"])
    deadline_s = time.monotonic() + 0.2
    while time.monotonic() < deadline_s:
        assert backend.poll(0.05) == ()

    executor.let_end("a", "big")
    ends = results(poll_until(backend, lambda found: len(finished(found)) == 2))

    assert {result.file_path: result.start_delayed_by for result in ends} == {"a": "", "big": "memory"}


def test_files_of_a_group_run_one_after_another_and_are_not_reported_as_delayed(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.slots, executor.holds = 3, True
    backend.submit([task("a", group="db"), task("b", group="db"), task("c")])
    assert executor.started == ["a", "c"]
    deadline_s = time.monotonic() + 0.2
    while time.monotonic() < deadline_s:
        assert [event for event in backend.poll(0.05) if isinstance(event, TaskFinished)] == []

    executor.let_end("a", "b")
    ends = results(poll_until(backend, lambda found: len(finished(found)) == 2))
    executor.let_end("c")

    assert executor.started == ["a", "c", "b"]
    assert [result.start_delayed_by for result in ends] == ["", ""]


def test_a_refused_task_of_a_group_is_offered_again(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.refuses = 2
    backend.submit([task("a", group="db"), task("b", group="db")])

    poll_until(backend, lambda found: len(finished(found)) == 2)

    assert executor.started == ["a", "b"]


def test_a_refused_task_keeps_its_position_and_is_offered_again(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.refuses = 2
    backend.submit([task("a"), task("b")])
    assert executor.started == []

    poll_until(backend, lambda found: len(finished(found)) == 2)

    assert executor.started == ["a", "b"]


def test_an_exclusive_task_waits_until_nothing_runs(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.slots, executor.holds = 3, True
    backend.submit([task("alone", exclusive=True), task("a"), task("b")])
    assert executor.started == ["a", "b"]
    executor.let_end("a")
    poll_until(backend, lambda found: finished(found) == ["a"])
    assert executor.started == ["a", "b"]

    executor.let_end("b", "alone")
    poll_until(backend, lambda found: len(finished(found)) == 2)

    assert executor.started == ["a", "b", "alone"]


def test_withdrawn_tasks_produce_no_event(executor: ScriptedExecutor, backend: LocalBackend) -> None:
    executor.holds = True
    backend.submit([task(name) for name in "abc"])

    assert [one.file_path for one in backend.withdraw()] == ["b", "c"]
    assert backend.withdraw() == ()
    executor.let_end("a", "b", "c")
    events = poll_until(backend, lambda found: len(finished(found)) == 1)
    assert backend.poll(0.05) == ()
    assert finished(events) == executor.started == ["a"]


def test_a_stop_is_passed_on_and_results_still_arrive(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.holds = True
    backend.submit([task("a")])

    backend.stop(StopReason.RUN_TIMEOUT, grace_s=3)

    assert executor.stops == [(StopReason.RUN_TIMEOUT, 3)]
    assert finished(poll_until(backend, lambda found: len(finished(found)) == 1)) == ["a"]


def test_an_internal_error_loses_no_result(executor: ScriptedExecutor, backend: LocalBackend) -> None:
    executor.bug = RuntimeError("a bug of ours")
    backend.submit([task("a"), task("b")])

    found = results(poll_until(backend, lambda events: len(finished(events)) == 2))

    assert [(result.file_path, result.status, result.attempt) for result in found] == [
        ("a", Status.LOST, 1),
        ("b", Status.LOST, 1),
    ]
    assert "RuntimeError: a bug of ours" in found[0].output


@pytest.mark.parametrize("place", ["trouble", "trouble_at_admit"])
def test_a_broken_executor_is_reported_once_and_no_task_is_lost(
    executor: ScriptedExecutor, backend: LocalBackend, place: str
) -> None:
    executor.holds = True
    backend.submit([task("a"), task("b"), task("c")])
    setattr(executor, place, InfrastructureError("memory can no longer be measured"))
    executor.let_end("a")

    with pytest.raises(InfrastructureError, match="no longer be measured"):
        poll_until(backend, lambda _: False)

    assert backend.poll(0.3) == ()
    assert [one.file_path for one in backend.withdraw()] == ["b", "c"]
    assert executor.started == ["a"]


def test_a_failed_memory_probe_is_reported_although_nothing_waits(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.holds = True
    backend.submit([task("a")])
    assert [type(event) for event in backend.poll(1.0)] == [TaskStarted]
    executor.is_blind = True

    with pytest.raises(InfrastructureError, match="not measured"):
        backend.poll(1.0)
    executor.let_end("a")

    assert finished(poll_until(backend, lambda found: len(finished(found)) == 1)) == ["a"]


def test_a_file_that_finished_unmeasured_is_reported_after_the_failure(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.holds = True
    backend.submit([task("a")])
    executor.let_end("a")
    executor.is_blind = True

    with pytest.raises(InfrastructureError, match="not measured"):
        poll_until(backend, lambda found: len(finished(found)) == 1)

    assert finished(poll_until(backend, lambda found: len(finished(found)) == 1)) == ["a"]


def test_events_before_a_failure_are_reported_before_it(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.holds, executor.slots = True, 2
    backend.submit([task("a")])
    executor.trouble = InfrastructureError("gone")
    backend.submit([task("b")])

    assert [type(event) for event in backend.poll(1.0)] == [TaskStarted]
    with pytest.raises(InfrastructureError, match="gone"):
        backend.poll(1.0)
    executor.let_end("a")
    assert finished(poll_until(backend, lambda found: len(finished(found)) == 1)) == ["a"]


def test_wake_ends_a_poll(backend: LocalBackend) -> None:
    threading.Timer(0.05, backend.wake).start()
    started_s = time.monotonic()

    assert backend.poll(DEADLINE_S) == ()

    assert time.monotonic() - started_s < DEADLINE_S / 2


def test_closing_stops_running_files_and_waits_for_every_thread(executor: ScriptedExecutor) -> None:
    threads = threading.active_count()
    executor.holds, executor.slots = True, 4
    backend = LocalBackend(executor)
    backend.submit([task(name) for name in "abcdef"])
    assert threading.active_count() == threads + 4

    backend.close()

    assert threading.active_count() == threads
    assert executor.started == ["a", "b", "c", "d"]
    assert (executor.stops, executor.closed) == ([(StopReason.CANCELLED, 0)], 1)


def test_usage_and_limits_are_the_executors(executor: ScriptedExecutor, backend: LocalBackend) -> None:
    assert backend.notices == ("a notice",)
    assert backend.limits() == executor.limits()
    assert backend.usage() == executor.usage()


def test_nothing_starts_after_a_failure_until_the_run_has_received_it(
    executor: ScriptedExecutor, backend: LocalBackend
) -> None:
    executor.bug = RuntimeError("a bug of ours")
    threads = threading.active_count()
    backend.submit([task("a"), task("b")])
    deadline_s = time.monotonic() + DEADLINE_S
    while threading.active_count() > threads:
        assert time.monotonic() < deadline_s

    assert executor.started == ["a"]
    assert len(poll_until(backend, lambda found: finished(found) == ["a"])) == 2
    assert [one.file_path for one in backend.withdraw()] == ["b"]
    assert executor.started == ["a"]


def refuse_threads(monkeypatch: pytest.MonkeyPatch, *, allowed: int) -> None:
    """Let no more than so many threads of running files be there at once."""
    start = threading.Thread.start
    running: list[threading.Thread] = []

    def start_if_allowed(thread: threading.Thread) -> None:
        running[:] = [one for one in running if one.is_alive()]
        if len(running) >= allowed:
            raise RuntimeError("can't start new thread")
        running.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_allowed)


def test_a_file_without_a_thread_waits_until_another_file_finishes(
    executor: ScriptedExecutor, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_threads(monkeypatch, allowed=1)
    executor.slots = 3
    executor.holds = True
    backend.submit([task(name) for name in "abc"])
    executor.let_end("a", "b", "c")

    events = poll_until(backend, lambda found: len(finished(found)) == 3)

    assert [type(event) for event in events] == [TaskStarted, TaskFinished] * 3
    assert [result.status for result in results(events)] == [Status.PASS] * 3


def test_a_failure_to_start_any_thread_is_reported_and_keeps_the_tasks(
    executor: ScriptedExecutor, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_threads(monkeypatch, allowed=0)
    backend.submit([task("a"), task("b")])

    with pytest.raises(InfrastructureError, match=r"cannot start a thread: can't start .* \(ulimit -u\)"):
        backend.poll(1.0)

    assert [one.file_path for one in backend.withdraw()] == ["a", "b"]
