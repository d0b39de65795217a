"""Runs files on this machine. Every test file is executed by this module, locally and on every worker.

`LocalExecutor` implements `passmuster.model.executor.Executor`. The memory governor admits a file, a process
supervisor owns its processes, an attempt monitor watches them, and `classify` derives the status.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from msgspec import structs

from passmuster.host.host_budget import HostBudget, RunProfile, open_host_budget
from passmuster.host.host_resources import oom_kill_count, read_levels
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.executor import FreeCapacity, Limit, SlotRange, Usage
from passmuster.model.process_limit import ADVICE, EXHAUSTED
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, RunnerKind, Status, StopReason
from passmuster.model.task import TestTask
from passmuster.model.units import Amount
from worker.budget.memory_governor import MemoryGovernor
from worker.budget.memory_policy import Breach
from worker.executor.attempt import RunningAttempt, build_result
from worker.forkserver.coverage_pools import CoveragePools
from worker.forkserver.kept_servers import KeptServers
from worker.forkserver.server_pool import ServerPool
from worker.process.attempt_monitor import Supervised
from worker.process.command import execution_problem
from worker.process.output_capture import OutputCapture
from worker.process.process_tree import descendants, kill_all, marked
from worker.process.settings import WorkerSettings
from worker.process.temporary import PrivateTmp

TASK_ERRNOS = (0, errno.E2BIG)
"""Error numbers that the task itself causes: 0 for a NUL byte, E2BIG for too many or too large variables."""

EXHAUSTED_WAIT_S = 30.0
"""Seconds for which files wait for a process to start, while none of them has one, before the run fails."""

EXHAUSTED_PAUSE_S = 0.25

OOM_COUNT_AGE_S = 0.25
"""Maximum age in seconds of the kernel's kill count at a start; reading it for each file is too costly."""


def open_executor(
    settings: WorkerSettings,
    server_pool: ServerPool | CoveragePools | KeptServers,
    *,
    machine_memory: Amount | None,
    machine_folder: Path | None,
    slots_of: Callable[[str], SlotRange] | None = None,
) -> tuple[LocalExecutor, str]:
    """Return an executor that shares the machine with other runs, and a notice for the user, or "".

    Args:
        machine_memory: memory for all runs on the machine; None: the default.
        machine_folder: where they meet; None: the user's own folder.
        slots_of: as for `LocalExecutor`.

    Raises:
        ConfigurationError: files cannot be forked although that is required.
        InfrastructureError: the temporary directory cannot be created.
    """
    profile = RunProfile(
        root=str(settings.root),
        budget_bytes=settings.budget_bytes,
        slots=settings.slots,
        is_nice=settings.nice > 0,
        machine_memory=machine_memory,
    )
    host_budget, notice = open_host_budget(
        profile, levels=read_levels, environment=settings.environ, folder=machine_folder
    )
    executor = LocalExecutor(settings, server_pool, host_budget, slots_of)
    problem = server_pool.why_no_fork() if settings.isolation is Isolation.FORK else ""
    if problem:
        executor.close()
        raise ConfigurationError(
            f"--isolation fork is not possible: {problem}; use --isolation auto or spawn"
        )
    return executor, notice


class LocalExecutor:
    """Runs files within the slots and the memory budget of one worker."""

    def __init__(
        self,
        settings: WorkerSettings,
        server_pool: ServerPool | CoveragePools | KeptServers,
        host_budget: HostBudget | None = None,
        slots_of: Callable[[str], SlotRange] | None = None,
    ) -> None:
        """Own `server_pool` and `host_budget`, the memory that all runs on this machine share.

        `slots_of` returns this worker's slot numbers in a run, by run ID; None: no other worker serves its
        runs.

        Raises:
            InfrastructureError: the temporary directory cannot be created.
        """
        self._settings = settings
        self._slots_of = slots_of or (lambda _: settings.own_slots)
        self._host_budget = host_budget
        self._lock = threading.Lock()
        self._server_pool = server_pool
        self._slots: dict[str, int] = {}
        self._running: dict[str, RunningAttempt] = {}
        self._stop_all_request: tuple[StopReason, float] | None = None
        self._stop_requests: dict[str, tuple[StopReason, float]] = {}
        self._stopped = threading.Event()
        self._count = 0
        self._waiting_slots: set[int] = set()
        self._process_problem = ""
        self._oom_kills = _OomKills()
        self._governor = MemoryGovernor(
            slots=settings.slots,
            budget_bytes=settings.budget_bytes,
            limit_bytes=settings.limit_bytes,
            cpus=settings.idle_cpus if settings.cpus is None else settings.cpus,
            oversubscribes=settings.idle_cpus is not None,
            members=self._members,
            on_breach=self._on_breach,
            host_budget=host_budget,
        )
        self._tmp = PrivateTmp(settings.tmp_parent)

    def prefetch(self, tasks: Sequence[TestTask]) -> None:
        """Announce coming tasks, so that imports which several of them need can be preloaded."""
        self._governor.expect(tasks)
        self._server_pool.expect(tasks)

    def limits(self) -> tuple[Limit, ...]:
        """Return the slots and the budget, each with its source."""
        return self._settings.limits

    def free_capacity(self) -> FreeCapacity:
        """Return the free capacity."""
        return self._governor.free_capacity()

    def admit(self, task: TestTask) -> bool:
        """Reserve a slot and memory for a task; return False if it does not fit now."""
        slot = self._governor.admit(task)
        if slot is None:
            return False
        with self._lock:
            self._slots[task.attempt_id] = slot
        return True

    def release(self, task: TestTask) -> None:
        """Release the slot and the reservation of an admitted task that will not run."""
        self._forget(task)

    def run_single_test(self, task: TestTask) -> TestResult:
        """Run an admitted task, then release its slot and reservation. Never raises."""
        with self._lock:
            slot = self._slots[task.attempt_id]
            self._count += 1
            number = self._count
        problem = execution_problem(task, self._settings)
        try:
            if problem is not None:
                return self._not_started(task, slot, problem)
            return self._run(task, slot, number)
        except ConfigurationError as error:  # The project's command is missing or unusable on this machine.
            return self._not_started(task, slot, str(error))
        except (OSError, InfrastructureError) as error:
            not_started = self._not_started(task, slot, f"could not be started: {error}")
            return structs.replace(not_started, is_worker_fault=True)
        finally:
            self._forget(task)

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        """Stop all running files; tasks admitted later are stopped immediately."""
        self._server_pool.give_up()
        self._stop_running(reason, grace_s=grace_s)

    def _stop_running(self, reason: StopReason, *, grace_s: float) -> None:
        with self._lock:
            self._stop_all_request = (reason, grace_s)
            self._stopped.set()
            running = list(self._running.values())
        for attempt in running:
            attempt.stop(reason, STOP_DETAILS[reason], grace_s=grace_s)

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """Stop only these attempts; those that are admitted but not started are stopped at their start."""
        with self._lock:
            here = [attempt_id for attempt_id in attempt_ids if attempt_id in self._slots]
            self._stop_requests.update((attempt_id, (reason, grace_s)) for attempt_id in here)
            running = [self._running[attempt_id] for attempt_id in here if attempt_id in self._running]
        for attempt in running:
            attempt.stop(reason, STOP_DETAILS[reason], grace_s=grace_s)

    def usage(self) -> Usage:
        """Return the slots and the memory that the running files use, as last measured."""
        return self._governor.usage()

    def check(self) -> None:
        """Check that files can start and that their memory is measured.

        Raises:
            InfrastructureError: no process can start, or memory cannot be measured.
        """
        if self._process_problem:
            raise InfrastructureError(
                f"no process could start for {EXHAUSTED_WAIT_S:.0f} s: {self._process_problem}; {ADVICE}"
            )
        self._governor.check()

    def output(self, attempt_id: str) -> OutputCapture | None:
        """Return the capture of a running file's output, valid after its end; None if it does not run."""
        with self._lock:
            attempt = self._running.get(attempt_id)
        return None if attempt is None else attempt.capture

    def close(self) -> None:
        """Stop running files, process supervisors and sampling, and remove the temporary directory."""
        self._stop_running(StopReason.CANCELLED, grace_s=0)
        self._server_pool.close()
        self._governor.close()
        if self._host_budget is not None:
            self._host_budget.close()
        self._tmp.close(keep=self._settings.keep_tmp)

    def _run(self, task: TestTask, slot: int, number: int) -> TestResult:
        tmp_dir = self._tmp.make(str(number))
        coverage_file = self._coverage_file(task, number)
        oom_kills = self._oom_kills.before()
        try:
            attempt, supervised, has_waited = self._start(task, slot, tmp_dir, coverage_file)
        except ConfigurationError:
            self._tmp.remove(tmp_dir)
            raise
        max_rss = supervised.ended.max_rss_bytes if supervised.ended is not None else None
        measured = self._governor.detach(task.attempt_id, max_rss_bytes=max_rss)
        if supervised.supervisor_died:
            self._replace_supervisor(slot, attempt)
        result = build_result(
            attempt,
            supervised,
            settings=self._settings,
            peak_bytes=measured.peak_bytes,
            kernel_killed=_is_killed(supervised) and self._oom_kills.now() > oom_kills,
        )
        if attempt.launch.is_learning and result.status.is_pass:
            self._server_pool.of(task).learn(task.file_path, attempt.report.imports)
        if attempt.report.spawn_reason and attempt.launch.server is not None:
            self._server_pool.of(task).refuse_session(task.file_path, attempt.launch.server)
        files = tuple(map(str, sorted(coverage_file.parent.iterdir()))) if coverage_file is not None else ()
        is_verified = (
            task.isolation is self._settings.isolation is Isolation.AUTO
            and attempt.launch.isolation is Isolation.FORK
        )
        kept = self._clear_tmp(tmp_dir, result.status, is_wanted=not is_verified)
        return structs.replace(
            result,
            coverage_files=files,
            kept_tmp=kept,
            was_alone=measured.was_alone,
            was_extra=measured.was_extra,
            start_delayed_by="processes" if has_waited else "",
            is_worker_fault=_is_worker_fault(supervised, task),
        )

    def _start(
        self, task: TestTask, slot: int, tmp_dir: Path, coverage_file: Path | None
    ) -> tuple[RunningAttempt, Supervised, bool]:
        """Start a file and wait for its end; retry for a while if processes or memory are exhausted.

        Return the attempt, how it ended, and whether it had to wait for a process.

        Raises:
            OSError: no process could be started within `EXHAUSTED_WAIT_S`.
        """
        give_up_at = time.monotonic() + EXHAUSTED_WAIT_S
        has_waited = False
        while True:
            is_last_try = time.monotonic() > give_up_at
            try:
                pool = self._server_pool.of(task)
                launch = pool.launch(task, slot)
                attempt = RunningAttempt(task, slot, launch, self._settings, self._slots_of(task.run_id))
                self._governor.set_server_bytes(self._server_pool.held_bytes)
                self._register(attempt)
                supervised = attempt.run(
                    tmp_dir,
                    coverage_file,
                    partial(self._governor.attach, task.attempt_id),
                    pool.environment,
                    pool.code_dir,
                )
                failed = supervised.failed
                if failed is None or failed.errno not in EXHAUSTED or is_last_try:
                    return attempt, supervised, has_waited
                why = failed.text
            except OSError as error:
                if error.errno not in EXHAUSTED or is_last_try:
                    raise
                why = str(error)
            has_waited = True
            give_up_at = self._wait_for_process(task, slot, why, give_up_at=give_up_at)

    def _wait_for_process(self, task: TestTask, slot: int, why: str, *, give_up_at: float) -> float:
        """Wait until another attempt to start a file makes sense; return the time at which to give up.

        Waiting continues while files of this run have processes, because those will end. If none has one,
        only the file that was admitted first tries again, and the other slots release their processes.

        `give_up_at` is the time returned before (monotonic); the first try after it is the last.
        """
        with self._lock:
            self._waiting_slots.add(slot)
        try:
            while not self._stopped.wait(EXHAUSTED_PAUSE_S) and task.attempt_id not in self._stop_requests:
                now_s = time.monotonic()
                if self._governor.has_processes:
                    return now_s + EXHAUSTED_WAIT_S
                if now_s > give_up_at:
                    self._process_problem = self._process_problem or why
                if self._process_problem:
                    break
                with self._lock:  # The lock prevents admissions meanwhile.
                    if next(iter(self._slots)) == task.attempt_id:
                        busy = set(self._slots.values()) - self._waiting_slots
                        self._server_pool.release(used_slots=busy | {slot})
                        return give_up_at
            return 0.0
        finally:
            with self._lock:
                self._waiting_slots.discard(slot)

    def _register(self, attempt: RunningAttempt) -> None:
        """Register an attempt so that it can be stopped; stop it now if that was already requested."""
        with self._lock:
            self._running[attempt.task.attempt_id] = attempt
            requests = (self._stop_requests.get(attempt.task.attempt_id), self._stop_all_request)
        for request in requests:
            if request is not None:
                reason, grace_s = request
                attempt.stop(reason, STOP_DETAILS[reason], grace_s=grace_s)

    def _forget(self, task: TestTask) -> None:
        with self._lock:
            self._slots.pop(task.attempt_id, None)
            self._running.pop(task.attempt_id, None)
            self._stop_requests.pop(task.attempt_id, None)
        self._governor.detach(task.attempt_id)

    def _coverage_file(self, task: TestTask, number: int) -> Path | None:
        """Return where the file's coverage data goes, in a directory of its own; None: no coverage."""
        if task.coverage is None or self._settings.coverage_dir is None:
            return None
        directory = self._settings.coverage_dir / f"{number:05d}"
        directory.mkdir(parents=True, mode=0o700)
        return directory / "data"

    def _clear_tmp(self, tmp_dir: Path, status: Status, *, is_wanted: bool) -> str:
        """Remove a file's TMPDIR and return "", or return its path if it is kept."""
        if self._settings.keep_tmp and status.is_failure and is_wanted:
            return str(tmp_dir)
        self._tmp.remove(tmp_dir)
        return ""

    def _replace_supervisor(self, slot: int, attempt: RunningAttempt) -> None:
        """Kill the rest of a file that killed its supervisor; the slot's next file starts a new one."""
        supervisor = attempt.launch.supervisor
        self._server_pool.discard(slot, supervisor)
        # Processes may fork during the search: repeat it until none is left, a bounded number of times.
        for _ in range(100):
            left = marked(attempt.marker)
            if not left:
                break
            kill_all(left)
        supervisor.close()

    def _members(self, attempt_id: str) -> list[int]:
        """Return the processes of a running file."""
        with self._lock:
            attempt = self._running.get(attempt_id)
        return descendants(attempt.supervisor_pid) if attempt is not None else []

    def _on_breach(self, breach: Breach) -> None:
        """Kill the tree of an attempt that breaches the memory rules, without a grace period."""
        with self._lock:
            attempt = self._running.get(breach.attempt_id)
        if attempt is not None:
            attempt.stop(breach.reason, breach.detail, grace_s=0)
            # Through the monitor and the supervisor, the kill takes tens of milliseconds on a busy machine,
            # and the tree can grow by a megabyte in each of them.
            kill_all(descendants(attempt.supervisor_pid))

    def _not_started(self, task: TestTask, slot: int, error: str) -> TestResult:
        result = TestResult.without_run(task, Status.START_ERROR, error, worker=self._settings.name)
        return structs.replace(result, slot=slot)


class _OomKills:
    """The kernel's count of out-of-memory kills, cached for `OOM_COUNT_AGE_S`."""

    def __init__(self) -> None:
        self._count, self._read_at_s = 0, float("-inf")

    def before(self) -> int:
        """Return the count before a file starts, at most `OOM_COUNT_AGE_S` old."""
        if time.monotonic() - self._read_at_s > OOM_COUNT_AGE_S:
            self.now()
        return self._count

    def now(self) -> int:
        """Return the current count; 0 if the kernel does not report it."""
        self._count, self._read_at_s = oom_kill_count() or 0, time.monotonic()
        return self._count


def _is_worker_fault(supervised: Supervised, task: TestTask) -> bool:
    """Whether the start failed because of the worker; a project's own command is not its fault."""
    failed = supervised.failed
    if failed is None or failed.errno in TASK_ERRNOS:
        return False
    return task.runner is not RunnerKind.COMMAND or failed.errno in EXHAUSTED


def _is_killed(supervised: Supervised) -> bool:
    ended = supervised.ended
    return ended is not None and os.waitstatus_to_exitcode(ended.wait_status) == -signal.SIGKILL


STOP_DETAILS = {
    StopReason.CANCELLED: "stopped because the run was stopped",
    StopReason.RUN_TIMEOUT: "stopped because the time of the whole run was over",
}
