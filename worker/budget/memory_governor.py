"""Keeps running files within the memory budget: admits files, samples their memory, decides which to kill.

`worker.executor.local` admits a task, attaches it when its process exists, detaches it after its last process
ended, and kills its tree when `on_breach` is called. One thread samples; it starts with the first file and
sleeps while nothing runs. The sampling interval follows from the cost and the delay of past samples.

The rules are in `memory_policy`, the reservations in `memory_ledger`, the measurement of a tree in
`memory_probe`, and the memory shared with other runs on this machine in `passmuster.host.host_budget`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from passmuster.host.host_budget import HostBudget
from passmuster.host.host_budget_policy import FileNeed, Shortage
from passmuster.host.host_resources import PROC
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import FreeCapacity, Usage
from passmuster.model.process_limit import start_thread
from passmuster.model.task import TestTask
from worker.budget.cpu_watch import CpuWatch
from worker.budget.freeze import PausableClock
from worker.budget.inherited import Inherited
from worker.budget.memory_ledger import Measured, MemoryLedger, Reservation
from worker.budget.memory_policy import (
    COST_RATIO,
    FIRST_SAMPLE_S,
    KILL_PATIENCE_S,
    MAX_TICK_S,
    MIN_TICK_S,
    REACTION_S,
    WORST_GROWTH_BYTES_PER_S,
    Breach,
    find_breaches,
    next_sample_s,
    usual_machine_bytes,
)
from worker.budget.memory_probe import TreeProbe


class SamplingInterval(Struct):
    """Derives the wait between samples from the delay and the cost of past ones."""

    late_s: float = 0.0
    """How late samples start and how long they wait for a CPU on a busy machine."""
    cost_s: float = 0.0
    """CPU time of a sample, without the PSS readings, which the probes ration themselves."""

    def record_delay(self, late_s: float) -> None:
        """Record how late a sample started: decisions must predict that far ahead."""
        self.late_s = min(MAX_TICK_S, max(late_s, self.late_s * 0.9))

    def record_sample(self, *, wall_s: float, cpu_s: float, costly_s: float, urgent_s: float) -> None:
        """Record the duration of a sample: wall-clock time without pauses, and CPU time.

        `costly_s` is the CPU time spent on exact figures, which the probes ration themselves. `urgent_s` is
        its part spent near the budget: a wait of the same length is enough after it.
        """
        self.cost_s = min(MAX_TICK_S, max(0.0, cpu_s - costly_s) + urgent_s / COST_RATIO)
        # Beyond its CPU time, a sample waited for a CPU; the next one will too.
        self.late_s = min(MAX_TICK_S, max(self.late_s, wall_s - cpu_s))

    def horizon_s(self, *, price_s: float) -> float:
        """Return how far ahead decisions must predict; `price_s` is the CPU time that exact figures take."""
        return max(MIN_TICK_S, COST_RATIO * self.cost_s) + price_s + REACTION_S + self.late_s

    def wait_s(
        self, *, spare_bytes: int, growth_bytes_per_s: float, youngest_s: float, sample_s: float
    ) -> float:
        """Return the seconds until the next sample; `sample_s` is the duration of this one."""
        return next_sample_s(
            spare_bytes=spare_bytes,
            growth_bytes_per_s=growth_bytes_per_s,
            youngest_s=youngest_s,
            cost_s=self.cost_s,
            # The figures are as old as this sample was long, and the next one will take as long.
            lag_s=2 * sample_s + self.late_s,
        )


MAX_FAILED_SAMPLES = 5
"""Consecutive failed samples after which the governor gives up. A single failure may be transient."""

SHARED_REPORT_S = 0.25
"""Seconds between two reports to other runs while files grow; starts and ends are reported immediately."""

NEAR_BYTES = 1024**3
"""Free memory of the machine below which the runs on it report their use to each other with each sample."""

COUNTING_S = 0.25
"""Upper bound in seconds for reading the true size of a large tree on a busy machine, as measured."""

CLOSE_WAIT_S = 5.0
"""Seconds to wait for the sampling thread at the end; one sample takes milliseconds."""


class MemoryGovernor:
    """Admits and supervises all files of one executor. Thread-safe."""

    def __init__(
        self,
        *,
        slots: int,
        budget_bytes: int,
        limit_bytes: int | None,
        cpus: int | None = None,
        oversubscribes: bool = True,
        members: Callable[[str], Sequence[int]],
        on_breach: Callable[[Breach], None],
        host_budget: HostBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
        proc: Path = PROC,
    ) -> None:
        """Create a governor that has not started its thread yet.

        Args:
            slots: usual number of concurrent files.
            budget_bytes: bound for all files together.
            limit_bytes: bound for one file whose task sets none; None: the budget.
            cpus: available CPUs; None: do not measure their load.
            oversubscribes: whether extra files start while CPUs are idle.
            members: returns the process IDs of an attempt's tree, which may include dead ones; must be cheap.
            on_breach: kills an attempt's tree immediately; called from the sampling thread, and again every
                `KILL_PATIENCE_S` while the tree lives.
            host_budget: the memory shared with other runs, which the caller closes; None: not shared.
        """
        self._members = members
        self._on_breach = on_breach
        self._host_budget = host_budget
        self._clock = PausableClock(clock)
        self._cpu_clock = cpu_clock
        self._proc = proc
        self._ledger = MemoryLedger(
            slots=slots,
            budget_bytes=budget_bytes,
            limit_bytes=limit_bytes,
            cpus=cpus if oversubscribes else None,
            usual_bytes=None if host_budget is None else usual_machine_bytes(host_budget.peaks_bytes),
        )
        self._overcommits = oversubscribes and cpus is not None
        self._cpu = CpuWatch(cpus=cpus, proc=proc)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sample_at_s = 0.0
        self._interval = SamplingInterval()
        self._costly_s = self._urgent_s = 0.0
        self._reported_at_s = 0.0
        self._failed_samples = 0
        self._failure: str | None = None
        self._is_closed = False
        self._stopped_for_others: dict[str, int] = {}
        """Reservations of the files that were evicted for those of other runs, by path."""
        self._machine_spare_bytes: int | None = None
        """Memory of the machine that the files of all runs leave free; None: this run is the only one."""

    def check(self) -> None:
        """Raise if memory cannot be measured: the run could then exceed its budget unnoticed.

        Raises:
            InfrastructureError: memory can no longer be measured, and no file is admitted any more.
        """
        if self._failure is not None:
            raise InfrastructureError(
                f"cannot measure the memory of running tests: {self._failure}; running files are stopped, "
                "and no further file starts"
            )

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Use the predictions of the planned files to estimate the unknown ones."""
        with self._changed:
            self._ledger.expect(tasks)

    def free_capacity(self) -> FreeCapacity:
        """Return the free capacity. The call also signals that a file is queued.

        Raises:
            InfrastructureError: memory can no longer be measured.
        """
        with self._changed:
            self.check()
            now_s = self._clock.now_s()
            if self._overcommits:
                self._cpu.ask(now_s=now_s)
            capacity = self._ledger.free_capacity()
            if self._host_budget is None or capacity.is_full:
                return capacity
            held = self._ledger.held_resources(now_s=now_s)
            capacity = replace(
                capacity, free_bytes=min(capacity.free_bytes, self._host_budget.free_bytes(held))
            )
            if capacity.is_idle:
                return replace(capacity, must_fit=self._host_budget.others > 0)
            lack = self._host_budget.find_shortage(FileNeed(memory_bytes=1, cpus=0.0), held)
            is_short = lack is not None or capacity.free_bytes < capacity.unknown_bytes
            if is_short and self._host_budget.others:
                self._host_budget.wait(
                    FileNeed(memory_bytes=capacity.unknown_bytes), held, lack or Shortage.MEMORY
                )
            return capacity if lack is None else replace(capacity, slots=0, io_bound_slots=0)

    def admit(self, task: TestTask) -> int | None:
        """Reserve a slot and memory for `task`; return the slot number, or None if the task does not fit now.

        Raises:
            InfrastructureError: memory can no longer be measured, or the sampling thread cannot start.
        """
        with self._changed:
            self.check()
            if self._is_closed or not self._ledger.fits(task):
                return None
            if self._host_budget is not None:
                stopped_bytes = self._stopped_for_others.get(task.file_path)
                need = FileNeed(
                    memory_bytes=max(self._ledger.asked_bytes(task), stopped_bytes or 0),
                    cpus=task.predicted_cpus,
                    may_intrude=stopped_bytes is None,
                )
                held = self._ledger.held_resources(now_s=self._clock.now_s())
                if self._host_budget.try_start(need, held) is not None:
                    return None
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="memory-governor", daemon=True)
                start_thread(thread)
                self._thread = thread
            entry = self._ledger.add(task, probe=TreeProbe(proc=self._proc), now_s=self._clock.now_s())
            return entry.slot

    def attach(self, attempt_id: str, inherited: Inherited | None = None) -> None:
        """Start sampling an admitted attempt, whose process exists; without `inherited`, it was spawned."""
        with self._changed:
            entry = self._ledger.find(attempt_id)
            if entry is None or entry.attached_at_s is not None:
                return
            entry.inherited = inherited
            entry.probe.is_forked = inherited is not None
            now_s = self._clock.now_s()
            is_first = not self._ledger.attached
            entry.attached_at_s = now_s
            first_sample_at_s = now_s + FIRST_SAMPLE_S
            self._sample_at_s = first_sample_at_s if is_first else min(self._sample_at_s, first_sample_at_s)
            self._changed.notify()

    def set_server_bytes(self, server_bytes: int) -> None:
        """Set the memory of the fork servers, which counts once, whatever runs."""
        with self._changed:
            self._ledger.server_bytes = server_bytes

    def detach(self, attempt_id: str, *, max_rss_bytes: int | None = None) -> Measured:
        """Release the slot and the reservation of an attempt whose last process ended. Idempotent.

        `max_rss_bytes`, which is `ru_maxrss` from `wait4` in bytes, includes a peak between two samples.
        """
        with self._changed:
            entry = self._ledger.remove(attempt_id)
            if entry is None:
                return Measured(peak_bytes=None, was_alone=False)
            peak_bytes = entry.peak_at_end(max_rss_bytes=max_rss_bytes)
            if peak_bytes is not None:
                self._ledger.note_peak(peak_bytes)
                if not entry.exceeded_own_limit:
                    self._ledger.learn(peak_bytes)
            self._report_to_other_runs(now_s=self._clock.now_s())
            return Measured(peak_bytes=peak_bytes, was_alone=entry.was_alone, was_extra=entry.was_extra)

    @property
    def has_processes(self) -> bool:
        """Whether any admitted file has a process."""
        with self._changed:
            return bool(self._ledger.attached)

    def usage(self) -> Usage:
        """Return what the running files use, as last measured."""
        with self._changed:
            usage = self._ledger.usage(now_s=self._clock.now_s())
        if self._host_budget is None:
            return usage
        return replace(usage, other_runs=self._host_budget.other_runs())

    def close(self) -> None:
        """Stop sampling and admitting. Idempotent."""
        with self._changed:
            if self._host_budget is not None and not self._is_closed:
                self._host_budget.add_peaks(self._ledger.peaks_bytes)
            self._is_closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        """Sample until closed: the body of the sampling thread."""
        try:
            while self._wait_for_sample():
                self._sample_once()
        except Exception as error:  # The top of the thread: it must never end unnoticed.
            self._failure = _describe(error)

    def _wait_for_sample(self) -> bool:
        """Sleep until the next sample is due; return False if closed."""
        with self._changed:
            while not self._is_closed:
                now_s = self._clock.now_s()
                if not self._ledger.attached:
                    self._changed.wait()
                elif now_s < self._sample_at_s:
                    self._changed.wait(self._sample_at_s - now_s)
                else:
                    self._interval.record_delay(now_s - self._sample_at_s)
                    return True
            return False

    def _sample_once(self) -> None:
        """Measure all files, kill those that must be killed, and schedule the next sample."""
        started_s, started_cpu_s = self._clock.now_s(), self._cpu_clock()
        self._costly_s = self._urgent_s = 0.0
        try:
            self._measure(self._attached(), exact=False)
            breaches = self._find_breaches()
            inexact = self._inexact(is_urgent=bool(breaches))
            if inexact:
                # A kill needs the most exact figures available. Pausing the trees keeps them true until they
                # are known.
                trees = [partial(self._members_of, entry.task.attempt_id) for entry in inexact]
                with self._clock.frozen(trees if breaches or self._is_near_budget() else ()):
                    self._measure(inexact, exact=True)
                    self._kill(self._find_breaches())
                self._urgent_s = self._costly_s if breaches else 0.0
            else:
                self._kill(breaches)
            self._failed_samples = 0
        except Exception as error:  # One failed sample must not end sampling.
            self._failed_samples += 1
            if self._failed_samples >= MAX_FAILED_SAMPLES:
                self._failure = _describe(error)
        self._schedule_sample(started_s, started_cpu_s)

    def _attached(self) -> tuple[Reservation, ...]:
        """Return the files that have processes."""
        with self._changed:
            return self._ledger.attached

    def _inexact(self, *, is_urgent: bool) -> tuple[Reservation, ...]:
        """Return the files whose size is an estimate and should be measured exactly now."""
        return tuple(
            entry
            for entry in self._attached()
            if entry.memory is not None and (entry.memory.is_due or (is_urgent and not entry.memory.is_exact))
        )

    def _is_near_budget(self) -> bool:
        """Whether the budget could be exceeded while a tree is measured."""
        with self._changed:
            spare_bytes = self._ledger.budget_bytes - self._ledger.used_bytes
            return spare_bytes < WORST_GROWTH_BYTES_PER_S * COUNTING_S

    def _members_of(self, attempt_id: str) -> Sequence[int]:
        """Return an attempt's processes; none if its owner has released it."""
        try:
            return self._members(attempt_id)
        except LookupError:
            return ()

    def _kill(self, breaches: Sequence[Breach]) -> None:
        """Kill the files of `breaches`, and once more those that survived an earlier kill."""
        for breach in self._request_kills(breaches):
            self._on_breach(breach)

    def _measure(self, entries: Sequence[Reservation], *, exact: bool) -> None:
        """Measure some files; with `exact`, at any cost."""
        with self._changed:
            left_bytes = self._ledger.budget_bytes - self._ledger.used_bytes
        for entry in entries:
            # Outside the lock: reading /proc may take milliseconds, and starts must not wait for it.
            pids = self._members_of(entry.task.attempt_id)
            now_s = self._clock.now_s()
            spare_bytes = min(left_bytes, (entry.limit_bytes or left_bytes) - entry.used_bytes)
            memory = entry.probe.measure(pids, now_s=now_s, spare_bytes=spare_bytes, exact=exact)
            self._costly_s += entry.probe.pss_cost_s
            cpu_s = self._cpu.read(entry.cpu, pids, now_s=now_s)
            with self._changed:
                entry.record(memory, now_s=now_s, replaces_last=exact)
                if cpu_s is not None:
                    entry.cpu.record(cpu_s, now_s=now_s)
        if self._host_budget is not None and self._host_budget.others:
            # Other runs need to know which CPUs these files leave idle.
            self._cpu.ask(now_s=self._clock.now_s())
        is_known = self._cpu.read_machine(now_s=self._clock.now_s())
        with self._changed:
            self._ledger.note_peak()
            if is_known:
                self._ledger.load = self._cpu.load(
                    files_cpus=self._ledger.used_cpus, ended=self._ledger.ended
                )

    def _find_breaches(self) -> tuple[Breach, ...]:
        """Return the files to kill according to the latest figures."""
        with self._changed:
            now_s = self._clock.now_s()
            budget_bytes = allowance_bytes = self._ledger.budget_bytes
            surplus_bytes = 0
            self._machine_spare_bytes = None
            if self._host_budget is not None and self._host_budget.others:
                held = self._ledger.held_resources(now_s=now_s)
                self._machine_spare_bytes = self._host_budget.spare_bytes(held)
                # A granted reservation stays granted: only a file that outgrows it is evicted.
                others_bytes = self._host_budget.others_reserved_bytes() + self._ledger.server_bytes
                left_bytes = self._host_budget.machine_bytes(held) - others_bytes
                allowance_bytes = max(self._ledger.predicted_bytes, left_bytes)
                surplus_bytes = self._host_budget.surplus_bytes(held)
                if surplus_bytes:
                    allowance_bytes = min(allowance_bytes, self._ledger.used_bytes - surplus_bytes)
            breaches = find_breaches(
                [entry.as_running(now_s=now_s) for entry in self._ledger.entries],
                budget_bytes=budget_bytes,
                allowance_bytes=allowance_bytes,
                spares_last=not surplus_bytes,
                horizon_s=self._interval.horizon_s(
                    price_s=sum(entry.probe.price_s for entry in self._ledger.entries)
                ),
            )
            if surplus_bytes:
                for breach in breaches:
                    entry = self._ledger.find(breach.attempt_id)
                    if entry is not None:
                        self._stopped_for_others[entry.task.file_path] = entry.predicted_bytes
            return breaches

    def _request_kills(self, breaches: Sequence[Breach]) -> tuple[Breach, ...]:
        """Mark the files to kill; return them and those that survived a kill for `KILL_PATIENCE_S`."""
        with self._changed:
            now_s = self._clock.now_s()
            requested: list[Breach] = []
            for breach in breaches:
                entry = self._ledger.find(breach.attempt_id)
                if entry is not None:
                    entry.breach, entry.kill_requested_at_s, entry.kill_repeated_at_s = breach, now_s, now_s
                    requested.append(breach)
            for entry in self._ledger.entries:
                if (
                    entry.breach is not None
                    and now_s - entry.kill_repeated_at_s > KILL_PATIENCE_S
                    and entry.used_bytes
                ):
                    entry.kill_repeated_at_s = now_s
                    requested.append(entry.breach)
            return tuple(requested)

    def _schedule_sample(self, started_s: float, started_cpu_s: float) -> None:
        """Schedule the next sample, by the memory that is left and how fast it shrinks."""
        with self._changed:
            now_s = self._clock.now_s()
            self._interval.record_sample(
                wall_s=now_s - started_s,
                cpu_s=self._cpu_clock() - started_cpu_s,
                costly_s=self._costly_s,
                urgent_s=self._urgent_s,
            )
            entries = self._ledger.attached
            spare_bytes = self._ledger.budget_bytes - self._ledger.used_bytes
            is_near = self._machine_spare_bytes is not None and self._machine_spare_bytes < NEAR_BYTES
            if self._machine_spare_bytes is not None:
                spare_bytes = min(spare_bytes, self._machine_spare_bytes)
            for entry in entries:
                if entry.limit_bytes is not None and entry.kill_requested_at_s is None:
                    spare_bytes = min(spare_bytes, entry.limit_bytes - entry.used_bytes)
            ages_s = (now_s - (entry.attached_at_s or now_s) for entry in entries)
            self._sample_at_s = now_s + self._interval.wait_s(
                spare_bytes=spare_bytes,
                growth_bytes_per_s=sum(entry.growth_bytes_per_s for entry in entries),
                youngest_s=min(ages_s, default=MAX_TICK_S),
                sample_s=now_s - started_s,
            )
            if is_near or now_s - self._reported_at_s > SHARED_REPORT_S:
                self._report_to_other_runs(now_s=now_s)

    def _report_to_other_runs(self, *, now_s: float) -> None:
        """Report the reservations of this run to the other runs."""
        if self._host_budget is not None:
            self._reported_at_s = now_s
            self._host_budget.report(self._ledger.held_resources(now_s=now_s))


def _describe(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
