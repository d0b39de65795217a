"""Keeps running files within the memory budget: admits them, measures them, decides which one to stop.

`worker.executor.local` admits a task, attaches it when its process exists, detaches it when its last process
is gone, and kills its tree when `on_breach` says so. One thread measures; it starts with the first file and
sleeps while nothing runs. How often it measures follows from what measuring costs and how late it comes.

The rules are in `memory_policy`, the reservations in `memory_ledger`, the measuring of a tree in
`memory_probe`, and what other runs on this machine leave in `passmuster.host.host_budget`.
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
from passmuster.host.host_budget_policy import Lack, Need
from passmuster.host.host_resources import PROC
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import FreeCapacity, Usage
from passmuster.model.process_limit import start_thread
from passmuster.model.task import TestTask
from worker.budget.cpu_watch import CpuWatch
from worker.budget.freeze import StandstillClock
from worker.budget.inherited import Inherited
from worker.budget.memory_ledger import Measured, MemoryLedger, Reservation
from worker.budget.memory_policy import (
    COST_RATIO,
    DOOM_PATIENCE_S,
    FIRST_SAMPLE_S,
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
    """What is known of past looks. All in seconds.

    Args:
        late_s: how late looks come and how long they wait for a CPU, because the machine is busy.
        cost_s: CPU time of a look, without what the probes ration by themselves.
    """

    late_s: float = 0.0
    cost_s: float = 0.0

    def woken(self, late_s: float) -> None:
        """Take note of how late a look began: what is decided must look as far ahead as that."""
        self.late_s = min(MAX_TICK_S, max(late_s, self.late_s * 0.9))

    def looked(self, *, wall_s: float, cpu_s: float, dear_s: float, urgent_s: float) -> None:
        """Take note of what a look took.

        Args:
            wall_s: from its begin to its end, without the time for which files were held still.
            cpu_s: CPU time of it all.
            dear_s: the part of it that went into exact figures; the probes ration that by themselves.
            urgent_s: the part of that which was asked for in need: as long again is wait enough for it.
        """
        self.cost_s = min(MAX_TICK_S, max(0.0, cpu_s - dear_s) + urgent_s / COST_RATIO)
        # What a look took beyond its CPU time it waited for a CPU, and so will the next one.
        self.late_s = min(MAX_TICK_S, max(self.late_s, wall_s - cpu_s))

    def horizon_s(self, *, price_s: float) -> float:
        """Return how far ahead to look when deciding; `price_s` is what exact figures would take."""
        return max(MIN_TICK_S, COST_RATIO * self.cost_s) + price_s + REACTION_S + self.late_s

    def wait_s(
        self, *, spare_bytes: int, growth_bytes_per_s: float, youngest_s: float, look_s: float
    ) -> float:
        """Return the seconds until the next look; `look_s` is how long this one took."""
        return next_sample_s(
            spare_bytes=spare_bytes,
            growth_bytes_per_s=growth_bytes_per_s,
            youngest_s=youngest_s,
            cost_s=self.cost_s,
            # What was measured is as old as the look was long, and the next one will be as long.
            lag_s=2 * look_s + self.late_s,
        )


MAX_FAILED_LOOKS = 5
"""Looks in a row that may fail before governance is given up. One may be bad luck, five are not."""

POOL_REPORT_S = 0.25
"""Seconds between two reports to other runs while files grow; starts and ends are reported at once."""

NEAR_BYTES = 1024**3
"""Memory that all runs leave of the machine's, below which they tell each other at each look what they
use."""

COUNTING_S = 0.25
"""Seconds that reading the true size of a large tree was seen to take on a busy machine, and more."""

CLOSE_WAIT_S = 5.0
"""Seconds to wait for the sampling thread at the end; one look takes milliseconds."""


class MemoryGovernor:
    """Admission and supervision of all files that run on this machine. Thread-safe."""

    def __init__(
        self,
        *,
        slots: int,
        budget_bytes: int,
        limit_bytes: int | None,
        cpus: int | None = None,
        overcommits: bool = True,
        members: Callable[[str], Sequence[int]],
        on_breach: Callable[[Breach], None],
        pool: HostBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
        proc: Path = PROC,
    ) -> None:
        """Govern.

        Args:
            slots: how many files run at once usually.
            budget_bytes: what all files together may use.
            limit_bytes: what one file may use where its task says nothing; None: the budget.
            cpus: processors that there are; None: nobody wants to know how busy they are.
            overcommits: whether further files start while processors are idle.
            members: returns the process ids of an attempt's tree, dead ones allowed; must be cheap.
            on_breach: ends an attempt's tree, at once; called from the sampling thread, again every two
                seconds while the tree lives on.
            pool: what is shared with other runs; None: nothing. Whoever made it closes it.
            clock: seconds, only going forward.
            cpu_clock: CPU seconds of the calling thread.
            proc: where procfs is mounted.
        """
        self._members = members
        self._on_breach = on_breach
        self._pool = pool
        self._clock = StandstillClock(clock)
        self._cpu_clock = cpu_clock
        self._proc = proc
        self._ledger = MemoryLedger(
            slots=slots,
            budget_bytes=budget_bytes,
            limit_bytes=limit_bytes,
            cpus=cpus if overcommits else None,
            usual_bytes=None if pool is None else usual_machine_bytes(pool.peaks_bytes),
        )
        self._overcommits = overcommits and cpus is not None
        self._cpu = CpuWatch(cpus=cpus, proc=proc)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._look_at_s = 0.0
        self._pace = SamplingInterval()
        self._dear_s = self._urgent_s = 0.0
        self._reported_at_s = 0.0
        self._failed_looks = 0
        self._failure: str | None = None
        self._is_closed = False
        self._stopped_for_others: dict[str, int] = {}
        """What was reserved for files that were stopped for those of other runs, by path."""
        self._machine_spare_bytes: int | None = None
        """What the files of all runs leave of the machine's memory; None: this run is the only one."""

    def check(self) -> None:
        """Refuse to go on blindly: a run whose memory is not measured could break its budget unseen.

        Raises:
            InfrastructureError: memory can no longer be measured. Nothing is admitted any more.
        """
        if self._failure is not None:
            raise InfrastructureError(
                f"cannot measure the memory of running tests: {self._failure}; nothing further starts, "
                "and what runs is stopped"
            )

    def expect(self, tasks: Sequence[TestTask]) -> None:
        """Take what is known of the files that will come."""
        with self._changed:
            self._ledger.expect(tasks)

    def room(self) -> FreeCapacity:
        """Return what could start now. Asking means that something waits.

        Raises:
            InfrastructureError: memory can no longer be measured.
        """
        with self._changed:
            self.check()
            now_s = self._clock.now_s()
            if self._overcommits:
                self._cpu.ask(now_s=now_s)
            room = self._ledger.room()
            if self._pool is None or room.is_full:
                return room
            held = self._ledger.holding(now_s=now_s)
            room = replace(room, free_bytes=min(room.free_bytes, self._pool.free_bytes(held)))
            if room.is_idle:
                return replace(room, must_fit=self._pool.others > 0)
            lack = self._pool.find_lack(Need(memory_bytes=1, cpus=0.0), held)
            is_short = lack is not None or room.free_bytes < room.unknown_bytes
            if is_short and self._pool.others:
                self._pool.wait(Need(memory_bytes=room.unknown_bytes), held, lack or Lack.MEMORY)
            return room if lack is None else replace(room, slots=0, waiting_slots=0)

    def admit(self, task: TestTask) -> int | None:
        """Reserve a slot and memory for `task`; return the slot's number, None when it does not fit now.

        Raises:
            InfrastructureError: memory can no longer be measured, or there is no thread to measure it.
        """
        with self._changed:
            self.check()
            if self._is_closed or not self._ledger.fits(task):
                return None
            if self._pool is not None:
                stopped_bytes = self._stopped_for_others.get(task.file_path)
                need = Need(
                    memory_bytes=max(self._ledger.asked_bytes(task), stopped_bytes or 0),
                    cpus=task.predicted_cpus,
                    may_intrude=stopped_bytes is None,
                )
                held = self._ledger.holding(now_s=self._clock.now_s())
                if self._pool.try_start(need, held) is not None:
                    return None
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="memory-governor", daemon=True)
                start_thread(thread)
                self._thread = thread
            entry = self._ledger.add(task, probe=TreeProbe(proc=self._proc), now_s=self._clock.now_s())
            return entry.slot

    def attach(self, attempt_id: str, inherited: Inherited | None = None) -> None:
        """Start to measure an admitted attempt: its process exists.

        Args:
            attempt_id: whose.
            inherited: what its process shares with the server it was forked from; None: it was executed.
        """
        with self._changed:
            entry = self._ledger.find(attempt_id)
            if entry is None or entry.attached_at_s is not None:
                return
            entry.inherited = inherited
            entry.probe.is_forked = inherited is not None
            now_s = self._clock.now_s()
            is_first = all(other.attached_at_s is None for other in self._ledger.entries)
            entry.attached_at_s = now_s
            first_look_at_s = now_s + FIRST_SAMPLE_S
            self._look_at_s = first_look_at_s if is_first else min(self._look_at_s, first_look_at_s)
            self._changed.notify()

    def hold(self, held_bytes: int) -> None:
        """Count what the fork servers take, once, whatever runs."""
        with self._changed:
            self._ledger.held_bytes = held_bytes

    def detach(self, attempt_id: str, *, max_rss_bytes: int | None = None) -> Measured:
        """Give slot and memory of an attempt back; its last process is gone. Harmless when called again.

        Args:
            attempt_id: whose.
            max_rss_bytes: what `wait4` said (`ru_maxrss`, in bytes): catches a peak between two looks.
        """
        with self._changed:
            entry = self._ledger.remove(attempt_id)
            if entry is None:
                return Measured(peak_bytes=None, was_alone=False)
            peak_bytes = entry.peak_at_end(max_rss_bytes=max_rss_bytes)
            if peak_bytes is not None:
                self._ledger.note_peak(peak_bytes)
                if not entry.is_guilty:
                    self._ledger.learn(peak_bytes)
            self._report_to_pool(now_s=self._clock.now_s())
            return Measured(peak_bytes=peak_bytes, was_alone=entry.was_alone, was_extra=entry.was_extra)

    @property
    def has_processes(self) -> bool:
        """Whether any admitted file has a process."""
        with self._changed:
            return any(entry.attached_at_s is not None for entry in self._ledger.entries)

    def usage(self) -> Usage:
        """Return what the running files use, as last measured."""
        with self._changed:
            usage = self._ledger.usage(now_s=self._clock.now_s())
        if self._pool is None:
            return usage
        return replace(usage, other_runs=self._pool.other_runs())

    def close(self) -> None:
        """Stop measuring; nothing is admitted any more. Harmless when called again."""
        with self._changed:
            if self._pool is not None and not self._is_closed:
                self._pool.add_peaks(self._ledger.peaks_bytes)
            self._is_closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_WAIT_S)

    def _run(self) -> None:
        """Look again and again until closed: the sampling thread."""
        try:
            while self._wait_for_look():
                self._look_once()
        except Exception as error:  # The thread's top: governance must never end unnoticed.
            self._failure = _describe(error)

    def _wait_for_look(self) -> bool:
        """Sleep until it is time to look; return False when closed."""
        with self._changed:
            while not self._is_closed:
                now_s = self._clock.now_s()
                if not any(entry.attached_at_s is not None for entry in self._ledger.entries):
                    self._changed.wait()
                elif now_s < self._look_at_s:
                    self._changed.wait(self._look_at_s - now_s)
                else:
                    self._pace.woken(now_s - self._look_at_s)
                    return True
            return False

    def _look_once(self) -> None:
        """Measure all files, stop who must be stopped, and say when to look next."""
        started_s, started_cpu_s = self._clock.now_s(), self._cpu_clock()
        self._dear_s = self._urgent_s = 0.0
        try:
            self._measure(self._attached(), exact=False)
            breaches = self._judge()
            doubtful = self._in_doubt(is_urgent=bool(breaches))
            if doubtful:
                # Whoever is stopped is stopped by the most exact figures that can be had, and they must
                # still be true when they are known.
                trees = [partial(self._members_of, entry.task.attempt_id) for entry in doubtful]
                with self._clock.frozen(trees if breaches or self._is_near() else ()):
                    self._measure(doubtful, exact=True)
                    self._end(self._judge())
                self._urgent_s = self._dear_s if breaches else 0.0
            else:
                self._end(breaches)
            self._failed_looks = 0
        except Exception as error:  # One bad look must not end all that follow.
            self._failed_looks += 1
            if self._failed_looks >= MAX_FAILED_LOOKS:
                self._failure = _describe(error)
        self._plan_next_look(started_s, started_cpu_s)

    def _attached(self) -> tuple[Reservation, ...]:
        """Return the files that have processes."""
        with self._changed:
            return tuple(entry for entry in self._ledger.entries if entry.attached_at_s is not None)

    def _in_doubt(self, *, is_urgent: bool) -> tuple[Reservation, ...]:
        """Return the files whose size is only an estimate and should be known better now."""
        return tuple(
            entry
            for entry in self._attached()
            if entry.memory is not None and (entry.memory.is_due or (is_urgent and not entry.memory.is_exact))
        )

    def _is_near(self) -> bool:
        """Whether the budget could be broken while a tree is being counted."""
        with self._changed:
            spare_bytes = self._ledger.budget_bytes - self._ledger.used_bytes
            return spare_bytes < WORST_GROWTH_BYTES_PER_S * COUNTING_S

    def _members_of(self, attempt_id: str) -> Sequence[int]:
        """Return an attempt's processes; none when its owner has forgotten it."""
        try:
            return self._members(attempt_id)
        except LookupError:
            return ()

    def _end(self, breaches: Sequence[Breach]) -> None:
        """End who is to be stopped, and again whoever was told before and lives on."""
        for breach in self._doom(breaches):
            self._on_breach(breach)

    def _measure(self, entries: Sequence[Reservation], *, exact: bool) -> None:
        """Measure some files; with `exact`, whatever it costs."""
        with self._changed:
            left_bytes = self._ledger.budget_bytes - self._ledger.used_bytes
        for entry in entries:
            # Outside the lock: reading /proc may take milliseconds, and starts must not wait for it.
            pids = self._members_of(entry.task.attempt_id)
            now_s = self._clock.now_s()
            spare_bytes = min(left_bytes, (entry.limit_bytes or left_bytes) - entry.used_bytes)
            memory = entry.probe.measure(pids, now_s=now_s, spare_bytes=spare_bytes, exact=exact)
            self._dear_s += entry.probe.dear_s
            cpu_s = self._cpu.read(entry.cpu, pids, now_s=now_s)
            with self._changed:
                entry.record(memory, now_s=now_s, replaces_last=exact)
                if cpu_s is not None:
                    entry.cpu.record(cpu_s, now_s=now_s)
        if self._pool is not None and self._pool.others:
            self._cpu.ask(now_s=self._clock.now_s())  # What our files leave idle is for the others to know.
        is_known = self._cpu.read_machine(now_s=self._clock.now_s())
        with self._changed:
            self._ledger.note_peak()
            if is_known:
                self._ledger.load = self._cpu.load(
                    files_cpus=self._ledger.used_cpus, ended=self._ledger.ended
                )

    def _judge(self) -> tuple[Breach, ...]:
        """Return who must be stopped by what is known now."""
        with self._changed:
            now_s = self._clock.now_s()
            budget_bytes = allowance_bytes = self._ledger.budget_bytes
            surplus_bytes = 0
            self._machine_spare_bytes = None
            if self._pool is not None and self._pool.others:
                held = self._ledger.holding(now_s=now_s)
                self._machine_spare_bytes = self._pool.spare_bytes(held)
                # What was granted stays granted: only a file that outgrows it has to give way.
                others_bytes = self._pool.others_reserved_bytes() + self._ledger.held_bytes
                left_bytes = self._pool.machine_bytes(held) - others_bytes
                allowance_bytes = max(self._ledger.predicted_bytes, left_bytes)
                surplus_bytes = self._pool.surplus_bytes(held)
                if surplus_bytes:
                    allowance_bytes = min(allowance_bytes, self._ledger.used_bytes - surplus_bytes)
            breaches = find_breaches(
                [entry.as_running(now_s=now_s) for entry in self._ledger.entries],
                budget_bytes=budget_bytes,
                allowance_bytes=allowance_bytes,
                spares_last=not surplus_bytes,
                horizon_s=self._pace.horizon_s(
                    price_s=sum(entry.probe.price_s for entry in self._ledger.entries)
                ),
            )
            if surplus_bytes:
                for breach in breaches:
                    entry = self._ledger.find(breach.attempt_id)
                    if entry is not None:
                        self._stopped_for_others[entry.task.file_path] = entry.predicted_bytes
            return breaches

    def _doom(self, breaches: Sequence[Breach]) -> tuple[Breach, ...]:
        """Mark who is to be stopped; return them with those that were told before and still live."""
        with self._changed:
            now_s = self._clock.now_s()
            told: list[Breach] = []
            for breach in breaches:
                entry = self._ledger.find(breach.attempt_id)
                if entry is not None:
                    entry.breach, entry.doomed_at_s, entry.told_at_s = breach, now_s, now_s
                    told.append(breach)
            for entry in self._ledger.entries:
                if (
                    entry.breach is not None
                    and now_s - entry.told_at_s > DOOM_PATIENCE_S
                    and entry.used_bytes
                ):
                    entry.told_at_s = now_s
                    told.append(entry.breach)
            return tuple(told)

    def _plan_next_look(self, started_s: float, started_cpu_s: float) -> None:
        """Set when to look next, by what is left and how fast it goes."""
        with self._changed:
            now_s = self._clock.now_s()
            self._pace.looked(
                wall_s=now_s - started_s,
                cpu_s=self._cpu_clock() - started_cpu_s,
                dear_s=self._dear_s,
                urgent_s=self._urgent_s,
            )
            entries = [entry for entry in self._ledger.entries if entry.attached_at_s is not None]
            spare_bytes = self._ledger.budget_bytes - self._ledger.used_bytes
            is_near = self._machine_spare_bytes is not None and self._machine_spare_bytes < NEAR_BYTES
            if self._machine_spare_bytes is not None:
                spare_bytes = min(spare_bytes, self._machine_spare_bytes)
            for entry in entries:
                if entry.limit_bytes is not None and entry.doomed_at_s is None:
                    spare_bytes = min(spare_bytes, entry.limit_bytes - entry.used_bytes)
            ages_s = (now_s - (entry.attached_at_s or now_s) for entry in entries)
            self._look_at_s = now_s + self._pace.wait_s(
                spare_bytes=spare_bytes,
                growth_bytes_per_s=sum(entry.growth_bytes_per_s for entry in entries),
                youngest_s=min(ages_s, default=MAX_TICK_S),
                look_s=now_s - started_s,
            )
            if is_near or now_s - self._reported_at_s > POOL_REPORT_S:
                self._report_to_pool(now_s=now_s)

    def _report_to_pool(self, *, now_s: float) -> None:
        """Tell other runs what we hold."""
        if self._pool is not None:
            self._reported_at_s = now_s
            self._pool.report(self._ledger.holding(now_s=now_s))


def _describe(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
