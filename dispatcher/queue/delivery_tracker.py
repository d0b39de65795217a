"""Tracks the deliveries of a run: what to publish, and what the broker's messages mean for the run.

Pure: it makes no calls and has no clock. Its owner passes in what the broker said and executes the answers.
The broker identifies a file by its path, and a part of one by `TestTask.key`, so of two tasks for one file
the second is kept back until the first has finished. The run counts attempts; the wire counts deliveries,
because a file whose worker died is redelivered without the run noticing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct, structs

from dispatcher.engine.backend import BackendEvent, BackendNotice, TaskFinished, TaskStarted
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask
from passmuster.wire.broker_keys import DELIVERIES_PER_ATTEMPT
from passmuster.wire.broker_messages import Lease

MAX_WORKER_DEATHS = 3
"""A file during which this many workers died counts as the cause. After the first death it runs exclusively,
so that no file is blamed for what another one did at the same time.
"""

MAX_REJECTED_RESULTS = 3
"""A file is given up after this many rejected results; otherwise it would be redelivered forever."""

MIN_PUBLISHED = 1000
"""The minimum number of files on the queue, however few workers there are: one by one would be slow."""

PUBLISHED_PER_SLOT = 4
"""Files on the queue for each slot, so that no worker ever waits for the dispatcher."""

WANTED_WORKER_S = 30.0
"""Seconds that a file waits for the requested worker before any worker may run it, because the user waits for
the verdict. The attempt then proves less.
"""


class Message(Struct, frozen=True, kw_only=True):
    """One message for the queue."""

    task: TestTask
    delivery: int
    is_urgent: bool = False
    """Whether it goes before the waiting messages."""
    worker: str = ""
    """The only worker that may get it; empty: any."""


class _Job(Struct, kw_only=True):
    """A published task that has not finished."""

    task: TestTask
    delivery: int
    """The newest number under which it was published."""
    is_best_effort: bool = False
    has_reported_start: bool = False
    is_result_missing: bool = False
    """Whether it had finished before the run was resumed, and its result is still to be read."""
    worker: str = ""
    """The worker that runs it, or ran it last; empty: unknown."""
    started_delivery: int = 0
    """The number under which that worker claimed it."""
    dead_workers: tuple[str, ...] = ()
    """The workers that died while they ran it."""
    rejected_results: int = 0
    bound_to: str = ""
    """The only worker that may run it; empty: any."""
    bound_since_s: float | None = None
    """Since when it waits for that worker; None: not known yet."""

    def message(self, *, is_urgent: bool) -> Message:
        task = structs.replace(self.task, exclusive=True) if self.dead_workers else self.task
        return Message(task=task, delivery=self.delivery, is_urgent=is_urgent, worker=self.bound_to)


class DeliveryTracker:
    """The unfinished tasks of one run.

    Args:
        groups: how many files of each group may be on the queue at once; a group that is not named has no
            limit.
    """

    def __init__(self, groups: Mapping[str, int] | None = None) -> None:
        self._groups = dict(groups or {})
        self._published: Counter[str] = Counter()  # by group
        self._backlog: deque[tuple[TestTask, bool]] = deque()  # with its urgency
        self._best_effort: deque[TestTask] = deque()
        self._jobs: dict[str, _Job] = {}
        self._running: dict[str, _Job] = {}  # those that workers run, as far as is known
        self._due: dict[str, None] = {}  # the paths of those to republish, in order
        self._last_delivery: dict[str, int] = {}
        self._states: dict[str, tuple[str, int]] = {}
        self._lost_workers: set[str] = set()

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Accept tasks in order; `next_messages` returns those that can be published."""
        tasks = [task for task in tasks if not self._is_resumed(task)]
        if best_effort:
            self._best_effort.extend(tasks)
        elif urgent:
            self._backlog.extendleft((task, True) for task in reversed(tasks))
        else:
            self._backlog.extend((task, False) for task in tasks)

    def load_states(self, states: Mapping[str, tuple[str, int]]) -> None:
        """Take over the broker's state of a resumed run: the state letter and delivery of each file."""
        self._states = dict(states)

    def republish_missing(self) -> None:
        """Republish finished files whose results did not arrive: they were read and lost."""
        for job in self._jobs.values():
            if job.is_result_missing:
                self._redeliver(job)

    def next_messages(self, *, slots: int) -> list[Message]:
        """Return the messages to publish now; they count as published from here on.

        Args:
            slots: the slots of all workers together; best-effort tasks use only free ones.
        """
        found = [self._jobs[path].message(is_urgent=True) for path in self._due]
        self._due.clear()
        if self._backlog:
            found += self._next_of_backlog(slots)
        while not self._backlog and self._has_idle_slot(slots) and self._may_go(self._best_effort[0]):
            job = self._publish(self._best_effort.popleft())
            job.is_best_effort = True
            found.append(job.message(is_urgent=False))
        return found

    def _next_of_backlog(self, slots: int) -> list[Message]:
        waiting = len(self._jobs) - len(self._running)
        room = max(MIN_PUBLISHED, PUBLISHED_PER_SLOT * slots) - waiting
        found: list[Message] = []
        skipped: list[tuple[TestTask, bool]] = []
        while self._backlog and len(found) < room:
            task, is_urgent = self._backlog.popleft()
            if self._may_go(task):
                found.append(self._publish(task).message(is_urgent=is_urgent))
            else:
                skipped.append((task, is_urgent))
        self._backlog.extendleft(reversed(skipped))
        return found

    def unbind(self, workers: Collection[str], *, now_s: float) -> list[Message]:
        """Release tasks that waited in vain for one worker, and return the messages that offer them to all.

        The message that its worker has not taken may still exist. The later of the two is dropped when it is
        claimed.

        Args:
            now_s: the current time; called every now and then.
        """
        found = []
        for path, job in self._jobs.items():
            if not job.bound_to or path in self._running or path in self._due:
                continue
            if job.bound_since_s is None:
                job.bound_since_s = now_s
            if job.bound_to not in workers or now_s - job.bound_since_s >= WANTED_WORKER_S:
                job.bound_to = ""
                found.append(job.message(is_urgent=not job.is_best_effort))
        return found

    def started(self, path: str, delivery: int, worker: str) -> list[BackendEvent]:
        """Return what the start of a file on a worker means for the run."""
        job = self._job(path, delivery)
        if job is None:
            return []
        events: list[BackendEvent] = [*self._start_events(job, worker)]
        if path in self._running and delivery == job.started_delivery and worker != job.worker:
            events.append(
                BackendNotice(
                    text=f"the broker lost the start of {path} on worker {job.worker}, so it also started on "
                    f"worker {worker}; one of the two stops, and one result counts"
                )
            )
        self._running[path], job.worker, job.started_delivery = job, worker, delivery
        return events

    def finished(self, path: str, delivery: int, result: TestResult) -> list[BackendEvent]:
        """Return what the end of a file means for the run. Only the first result of a task counts."""
        job = self._job(path, delivery)
        if job is None:
            return []
        self._remove(path)
        return [*self._start_events(job, result.worker), TaskFinished(task=job.task, result=result)]

    def lease_expired(self, path: str, delivery: int, worker: str) -> list[BackendEvent]:
        """Return what the death of a worker means for the run: its file is redelivered, or was the cause."""
        job = self._job(path, delivery)
        if job is None:
            return []
        self._lost_workers.add(worker)
        job.dead_workers, job.bound_to = (*job.dead_workers, worker), ""
        deaths = len(job.dead_workers)
        if deaths < MAX_WORKER_DEATHS:
            self._redeliver(job)
            text = f"worker {worker} disappeared while it ran {path}; the file reruns exclusively"
            return [BackendNotice(text=text)]
        error = (
            f"{deaths} workers disappeared while it ran, the last {deaths - 1} while it ran exclusively: "
            + ", ".join(job.dead_workers)
        )
        return self.finished(path, delivery, _failure(job, Status.CRASH, error, worker))

    def exclusive_messages(self) -> list[Message]:
        """Return the exclusive tasks to publish once more because a worker disappeared.

        A worker that takes such a message waits until it is idle, and may die before the file starts. The
        later of two messages is dropped when it is claimed.
        """
        return [
            job.message(is_urgent=True)
            for path, job in self._jobs.items()
            if (job.dead_workers or job.task.exclusive)
            and not (path in self._running or job.bound_to or path in self._due)
        ]

    def result_rejected(self, path: str, delivery: int, worker: str, problem: str) -> list[BackendEvent]:
        """Return what a rejected result means for the run: the file's real result still counts.

        The broker may count the file as done, so it is redelivered; a worker that runs it now may still
        finish.

        Args:
            delivery: as the result claims.
            worker: as the result claims.
        """
        job = self._job(path, delivery)
        if job is None:
            return []
        job.rejected_results += 1
        text = f"rejected a result of {path} that names worker {worker}: {problem}"
        if job.rejected_results < MAX_REJECTED_RESULTS:
            self._redeliver(job)
            return [BackendNotice(text=f"{text}; waiting for another one")]
        return self.finished(path, delivery, _failure(job, Status.LOST, text, worker))

    def returned(self, path: str, delivery: int) -> None:
        """Republish a file that its worker returned without running it. This does not count as a death."""
        job = self._job(path, delivery)
        if job is None:
            return
        job.bound_to = ""  # It cannot or will not run it.
        if job.delivery == delivery:
            self._republish(job)
        else:
            self._redeliver(job)  # The worker had it under an older number.

    def restore(self) -> list[Lease]:
        """Republish what no worker is known to run, and return the leases of the rest.

        For a broker that has lost data.
        """
        for path, job in self._jobs.items():
            if not (path in self._running and job.worker):
                self._redeliver(job)
        return [
            Lease(path=path, delivery=job.started_delivery, worker=job.worker)
            for path, job in self._running.items()
        ]

    def deliveries(self) -> dict[str, int]:
        """Return the newest delivery of every published task, by path."""
        return {path: job.delivery for path, job in self._jobs.items()}

    def waiting_deliveries(self) -> list[tuple[str, int]]:
        """Return path and delivery of the tasks that no worker has started, as far as is known."""
        return [(path, job.delivery) for path, job in self._jobs.items() if path not in self._running]

    def is_current(self, message: Message) -> bool:
        """Whether a message is still to be sent: its task has not finished, and has no newer delivery."""
        job = self._jobs.get(message.task.key)
        return job is not None and job.delivery == message.delivery

    def lost_messages(self, states: Mapping[str, tuple[str, int]]) -> list[Message]:
        """Return the messages to republish once the queue has been empty for a while.

        Args:
            states: state letter and delivery of the files on the broker. A file that does not run there is
                republished: its message was lost, or the reply about it, and then it gets a new number. A
                file that waits for a certain worker is not: its message is on another queue.
        """
        found = []
        for path, job in self._jobs.items():
            letter, delivery = states.get(path, ("", 0))
            if letter == "R" or path in self._due or job.bound_to:
                continue
            if (letter, delivery) == ("Q", job.delivery):
                found.append(job.message(is_urgent=True))
            else:
                self._redeliver(job)
        return found

    def withdraw(self, path: str) -> TestTask | None:
        """Forget a task that the broker returned; None: its start was reported to the run, so it must finish.

        A task whose worker died and that waits again is such a case: `abandon` gives it a result.
        """
        job = self._jobs[path]
        if job.has_reported_start:
            return None
        self._remove(path)
        return job.task

    def withdraw_backlog(self) -> tuple[TestTask, ...]:
        """Withdraw the tasks that were never published."""
        found = (*(task for task, _ in self._backlog), *self._best_effort)
        self._backlog.clear()
        self._best_effort.clear()
        return found

    def abandon(self, path: str, reason: StopReason) -> list[BackendEvent]:
        """Return the end of a task whose worker returns no result after the run was stopped."""
        job = self._jobs[path]
        result = _failure(job, Status.CANCELLED, "stopped with the run; its worker returned no result")
        return self.finished(path, job.delivery, structs.replace(result, stop_reason=reason))

    def task(self, path: str, delivery: int) -> TestTask | None:
        """Return the task of this delivery; None: it has finished, or never existed."""
        job = self._job(path, delivery)
        return None if job is None else job.task

    @property
    def backlog(self) -> int:
        """How many tasks, without best-effort ones, wait here for space on the queue."""
        return len(self._backlog)

    @property
    def unfinished(self) -> int:
        """How many tasks, without best-effort ones that are not published, wait or run."""
        return len(self._backlog) + len(self._jobs)

    @property
    def lost_workers(self) -> int:
        """How many workers disappeared while they ran a file."""
        return len(self._lost_workers)

    def running(self) -> tuple[tuple[TestTask, str], ...]:
        """Return the tasks that workers have started and not finished, each with its worker."""
        return tuple((job.task, job.worker) for job in self._running.values())

    def _may_go(self, task: TestTask) -> bool:
        limit = self._groups.get(task.group)
        return task.key not in self._jobs and (limit is None or self._published[task.group] < limit)

    def _has_idle_slot(self, slots: int) -> bool:
        """Whether a best-effort task may start: nothing waits, some other task runs, and a slot is free."""
        return (
            bool(self._best_effort)
            and len(self._jobs) < slots
            and all(job.is_best_effort or path in self._running for path, job in self._jobs.items())
            and any(not job.is_best_effort for job in self._running.values())
        )

    def _is_resumed(self, task: TestTask) -> bool:
        """Take over a task that the queue already has from before the run was resumed."""
        letter, delivery = self._states.pop(task.key, ("", 0))
        if delivery // DELIVERIES_PER_ATTEMPT != task.attempt or task.key in self._jobs:
            return False
        self._last_delivery[task.key] = delivery
        job = self._add_job(task, delivery)
        job.is_result_missing = letter == "D"
        if letter == "Q":
            self._republish(job)  # A second message is dropped at its claim.
        else:
            self._running[task.key] = job
        return True

    def _add_job(self, task: TestTask, delivery: int) -> _Job:
        job = _Job(task=task, delivery=delivery, bound_to=task.wanted_worker)
        self._jobs[task.key] = job
        self._published[task.group] += 1
        return job

    def _publish(self, task: TestTask) -> _Job:
        return self._add_job(task, self._next_delivery(task))

    def _next_delivery(self, task: TestTask) -> int:
        last = self._last_delivery.get(task.key, 0)
        delivery = max(task.attempt * DELIVERIES_PER_ATTEMPT, last) + 1
        self._last_delivery[task.key] = delivery
        return delivery

    def _redeliver(self, job: _Job) -> None:
        job.is_result_missing = False
        job.delivery = self._next_delivery(job.task)
        self._republish(job)

    def _republish(self, job: _Job) -> None:
        self._running.pop(job.task.key, None)
        self._due[job.task.key] = None

    def _job(self, path: str, delivery: int) -> _Job | None:
        """Return the task of this delivery. An older one counts too: its worker was only believed dead."""
        job = self._jobs.get(path)
        if job is None or delivery > job.delivery or delivery // DELIVERIES_PER_ATTEMPT != job.task.attempt:
            return None
        return job

    def _start_events(self, job: _Job, worker: str) -> list[BackendEvent]:
        if job.has_reported_start:
            return []
        job.has_reported_start = True
        return [TaskStarted(task=job.task, worker=worker)]

    def _remove(self, path: str) -> None:
        self._published[self._jobs.pop(path).task.group] -= 1
        self._running.pop(path, None)
        self._due.pop(path, None)


def _failure(job: _Job, status: Status, error: str, worker: str = "") -> TestResult:
    """Return the result of a task that got none from a worker."""
    return TestResult.without_run(job.task, status, error, worker=worker)
