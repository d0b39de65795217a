"""Tracks the deliveries of a run: what to publish, and what the broker's messages mean for the run.

Pure: it makes no calls and has no clock. Its owner passes in what the broker said and executes the answers.
The broker identifies a file by its path alone, so of two tasks for one file the second is kept back until the
first has finished. The run counts attempts; the wire counts deliveries, because a file whose worker died is
redelivered without the run noticing.
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

MAX_WORKER_DEATHS = 3
"""A file during which this many workers died counts as the cause. After the first death it runs exclusively,
so that no file is blamed for what another one did at the same time.
"""

MAX_REJECTED_RESULTS = 3
"""A file is given up after this many rejected results; otherwise it would be redelivered forever."""

MIN_PUBLISHED = 1000
"""The minimum number of files on the queue, however few workers there are: one by one would be slow."""

WANTED_WORKER_S = 30.0
"""Seconds that a file waits for the requested worker before any worker may run it, because the user waits for
the verdict. The attempt then proves less.
"""

PUBLISHED_FOR_A_SLOT = 4
"""Files on the queue for each slot, so that no worker ever waits for the dispatcher."""


class Message(Struct, frozen=True, kw_only=True):
    """One message for the queue.

    Args:
        take: the delivery number on the broker.
        is_first: whether it goes before the messages that wait.
        worker: the only worker that may get it; empty: any.
    """

    task: TestTask
    take: int
    is_first: bool = False
    worker: str = ""


class _Job(Struct, kw_only=True):
    """A task on the queue.

    Args:
        take: the newest delivery number under which it was published.
        is_spare: whether it is best effort.
        is_running: whether a worker has it, as far as is known.
        is_told: whether its start was reported to the run.
        is_doubtful: whether it had finished before the run was resumed, and its result is still to be read.
        worker: the worker that has it, or had it last; empty: unknown.
        lost_on: the workers that died while they had it.
        forged: how many of its results were rejected.
        bound_to: the only worker that may run it; empty: any.
        bound_since_s: since when it waits for that worker; None: not known yet.
    """

    task: TestTask
    take: int
    is_spare: bool
    is_running: bool = False
    is_told: bool = False
    is_doubtful: bool = False
    worker: str = ""
    lost_on: tuple[str, ...] = ()
    forged: int = 0
    bound_to: str = ""
    bound_since_s: float | None = None


class DeliveryTracker:
    """The unfinished tasks of one run.

    Args:
        groups: how many files of each group may be on the queue at once; a group that is not named has no
            limit.
    """

    def __init__(self, groups: Mapping[str, int] | None = None) -> None:
        self._groups = dict(groups or {})
        self._used: Counter[str] = Counter()
        self._held: deque[tuple[TestTask, bool]] = deque()
        self._spare: deque[TestTask] = deque()
        self._again: deque[str] = deque()
        self._jobs: dict[str, _Job] = {}
        self._last_take: dict[str, int] = {}
        self._recalled: dict[str, tuple[str, int]] = {}
        self._waiting = 0  # of the jobs: those that no worker has started

    def submit(self, tasks: Sequence[TestTask], *, first: bool = False, spare: bool = False) -> None:
        """Accept tasks in order; `next_messages` returns those that can be published."""
        tasks = [task for task in tasks if not self._is_resumed(task)]
        if spare:
            self._spare.extend(tasks)
        elif first:
            self._held.extendleft((task, True) for task in reversed(tasks))
        else:
            self._held.extend((task, False) for task in tasks)

    def recall(self, states: Mapping[str, tuple[str, int]]) -> None:
        """Take over the broker's state of a resumed run: the state letter and delivery of each file."""
        self._recalled = dict(states)

    def republish_missing(self) -> None:
        """Republish finished files whose results did not arrive: they were read and lost."""
        for job in self._jobs.values():
            if job.is_doubtful:
                self._take_again(job)

    def next_messages(self, *, slots: int) -> list[Message]:
        """Return the messages to publish now; they count as published from here on.

        Args:
            slots: the slots of all workers together; best-effort tasks use only free ones.
        """
        found = [_message(self._jobs[path], is_first=True) for path in self._again]
        self._again.clear()
        room = max(MIN_PUBLISHED, PUBLISHED_FOR_A_SLOT * slots) - self._waiting
        kept: deque[tuple[TestTask, bool]] = deque()
        while self._held and len(found) < room:
            task, is_first = self._held.popleft()
            if self._may_go(task):
                found.append(self._publish(task, is_first=is_first))
            else:
                kept.append((task, is_first))
        self._held.extendleft(reversed(kept))
        while not self._held and self._has_idle_slot(slots):
            task = self._spare[0]
            if not self._may_go(task):
                break
            found.append(self._publish(self._spare.popleft(), is_spare=True))
        return found

    def unbind(self, workers: Collection[str], *, now_s: float) -> list[Message]:
        """Release tasks that waited in vain for one worker, so that any worker may run them; they are
        published again.

        The message that its worker has not taken may still exist. The later of the two is dropped when it is
        claimed.

        Args:
            workers: the workers that are present.
            now_s: the current time; called every now and then.
        """
        found = []
        for path, job in self._jobs.items():
            if not job.bound_to or job.is_running or path in self._again:
                continue
            if job.bound_since_s is None:
                job.bound_since_s = now_s
            if job.bound_to not in workers or now_s - job.bound_since_s >= WANTED_WORKER_S:
                job.bound_to = ""
                found.append(_message(job, is_first=not job.is_spare))
        return found

    def started(self, path: str, take: int, worker: str) -> list[BackendEvent]:
        """Return what the start of a file on a worker means for the run."""
        job = self._job(path, take)
        if job is None:
            return []
        self._set_running(job)
        job.worker = worker
        return self._start_events(job, worker)

    def finished(self, path: str, take: int, result: TestResult) -> list[BackendEvent]:
        """Return what the end of a file means for the run. Only the first result of a task counts."""
        job = self._job(path, take)
        if job is None:
            return []
        self._remove(job)
        started = self._start_events(job, result.worker)
        return [*started, TaskFinished(task=job.task, result=result)]

    def lost(self, path: str, take: int, worker: str) -> list[BackendEvent]:
        """Return what the death of a worker means for the run: its file is redelivered, or was the cause.

        Args:
            take: the delivery that the worker had.
        """
        job = self._job(path, take)
        if job is None:
            return []
        job.lost_on, job.bound_to = (*job.lost_on, worker), ""
        losses = len(job.lost_on)
        if losses < MAX_WORKER_DEATHS:
            self._take_again(job)
            return [
                BackendNotice(text=f"worker {worker} was lost while {path} ran there; it runs again, alone")
            ]
        result = TestResult(
            file_path=path,
            status=Status.CRASH,
            attempt=job.task.attempt,
            error=f"{losses} workers were lost while it ran, the last {losses - 1} while it ran alone there: "
            + ", ".join(job.lost_on),
            worker=worker,
        )
        return self.finished(path, take, result)

    def waiting_alone(self) -> list[Message]:
        """Return the exclusive tasks to publish once more because a worker was lost.

        A worker that takes such a message waits until it is idle, and may be lost before the file starts. The
        later of two messages is dropped when it is claimed.
        """
        return [
            _message(job, is_first=True)
            for path, job in self._jobs.items()
            if (job.lost_on or job.task.exclusive)
            and not (job.is_running or job.bound_to or path in self._again)
        ]

    def forged(self, path: str, take: int, worker: str, why: str) -> list[BackendEvent]:
        """Return what a rejected result means for the run: the file's real result still counts.

        The broker may count the file as done, so it is redelivered; a worker that runs it now may still
        finish.

        Args:
            take: the delivery that the result claims.
            worker: the worker that the result claims.
            why: the problem with it.
        """
        job = self._job(path, take)
        if job is None:
            return []
        job.forged += 1
        text = f"a result of {path} that names worker {worker} was dropped: {why}"
        if job.forged < MAX_REJECTED_RESULTS:
            self._take_again(job)
            return [BackendNotice(text=f"{text}; the file waits for another one")]
        result = TestResult(
            file_path=path, status=Status.LOST, attempt=job.task.attempt, worker=worker, error=text
        )
        return self.finished(path, take, result)

    def released(self, path: str, take: int) -> None:
        """Republish a file that its worker returned without running it. This does not count as a loss."""
        job = self._job(path, take)
        if job is None:
            return
        job.bound_to = ""  # It cannot or will not run it.
        if job.take == take:
            self._put_back(job)
        else:
            self._take_again(job)  # The worker had it under an older number.

    def forgotten(self) -> None:
        """Republish everything: the broker has lost its data."""
        for job in self._jobs.values():
            self._take_again(job)

    def takes(self) -> dict[str, int]:
        """Return the newest delivery of every task on the queue, by path."""
        return {path: job.take for path, job in self._jobs.items()}

    def is_current(self, message: Message) -> bool:
        """Whether a message is still to be sent: its task has not finished, and has no newer delivery."""
        job = self._jobs.get(message.task.file_path)
        return job is not None and job.take == message.take

    def swallowed(self, states: Mapping[str, tuple[str, int]]) -> list[Message]:
        """Return the messages to republish once the queue has been empty for a while.

        Args:
            states: state letter and delivery of the files on the broker. A file that does not run there is
                republished: its message was lost, or the reply about it, and then it gets a new number. A
                file that waits for a certain worker is not: its message is on another queue.
        """
        found = []
        for path, job in self._jobs.items():
            letter, take = states.get(path, ("", 0))
            if letter == "R" or path in self._again or job.bound_to:
                continue
            if (letter, take) == ("Q", job.take):
                found.append(_message(job, is_first=True))
            else:
                self._take_again(job)
        return found

    def published(self) -> list[tuple[str, int]]:
        """Return path and delivery of what no worker has started, as far as is known."""
        return [(path, job.take) for path, job in self._jobs.items() if not job.is_running]

    def withdrawn(self, path: str) -> TestTask | None:
        """Forget a task that the broker returned; None: its start was reported to the run, so it must finish.

        A task whose worker died and that waits again is such a case: `abandoned` gives it a result.
        """
        job = self._jobs[path]
        if job.is_told:
            return None
        self._remove(job)
        return job.task

    def withdraw_backlog(self) -> tuple[TestTask, ...]:
        """Withdraw what was never published."""
        found = (*(task for task, _ in self._held), *self._spare)
        self._held.clear()
        self._spare.clear()
        return found

    def abandoned(self, path: str, reason: StopReason) -> list[BackendEvent]:
        """Return the end of a task whose worker gives no result after the run was stopped."""
        job = self._jobs[path]
        result = TestResult(
            file_path=path,
            status=Status.CANCELLED,
            attempt=job.task.attempt,
            error="ended with the run; its worker gave no result",
            stop_reason=reason,
        )
        return self.finished(path, job.take, result)

    def task(self, path: str, take: int) -> TestTask | None:
        """Return the task of this delivery; None: it has finished, or never existed."""
        job = self._job(path, take)
        return None if job is None else job.task

    @property
    def kept(self) -> int:
        """How many tasks, without best-effort ones, wait here for space on the queue."""
        return len(self._held)

    def running(self) -> tuple[tuple[TestTask, str], ...]:
        """Return the tasks that workers have started and not finished, each with its worker."""
        return tuple((job.task, job.worker) for job in self._jobs.values() if job.is_running)

    def _may_go(self, task: TestTask) -> bool:
        most = self._groups.get(task.group)
        return task.file_path not in self._jobs and (most is None or self._used[task.group] < most)

    def _has_idle_slot(self, slots: int) -> bool:
        """Whether a best-effort task may start: nothing waits, some other task runs, and a slot is free."""
        jobs = self._jobs.values()
        return (
            bool(self._spare)
            and len(jobs) < slots
            and all(job.is_running or job.is_spare for job in jobs)
            and any(not job.is_spare for job in jobs)
        )

    def _is_resumed(self, task: TestTask) -> bool:
        """Take over a task that the queue already has from before the run was resumed."""
        letter, take = self._recalled.pop(task.file_path, ("", 0))
        if take // DELIVERIES_PER_ATTEMPT != task.attempt or task.file_path in self._jobs:
            return False
        self._last_take[task.file_path] = take
        job = _Job(
            task=task,
            take=take,
            is_spare=False,
            is_running=True,
            is_doubtful=letter == "D",
            bound_to=task.wanted_worker,
        )
        self._jobs[task.file_path] = job
        self._used[task.group] += 1
        if letter == "Q":
            self._put_back(job)  # A second message is dropped at its claim.
        return True

    def _publish(self, task: TestTask, *, is_first: bool = False, is_spare: bool = False) -> Message:
        job = _Job(task=task, take=self._next_take(task), is_spare=is_spare, bound_to=task.wanted_worker)
        self._jobs[task.file_path] = job
        self._waiting += 1
        self._used[task.group] += 1
        return _message(job, is_first=is_first)

    def _next_take(self, task: TestTask) -> int:
        take = max(task.attempt * DELIVERIES_PER_ATTEMPT, self._last_take.get(task.file_path, 0)) + 1
        self._last_take[task.file_path] = take
        return take

    def _take_again(self, job: _Job) -> None:
        job.is_doubtful = False
        job.take = self._next_take(job.task)
        self._put_back(job)

    def _put_back(self, job: _Job) -> None:
        self._waiting += job.is_running
        job.is_running = False
        if job.task.file_path not in self._again:
            self._again.append(job.task.file_path)

    def _set_running(self, job: _Job) -> None:
        self._waiting -= not job.is_running
        job.is_running = True

    def _job(self, path: str, take: int) -> _Job | None:
        """Return the task of this delivery. An older one counts too: its worker was only believed dead."""
        job = self._jobs.get(path)
        if job is None or take > job.take or take // DELIVERIES_PER_ATTEMPT != job.task.attempt:
            return None
        return job

    def _start_events(self, job: _Job, worker: str) -> list[BackendEvent]:
        if job.is_told:
            return []
        job.is_told = True
        return [TaskStarted(task=job.task, worker=worker)]

    def _remove(self, job: _Job) -> None:
        path = job.task.file_path
        del self._jobs[path]
        self._waiting -= not job.is_running
        self._used[job.task.group] -= 1
        if path in self._again:
            self._again.remove(path)


def _message(job: _Job, *, is_first: bool) -> Message:
    task = structs.replace(job.task, exclusive=True) if job.lost_on else job.task
    return Message(task=task, take=job.take, is_first=is_first, worker=job.bound_to)
