"""An executor and a run store that do what a test says, for the parts of a queue worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import redis
from msgspec import structs

from passmuster.model.executor import FreeCapacity, Limit, Usage
from passmuster.model.result import TestResult
from passmuster.model.status import RunnerKind, Status, StopReason
from passmuster.model.task import TestTask
from passmuster.model.version import VERSION
from passmuster.wire.broker_messages import ClaimReply, RenewReply, WorkerStatus, result_kind
from passmuster.wire.codec import RESULT_CODEC, TASK_CODEC
from passmuster.wire.envelope import Envelope
from passmuster.wire.run_spec import RunSpec
from passmuster.wire.run_store import RunStore
from worker.process.settings import WorkerSettings
from worker.queue.admission import Admission
from worker.queue.health import MIN_FREE_BYTES, Health
from worker.queue.in_flight import InFlightFile, InFlightFiles
from worker.queue.log import LogLevel
from worker.queue.peer_workers import PeerWorkers
from worker.queue.task_handler import TaskHandler

Answer = TypeVar("Answer")

SECRET = "a secret"
NAME = "worker-1"


class BrokerAwayError(redis.ConnectionError):
    """Stands for what redis-py raises."""


class Clock:
    """Time that only passes where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


class ScriptedExecutor:
    """Admits after so many refusals, and runs what the test gives it."""

    def __init__(self) -> None:
        self.refuses = 0
        self.error: Exception | None = None
        self.bug: Exception | None = None
        self.result = TestResult(file_path="ok.py", status=Status.PASS)
        self.while_refusing: Callable[[], object] = lambda: None
        self.while_running: Callable[[], object] = lambda: None
        self.admitted: list[str] = []
        self.released: list[str] = []
        self.ended: list[tuple[tuple[str, ...], float]] = []
        self.stops: list[float] = []

    def limits(self) -> tuple[Limit, ...]:
        return ()

    def prefetch(self, tasks: Sequence[TestTask]) -> None:
        raise AssertionError("nobody knows what will come")

    def check(self) -> None:
        pass

    def free_capacity(self) -> FreeCapacity:
        raise AssertionError("nobody asks")

    def admit(self, task: TestTask) -> bool:
        if self.error is not None:
            raise self.error
        if self.refuses:
            self.refuses -= 1
            self.while_refusing()
            return False
        self.admitted.append(task.file_path)
        return True

    def release(self, task: TestTask) -> None:
        self.released.append(task.file_path)

    def run_single_test(self, task: TestTask) -> TestResult:
        self.while_running()
        if self.bug is not None:
            raise self.bug
        return structs.replace(self.result, file_path=task.file_path, attempt=task.attempt)

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        self.stops.append(grace_s)

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        self.ended.append((tuple(attempt_ids), grace_s))

    def usage(self) -> Usage:
        raise AssertionError("nobody asks")

    def close(self) -> None:
        raise AssertionError("not these parts' business")


class ScriptedRunStore(RunStore):
    """Answers from lists, the last answer again and again; an exception among them is raised."""

    def __init__(self) -> None:
        self.claims: list[ClaimReply | Exception] = [ClaimReply.OK]
        self.renewals: list[RenewReply | Exception] = [RenewReply.HELD]
        self.finishes: list[bool | Exception] = [True]
        self.epochs: list[str | Exception | None] = ["word"]
        self.while_releasing: Callable[[], object] = lambda: None
        self.while_renewing: Callable[[], object] = lambda: None
        self.waiting: list[bool | Exception] = [True]
        self.asked: list[tuple[str, str, int, str]] = []
        self.bodies: list[str] = []

    def claim(self, path: str, delivery: int, worker: str) -> ClaimReply:
        self.asked.append(("claim", path, delivery, worker))
        return _next(self.claims)

    def renew(self, path: str, delivery: int, worker: str) -> RenewReply:
        self.asked.append(("renew", path, delivery, worker))
        self.while_renewing()
        return _next(self.renewals)

    def finish(self, path: str, delivery: int, worker: str, body: str) -> bool:
        self.asked.append(("finish", path, delivery, worker))
        self.bodies.append(body)
        return _next(self.finishes)

    def release(self, path: str, delivery: int, worker: str) -> None:
        self.asked.append(("release", path, delivery, worker))
        self.while_releasing()

    def is_queued(self, path: str, delivery: int) -> bool:
        return _next(self.waiting)

    def epoch(self) -> str | None:
        return _next(self.epochs)

    @property
    def words(self) -> list[str]:
        """What it was asked, without the rest."""
        return [word for word, *_ in self.asked]


def _next(answers: list[Answer | Exception]) -> Answer:
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    if isinstance(answer, Exception):
        raise answer
    return answer


class ScriptedWorker:
    """A `TaskHandler` with everything around it scripted."""

    def __init__(
        self, root: Path, *, allowed: Collection[str] = (), statuses: Sequence[WorkerStatus] = ()
    ) -> None:
        (root / "ok.py").write_text("pass\n", encoding="utf-8")
        self.executor, self.record, self.clock = ScriptedExecutor(), ScriptedRunStore(), Clock()
        self.in_flight = InFlightFiles()
        self.envelope = Envelope(SECRET)
        self.lines: list[str] = []
        self.failures: list[str] = []
        self.free_bytes = MIN_FREE_BYTES
        self.spec: RunSpec | None = spec()
        self.settings = WorkerSettings(
            root=root,
            workdir=root,
            interpreter="/no/such/python",
            environ={},
            slots=2,
            budget_bytes=1 << 30,
            name=NAME,
        )
        peers = PeerWorkers(lambda: statuses, name=NAME, clock=self.clock)
        self.admission = Admission(
            self.executor,
            self.in_flight,
            peers,
            budget_bytes=self.settings.budget_bytes,
            clock=self.clock,
            pause=self.clock.pause,
        )
        self.abandoned: list[tuple[str, str]] = []
        self.counted: list[Status] = []
        self.files = TaskHandler(
            self.executor,
            self.admission,
            Health(root, root, free=lambda _: self.free_bytes),
            self.settings,
            self.envelope,
            lambda run_id: self.record,
            lambda run_id: self.spec,
            self.in_flight,
            say=self.say,
            fail=self.failures.append,
            abandon=lambda run_id, why: self.abandoned.append((run_id, why)),
            allowed=allowed,
            on_result=lambda result: self.counted.append(result.status),
            clock=self.clock,
            pause=self.clock.pause,
        )

    def say(
        self, event: str, /, *, about: InFlightFile | None = None, level: LogLevel = LogLevel.INFO
    ) -> None:
        self.lines.append(event if about is None else f"{about.path}: {event}")

    def message(self, task: TestTask, delivery: int = 101) -> str:
        """Return the message of a task."""
        return self.envelope.sign("task", TASK_CODEC.encode(task), str(delivery))

    def result(self) -> TestResult:
        """Return the last result that was sent."""
        return RESULT_CODEC.decode(self.envelope.verify(result_kind("run"), self.record.bodies[-1])[0])


def spec(**changes: object) -> RunSpec:
    plain = RunSpec(run_id="run", version=VERSION, grace_s=1.0, has_coverage=False, environment_names=())
    return structs.replace(plain, **changes)


def task(name: str = "ok.py", **changes: object) -> TestTask:
    plain = TestTask(run_id="run", file_path=name, runner=RunnerKind.SCRIPT)
    return structs.replace(plain, **changes)
