"""A run in simulated time, by the very code that decides in a real one.

Order, line, books, the rules of memory and of overcommitting, and what becomes of a file that had to make
room are the program's. Simulated are the processors, which running files share evenly, what files take, and
the looks at memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dispatcher.engine.retry import AttemptContext, RetryPolicy, next_attempt
from dispatcher.history.file_history import FileHistory
from dispatcher.planning.order import order_files
from dispatcher.planning.ready_queue import ReadyQueue
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask
from tests.simulation.recorded_suite import Recorded, discovered
from worker.budget.cpu_watch import load_of
from worker.budget.memory_ledger import MemoryLedger, Reservation
from worker.budget.memory_policy import find_breaches
from worker.budget.memory_probe import TreeMemory, TreeProbe

LOOK_S = 0.05
"""Simulated seconds between two looks at memory and processors."""

HORIZON_S = 0.01
RAMP = 2 / 3


@dataclass(slots=True, kw_only=True)
class _Running:
    """A file on its way: what is left of it."""

    file: Recorded
    task: TestTask
    entry: Reservation
    cpu_s: float = 0.0
    waited_s: float = 0.0

    @property
    def works(self) -> bool:
        return self.cpu_s < self.file.cpu_s - 1e-9

    @property
    def is_over(self) -> bool:
        return not self.works and self.waited_s >= self.file.wait_s - 1e-9

    @property
    def used_bytes(self) -> int:
        done = (self.cpu_s + self.waited_s) / self.file.seconds
        return int(self.file.peak_bytes * min(1.0, done / RAMP))

    def left_s(self, rate: float) -> float:
        """Return the seconds to the end of what it does now."""
        return (self.file.cpu_s - self.cpu_s) / rate if self.works else self.file.wait_s - self.waited_s


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    Args:
        seconds: how long it took.
        most_bytes: the most that all files used together.
        most_files: the most that ran at once.
        evictions: how often a file had to make room.
        ended: how often each file ran to its end.
        together: the most files of each group that ran at once.
    """

    seconds: float = 0.0
    most_bytes: int = 0
    most_files: int = 0
    evictions: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    together: Counter[str] = field(default_factory=Counter)


class SimulatedRun:
    """One run of some files.

    Args:
        files: what there is.
        history: what is known of them.
        slots: files at once usually.
        cpus: processors; None: as many as slots.
        budget_bytes: what all files together may use.
        overcommit: whether further files may start while processors are idle.
        groups: how many files of each group may run at once.
        group_of: the group of each file that is in one.
    """

    def __init__(
        self,
        files: tuple[Recorded, ...],
        history: Mapping[str, FileHistory],
        *,
        slots: int,
        budget_bytes: int,
        cpus: int | None = None,
        overcommit: bool = False,
        groups: Mapping[str, int] | None = None,
        group_of: Mapping[str, str] | None = None,
    ) -> None:
        self._files = {file.path: file for file in files}
        self._cpus = slots if cpus is None else cpus
        self._budget_bytes = budget_bytes
        self._ledger = MemoryLedger(
            slots=slots,
            budget_bytes=budget_bytes,
            limit_bytes=None,
            cpus=self._cpus if overcommit else None,
        )
        ordered = order_files(discovered(files), history, slots=slots, budget_bytes=budget_bytes)
        self._line = ReadyQueue(
            [
                TestTask(
                    run_id="r",
                    file_path=item.file.path,
                    predicted_s=item.predicted_s,
                    predicted_bytes=item.predicted_bytes,
                    predicted_cpu_s=item.predicted_cpu_s,
                    group=(group_of or {}).get(item.file.path, ""),
                )
                for item in ordered
            ],
            groups=groups,
        )
        self._running: dict[str, _Running] = {}
        self._evicted: Counter[str] = Counter()
        self._now_s = 0.0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Play it to its end."""
        look_at_s = 0.0
        for _ in range(1_000_000):
            self._start_what_fits()
            if not self._running:
                assert not len(self._line), "what waits does not start although nothing runs"
                self.outcome.seconds = self._now_s
                return self.outcome
            workers = sum(running.works for running in self._running.values())
            rate = min(1.0, self._cpus / max(1, workers))
            step_s = min(running.left_s(rate) for running in self._running.values())
            self._pass(max(0.0, min(step_s, look_at_s - self._now_s)), rate)
            if self._now_s >= look_at_s - 1e-9:
                look_at_s = self._now_s + LOOK_S
                self._look()
            self._end_what_is_over()
        raise AssertionError("the run does not end")

    def _pass(self, step_s: float, rate: float) -> None:
        self._now_s += step_s
        for running in self._running.values():
            if running.works:
                running.cpu_s += step_s * rate
            else:
                running.waited_s += step_s

    def _start_what_fits(self) -> None:
        while len(self._line):
            task = self._line.pop_first_fit(self._ledger.free_capacity())
            if task is None:
                return
            if not self._ledger.fits(task):
                self._line.requeue(task)
                return
            entry = self._ledger.add(task, probe=TreeProbe(), now_s=self._now_s)
            file = self._files[task.file_path]
            self._running[task.attempt_id] = _Running(file=file, task=task, entry=entry)
            groups = Counter(running.task.group for running in self._running.values())
            self.outcome.together |= groups
            self.outcome.most_files = max(self.outcome.most_files, len(self._running))

    def _look(self) -> None:
        """Measure everything, and end who has to make room."""
        for running in self._running.values():
            if running.entry.cpu.is_due(self._now_s):
                running.entry.cpu.record(running.cpu_s, now_s=self._now_s)
            running.entry.record(_memory(running.used_bytes), now_s=self._now_s)
        self._ledger.load = load_of(
            cpus=self._cpus,
            seen=self._cpus,
            busy_cpus=None,
            files_cpus=self._ledger.used_cpus,
        )
        total_bytes = sum(running.used_bytes for running in self._running.values())
        self.outcome.most_bytes = max(self.outcome.most_bytes, total_bytes)
        breaches = find_breaches(
            [entry.as_running(now_s=self._now_s) for entry in self._ledger.entries],
            budget_bytes=self._budget_bytes,
            allowance_bytes=self._budget_bytes,
            horizon_s=HORIZON_S,
        )
        for breach in breaches:
            self._evict(self._running[breach.attempt_id], breach.reason)

    def _evict(self, running: _Running, reason: StopReason) -> None:
        assert reason is StopReason.MEMORY_BUDGET, "no file is above the budget by itself"
        self._leave(running)
        self.outcome.evictions += 1
        result = TestResult(
            file_path=running.file.path,
            status=Status.MEMORY,
            stop_reason=reason,
            peak_bytes=running.used_bytes,
        )
        following = next_attempt(
            running.task,
            result,
            context=AttemptContext(evictions=self._evicted[running.file.path]),
            policy=RetryPolicy(),
            budget_bytes=self._budget_bytes,
        )
        assert following is not None
        self._evicted[running.file.path] += 1
        self._line.push_front([following.task])

    def _end_what_is_over(self) -> None:
        for running in [running for running in self._running.values() if running.is_over]:
            self._leave(running)
            self.outcome.ended[running.file.path] += 1

    def _leave(self, running: _Running) -> None:
        del self._running[running.task.attempt_id]
        self._ledger.remove(running.task.attempt_id)
        self._ledger.learn(running.used_bytes)
        self._line.release_group(running.task)


def simulate(
    files: tuple[Recorded, ...],
    history: Mapping[str, FileHistory] | None = None,
    *,
    slots: int,
    budget_bytes: int,
    cpus: int | None = None,
    overcommit: bool = False,
) -> Outcome:
    """Play a run to its end; see `SimulatedRun`."""
    return SimulatedRun(
        files, history or {}, slots=slots, budget_bytes=budget_bytes, cpus=cpus, overcommit=overcommit
    ).run()


def _memory(used_bytes: int) -> TreeMemory:
    return TreeMemory(
        used_bytes=used_bytes,
        upper_bytes=used_bytes,
        file_bytes=0,
        processes=1,
        is_exact=True,
        is_due=False,
        is_settled=True,
    )
