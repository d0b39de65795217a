"""Runs files in this process's own pool: one thread for each running file, no infrastructure.

The threads only wait; the test processes belong to the executor, which the composition root provides. The
ready queue picks the next task, and the executor decides whether it fits.
"""

from __future__ import annotations

import math
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping, Sequence

from msgspec import structs

from dispatcher.engine.backend import BackendEvent, BackendNotice, TaskFinished, TaskStarted
from dispatcher.planning.ready_queue import ReadyQueue
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import Executor, FreeCapacity, Limit, Usage
from passmuster.model.process_limit import NoThreadError, start_thread
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask

RETRY_START_S = 0.1
"""Seconds after which a waiting file is tried again although no file finished: other processes may have freed
memory.
"""

MAX_BEST_EFFORT_LOOKS = 16
"""How many best-effort tasks are examined for one that fits. They wait in no particular order, and there may
be as many as the run has files.
"""

MIN_BEST_EFFORT_S = 0.3
"""Seconds that a best-effort task is expected to take at least: it verifies a file in a fresh interpreter,
which imports the framework.
"""

MAX_ENDED_THREADS = 64
"""How many threads of finished files are remembered; each is about to end as well."""

MIN_DELAY_S = 0.05
"""A file that found a free slot but no memory for longer than this is reported as having waited for memory.
"""

MEMORY, PROCESSES = "memory", "processes"
"""What a file may wait for."""

NOTICE_IDLE_S = 1.0
NOTICE_WORKING_S = 10.0
"""Seconds for which other runs keep this run from starting files until it says so: if none of its files runs,
and if some do.
"""

NOTICE_INTERVAL_S = 300.0
"""Seconds after which it is said again, if files still wait."""


class LocalBackend:
    """A `Backend` over one executor in this process.

    Args:
        executor: runs the files; closed with the backend.
        notices: what the user should know about this machine, a line each.
        groups: how many files of each concurrency group may run at once.
    """

    def __init__(
        self,
        executor: Executor,
        notices: Sequence[str] = (),
        *,
        groups: Mapping[str, int] | None = None,
    ) -> None:
        self._executor = executor
        self.notices = tuple(notices)
        self._lock = threading.Lock()  # guards what follows
        self._ready = ReadyQueue(groups=groups)
        self._best_effort: deque[TestTask] = deque()
        self._running_best_effort: set[str] = set()
        self._expected_ends: dict[str, float] = {}
        """When each running task is expected to end, by attempt; best-effort ones are not among them."""
        self._threads: set[threading.Thread] = set()
        self._ended_threads: deque[threading.Thread] = deque(maxlen=MAX_ENDED_THREADS)
        self._is_paused = False
        self._is_broken = False
        self._events: queue.SimpleQueue[BackendEvent | InfrastructureError | None] = queue.SimpleQueue()
        self._short_since: float | None = None
        self._short_of = MEMORY
        self._noticed_at_s = float("-inf")

    def limits(self) -> tuple[Limit, ...]:
        """Return the executor's limits."""
        return self._executor.limits()

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks in order and start those that fit."""
        if not urgent:
            self._executor.prefetch(tasks)
        with self._lock:
            if best_effort:
                self._best_effort.extend(tasks)
            elif urgent:
                self._ready.push_front(tasks)
            else:
                self._ready.push(tasks)
        self._start_tasks()

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened; see `Backend.poll`."""
        deadline = time.monotonic() + timeout_s
        self._resume()
        while True:
            self._check_executor()
            with self._lock:
                waiting = len(self._ready) + len(self._best_effort) > 0
            left_s = max(0.0, deadline - time.monotonic())
            try:
                found = self._events.get(timeout=min(left_s, RETRY_START_S) if waiting else left_s)
            except queue.Empty:
                self._start_tasks()
                self._notice_other_runs()
                if time.monotonic() < deadline:
                    continue
                return ()
            events: list[BackendEvent] = []
            while found is not None:
                if isinstance(found, InfrastructureError):
                    if not events:
                        raise found
                    self._events.put(found)  # For the next call, after the events before it.
                    break
                events.append(found)
                found = None if self._events.empty() else self._events.get()
            self._check_executor(events)
            return tuple(events)

    def wake(self) -> None:
        """Make `poll` return; a signal handler may put into a `SimpleQueue`."""
        self._events.put(None)

    def withdraw(self) -> tuple[TestTask, ...]:
        """Remove tasks that have not started."""
        with self._lock:
            best_effort = tuple(self._best_effort)
            self._best_effort.clear()
            return (*self._ready.withdraw(), *best_effort)

    def stop(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop running files."""
        self._executor.stop_all(reason, grace_s=grace_s)

    def usage(self) -> Usage:
        """Return the usage of the running files."""
        return self._executor.usage()

    def close(self) -> None:
        """Stop all files and wait for the threads."""
        self.withdraw()
        with self._lock:
            threads = list(self._threads)
        if threads:
            self._executor.stop_all(StopReason.CANCELLED, grace_s=0)
        for thread in threads:
            thread.join()
        self._executor.close()

    def _check_executor(self, events: Sequence[BackendEvent] = ()) -> None:
        """Report, once and before these events, that the executor has failed."""
        if self._is_broken:
            return
        try:
            self._executor.check()
        except InfrastructureError:
            self._is_broken = True
            for event in events:
                self._events.put(event)
            raise

    def _start_tasks(self) -> None:
        """Start every task that fits now, unless a failure must be reported first."""
        with self._lock:
            if self._is_paused:
                return
            try:
                self._start_ready()
                self._start_best_effort()
            except InfrastructureError as error:
                if not self._is_broken:
                    self._is_broken = True
                    self._events.put(error)

    def _resume(self) -> None:
        """Resume after a failure once the run has received every event and polls again."""
        with self._lock:
            if not self._is_paused or not self._events.empty():
                return
            self._is_paused = False
        self._start_tasks()

    def _start_ready(self) -> None:
        # Asked even if no slot is free: only then the executor looks for idle CPUs.
        while len(self._ready) and self._has_slot(room := self._executor.free_capacity()):
            task = self._ready.pop_first_fit(room)
            if task is None:
                has_slot = room.slots > 0 or self._executor.usage().other_runs is not None
                self._note_shortage(MEMORY if has_slot and not self._ready.is_held_by_groups else "")
                return
            shortage = MEMORY
            try:
                shortage = self._try_start(task)
            finally:
                if shortage:
                    self._ready.requeue(task)  # To be tried again, or withdrawn with the others.
            self._note_shortage(shortage)
            if shortage:
                return

    def _start_best_effort(self) -> None:
        """Start the best-effort tasks that fit, while no other task waits and another file runs."""
        while self._best_effort and not len(self._ready):
            # Without a running file that is not best effort, the run is over.
            if len(self._threads) <= len(self._running_best_effort):
                return
            room = self._executor.free_capacity()
            task = self._pop_best_effort(room) if self._has_slot(room) else None
            if task is None:
                return
            shortage = MEMORY
            try:
                shortage = self._try_start(task)
            finally:
                if shortage:
                    self._ready.release_group(task)
                    self._best_effort.appendleft(task)
            if shortage:
                return
            self._running_best_effort.add(task.attempt_id)
            del self._expected_ends[task.attempt_id]

    def _pop_best_effort(self, room: FreeCapacity) -> TestTask | None:
        """Pop a best-effort task that fits, by the rules of the ready queue, which is empty now."""
        count = min(len(self._best_effort), MAX_BEST_EFFORT_LOOKS)
        looked_at = [self._best_effort.popleft() for _ in range(count)]
        self._ready.push([task for task in looked_at if self._can_end_in_time(task)])
        chosen = self._ready.pop_first_fit(room)
        self._ready.withdraw()
        self._best_effort.extendleft(task for task in reversed(looked_at) if task is not chosen)
        return chosen

    def _can_end_in_time(self, task: TestTask) -> bool:
        """Whether a best-effort task is expected to end before the run does, which would stop it."""
        ends_at_s = max(self._expected_ends.values(), default=0.0)
        return time.monotonic() + max(task.predicted_s or 0.0, MIN_BEST_EFFORT_S) <= ends_at_s

    def _has_slot(self, room: FreeCapacity) -> bool:
        """Whether a slot is free; a file that has finished keeps its slot until its result is reported."""
        return len(self._threads) - room.running < room.slots + room.io_bound_slots

    def _notice_other_runs(self) -> None:
        """Tell the user, once and then rarely, which other runs on this machine keep this one from starting
        files.
        """
        usage, now_s = self._executor.usage(), time.monotonic()
        if usage.other_runs is None or now_s - self._noticed_at_s < NOTICE_INTERVAL_S:
            return
        if usage.other_runs.seconds >= (NOTICE_WORKING_S if usage.files else NOTICE_IDLE_S):
            self._noticed_at_s = now_s
            self._events.put(BackendNotice(text=f"this run {usage.other_runs}"))

    def _note_shortage(self, shortage: str) -> None:
        """Record since when a free slot finds no file that fits, and what it lacks; empty: it found one."""
        if not shortage:
            self._short_since = None
            return
        if self._short_since is None:
            self._short_since = time.monotonic()
        others = self._executor.usage().other_runs
        self._short_of = shortage if others is None else others.what
        if others is not None and others.held_by:
            self._short_of += f" held by {others.held_by}"

    def _try_start(self, task: TestTask) -> str:
        """Start a task. Return what it must wait for if it cannot start now, "" if it has started.

        Raises:
            InfrastructureError: the executor has failed, or no thread can start although no file runs.
        """
        if not self._executor.admit(task):
            return MEMORY
        short_s = 0.0 if self._short_since is None else time.monotonic() - self._short_since
        delayed_by = self._short_of if short_s > MIN_DELAY_S else ""
        thread = threading.Thread(target=self._run, args=(task, delayed_by), daemon=True)
        try:
            start_thread(thread)
        except NoThreadError:
            self._executor.release(task)
            if not any(one.is_alive() for one in (*self._threads, *self._ended_threads)):
                raise
            return PROCESSES  # The resources of a running file become free when it finishes.
        # Its result is reported under the lock held here, and therefore after this.
        self._threads.add(thread)
        predicted_s = math.inf if task.predicted_s is None else task.predicted_s
        self._expected_ends[task.attempt_id] = time.monotonic() + predicted_s
        self._events.put(TaskStarted(task=task))
        return ""

    def _run(self, task: TestTask, delayed_by: str) -> None:
        try:
            result = self._executor.run_single_test(task)
        except Exception:  # The boundary of a thread: an internal error must not lose a file's result.
            text = "an internal error in Passmuster lost the result; its output holds the traceback"
            result = TestResult.without_run(task, Status.LOST, text, output=traceback.format_exc())
        if delayed_by:
            result = structs.replace(result, start_delayed_by=delayed_by)
        with self._lock:
            if result.status.is_failure:
                # After it nothing further may start: the run, which decides that, must receive it first.
                self._is_paused = True
            self._events.put(TaskFinished(task=task, result=result))
            self._threads.discard(threading.current_thread())
            self._ended_threads.append(threading.current_thread())
            self._running_best_effort.discard(task.attempt_id)
            self._expected_ends.pop(task.attempt_id, None)
            self._ready.release_group(task)
        self._start_tasks()
