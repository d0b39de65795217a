"""A backend that plays a script: what each attempt at each file comes to, on a clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import Backend, BackendEvent, TaskFinished, TaskStarted
from dispatcher.engine.loop import RunLoop
from dispatcher.model.events import Reporter, RunEvent
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Limit, Usage
from passmuster.model.result import CaseResult, PartRun, TestResult
from passmuster.model.status import Isolation, Status, StopReason
from passmuster.model.task import TestTask

EventT = TypeVar("EventT")

USAGE = Usage(slots=1, budget_bytes=10, used_bytes=5, peak_bytes=7, files=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one attempt comes to, after so many seconds on the script's clock."""

    status: Status = Status.PASS
    seconds: float = 1.0
    stop_reason: StopReason | None = None
    hangs: bool = False
    isolation: Isolation = Isolation.SPAWN
    was_alone: bool = True
    was_extra: bool = False
    cases: tuple[CaseResult, ...] = ()
    note: str = ""
    verdict_note: str = ""
    worker: str = ""
    interpreter: str = ""
    signal: int | None = None
    cpu_s: float | None = None
    more_collected: int = 0

    def result(self, task: TestTask) -> TestResult:
        return TestResult(
            file_path=task.file_path,
            status=self.status,
            attempt=task.attempt,
            duration=self.seconds,
            was_extra=self.was_extra,
            stop_reason=self.stop_reason,
            peak_bytes=100,
            isolation=self.isolation,
            isolation_note=self.note,
            note=self.verdict_note,
            was_alone=self.was_alone,
            cases=self.cases,
            worker=self.worker,
            interpreter=self.interpreter,
            signal=self.signal,
            cpu_s=self.cpu_s,
            parts=self._part_runs(task),
        )

    def _part_runs(self, task: TestTask) -> tuple[PartRun, ...]:
        """Return the run of a part as if each part of the file were one of its tests."""
        part = task.selection.part
        if part is None:
            return ()
        collected = part.total + self.more_collected
        run = PartRun(
            part=part, collected=collected, digest=f"of {collected}", start=part.number - 1, stop=part.number
        )
        return (run,)


@dataclass(kw_only=True)
class ScriptedBackend:
    """Runs `slots` tasks at once; everything happens in `poll`, which moves the clock.

    A spare task starts while no other waits and another one runs.
    """

    script: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    slots: int = 1
    on_poll: Callable[[int], None] = lambda number: None
    notices: tuple[str, ...] = ()
    now_s: float = 0.0
    polls: int = 0
    stops: list[tuple[StopReason, float]] = field(default_factory=list)
    submitted: list[tuple[str, bool]] = field(default_factory=list)
    tasks: list[TestTask] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)
    trouble: InfrastructureError | None = None
    extra: list[BackendEvent] = field(default_factory=list)
    waiting: deque[TestTask] = field(default_factory=deque)
    waiting_spare: deque[TestTask] = field(default_factory=deque)
    running: list[tuple[float, TestTask, Step]] = field(default_factory=list)

    def limits(self) -> tuple[Limit, ...]:
        return ()

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        names = [self._name(task) for task in tasks]
        self.tasks += tasks
        self.submitted += [(name, urgent) for name in names]
        if best_effort:
            self.spare += names
            self.waiting_spare.extend(tasks)
        elif urgent:
            self.waiting.extendleft(reversed(tasks))
        else:
            self.waiting.extend(tasks)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        self.polls += 1
        assert self.polls < 1000, "the run does not end"
        self.on_poll(self.polls)
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        if self.extra:
            events, self.extra = tuple(self.extra), []
            return events
        if len(self.running) < self.slots:
            if self.waiting:
                return self._start(self.waiting.popleft())
            if self.waiting_spare and any(self._name(task) not in self.spare for _, task, _ in self.running):
                return self._start(self.waiting_spare.popleft())
        deadline_s = self.now_s + timeout_s
        ends = sorted((end_s, index) for index, (end_s, _, _) in enumerate(self.running))
        if not ends or ends[0][0] > deadline_s:
            self.now_s = deadline_s
            return ()
        self.now_s = max(self.now_s, ends[0][0])
        _, task, step = self.running.pop(ends[0][1])
        return (TaskFinished(task=task, result=step.result(task)),)

    @staticmethod
    def _name(task: TestTask) -> str:
        return task.attempt_id.partition(":")[2]

    def _start(self, task: TestTask) -> tuple[BackendEvent, ...]:
        part = task.selection.part
        name = task.file_path if part is None else f"{task.file_path}/{part.number}"
        steps = self.script.get(name, ())
        step = steps[task.attempt - 1] if task.attempt <= len(steps) else Step()
        self.running.append((float("inf") if step.hangs else self.now_s + step.seconds, task, step))
        return (TaskStarted(task=task),)

    @staticmethod
    def finished(task: TestTask, status: Status, reason: StopReason | None = None) -> TaskFinished:
        step = Step(status=status, stop_reason=reason)
        return TaskFinished(task=task, result=step.result(task))

    def wake(self) -> None:
        pass

    def withdraw(self) -> tuple[TestTask, ...]:
        tasks = (*self.waiting, *self.waiting_spare)
        self.waiting.clear()
        self.waiting_spare.clear()
        return tasks

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        self.stops.append((reason, grace_s))
        stopped = Step(status=Status.CANCELLED, stop_reason=reason)
        self.running = [(min(end_s, self.now_s + grace_s), task, stopped) for end_s, task, _ in self.running]

    def usage(self) -> Usage:
        return USAGE

    def close(self) -> None:
        pass


class Listener:
    """A reporter that keeps what it is told."""

    def __init__(self, *, fails_at: type[object] | None = None) -> None:
        self.events: list[RunEvent] = []
        self.closed = 0
        self._fails_at = fails_at

    def handle(self, event: RunEvent) -> None:
        self.events.append(event)
        if self._fails_at is not None and isinstance(event, self._fails_at):
            raise OSError("disk full")

    def close(self) -> None:
        self.closed += 1

    def names(self) -> list[str]:
        """Return the kinds of the events in order."""
        return [type(event).__name__ for event in self.events]

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


def plan_of(*paths: str, confirmed: str = "", failed: str = "", named: str = "") -> RunPlan:
    """Return a plan of files: some are confirmed, some failed when they last ran, some the user named."""
    files = tuple(
        PlannedFile(
            file=TestFile(path=path, label=path),
            task=TestTask(run_id="r", file_path=path),
            is_fork_verified=path in confirmed,
            failed_before=path in failed,
            is_named=path in named,
        )
        for path in paths
    )
    return RunPlan(run_id="r", files=files)


def make_run(
    backend: ScriptedBackend,
    paths: Sequence[str],
    reporters: Sequence[Reporter],
    config: TestConfig,
    plan: RunPlan | None = None,
    *,
    samples_usage: bool = False,
    cpu_s: float | None = None,
    wrap: Callable[[Backend], Backend] = lambda backend: backend,
) -> RunLoop:
    """Return a run on the script's clock; `wrap` puts another backend around the scripted one."""
    return RunLoop(
        plan or plan_of(*paths),
        wrap(backend),
        reporters,
        config,
        samples_usage=samples_usage,
        notices=("a notice",),
        clock=lambda: backend.now_s,
        wall_clock=lambda: 1000.0,
        cpu_clock=lambda: cpu_s,
    )
