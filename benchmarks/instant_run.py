"""Runs a suite whose files end without a process, to measure what the dispatcher itself costs.

`python -m benchmarks.instant_run ROOT SLOTS FILE_S REPORT` is one run of the `dispatcher` benchmark, in a
process of its own. It has the dispatcher's parts (discovery, plan, loop, console report, history, journal,
outputs) and the worker's memory governor, which admits each file; only `InstantExecutor` is not real. With
`real` in place of FILE_S, the files do run, and what this process needs for their processes is measured too.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import BackendRequest
from dispatcher.engine.local import LocalBackend
from dispatcher.model.events import RunEvent, RunFinished, RunStarted
from dispatcher.reporters.console.line_reporter import ConsoleContext
from dispatcher.reporters.console.reporter import ConsoleReporter
from dispatcher.run.runner import TestRunner
from passmuster.host.capacity import Capacity
from passmuster.model.executor import FreeCapacity, Limit, Usage
from passmuster.model.result import LOCAL_WORKER, CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status, StopReason
from passmuster.model.task import TestTask
from run_tests import LocalTarget
from worker.budget.memory_governor import MemoryGovernor

BUDGET_BYTES = 1024**4
"""So much that every file fits: memory is not what is measured."""

FILE_BYTES = 64 * 1024**2
TESTS = 10
"""Tests in each file."""

REAL = "real"
"""The argument that lets the files run."""


class InstantExecutor:
    """Says of each file that it passed when forked; each takes a slot for some seconds.

    Args:
        slots: how many files run at once.
        file_s: seconds for which a file takes its slot.
    """

    def __init__(self, *, slots: int, file_s: float) -> None:
        self._file_s = file_s
        self._governor = MemoryGovernor(
            slots=slots,
            budget_bytes=BUDGET_BYTES,
            limit_bytes=None,
            oversubscribes=False,
            members=lambda attempt_id: (),
            on_breach=lambda breach: None,
        )
        self._cases = tuple(
            CaseResult(case_id=f"tests.test_trivial.TrivialTest.test_{number}", outcome=Outcome.PASSED)
            for number in range(TESTS)
        )

    def limits(self) -> tuple[Limit, ...]:
        """Return no limit: the report then has no line about them."""
        return ()

    def prefetch(self, tasks: Sequence[TestTask]) -> None:
        """Let the governor see the predictions."""
        self._governor.expect(tasks)

    def free_capacity(self) -> FreeCapacity:
        """Return the free capacity."""
        return self._governor.free_capacity()

    def admit(self, task: TestTask) -> bool:
        """Take a slot, if one is free."""
        return self._governor.admit(task) is not None

    def release(self, task: TestTask) -> None:
        """Release the slot of a task that will not run."""
        self._governor.detach(task.attempt_id)

    def run_single_test(self, task: TestTask) -> TestResult:
        """Return a pass."""
        if self._file_s:
            time.sleep(self._file_s)
        self._governor.detach(task.attempt_id)
        is_spawned = task.isolation is Isolation.SPAWN
        return TestResult(
            file_path=task.file_path,
            status=Status.PASS,
            attempt=task.attempt,
            cases=self._cases,
            output="a line of output\n" * TESTS,
            duration=self._file_s,
            cpu_s=self._file_s,
            peak_bytes=FILE_BYTES,
            started_at=time.time(),
            runner=RunnerKind.UNITTEST,
            exit_code=0,
            worker=LOCAL_WORKER,
            interpreter="CPython 3",
            isolation=Isolation.SPAWN if is_spawned else Isolation.FORK,
        )

    def usage(self) -> Usage:
        """Return the use of the running files."""
        return self._governor.usage()

    def check(self) -> None:
        """Nothing can fail here."""

    def stop_all(self, reason: StopReason, *, grace_s: float) -> None:
        """Do nothing: every file ends by itself."""

    def stop_attempts(self, attempt_ids: Collection[str], reason: StopReason, *, grace_s: float) -> None:
        """As `stop_all`."""

    def close(self) -> None:
        """Stop the governor."""
        self._governor.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantTarget:
    """Makes pools whose files end without a process; see `InstantExecutor`."""

    slots: int
    file_s: float

    def capacity(self, config: TestConfig) -> Capacity:
        """Return the slots, and memory for all of them."""
        return Capacity(slots=self.slots, budget_bytes=BUDGET_BYTES, total_bytes=2 * BUDGET_BYTES, limits=())

    def backend(self, request: BackendRequest) -> LocalBackend:
        """Return a pool."""
        return LocalBackend(InstantExecutor(slots=self.slots, file_s=self.file_s))

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        """Return nothing: nothing is imported."""
        return ()


class PhaseClock:
    """Reads the CPU time of this process when the run starts and when its last file has ended."""

    def __init__(self) -> None:
        self.started_s = self.finished_s = 0.0

    def handle(self, event: RunEvent) -> None:
        """Note the time of two events."""
        if isinstance(event, RunStarted):
            self.started_s = time.process_time()
        elif isinstance(event, RunFinished):
            self.finished_s = time.process_time()

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstantRun:
    """One run.

    Args:
        file_s: seconds for which each file took its slot; None: its tests ran.
        prepare_s: CPU seconds until the first file may start: discovery, history, plan.
        run_s: CPU seconds from then until the last verdict.
        end_s: CPU seconds after that: the summary, and the rest of the history.
        wall_s: seconds of the run.
        peak_bytes: the largest resident size of the process.
    """

    files: int
    slots: int
    file_s: float | None
    passed: int
    prepare_s: float
    run_s: float
    end_s: float
    wall_s: float
    peak_bytes: int

    @property
    def file_cpu_s(self) -> float:
        """CPU seconds of the dispatcher for each file."""
        return (self.prepare_s + self.run_s + self.end_s) / self.files


def run_once(root: Path, *, slots: int, file_s: float | None) -> InstantRun:
    """Run the suite below `root`, reporting to standard output.

    Args:
        file_s: seconds for which each file takes its slot; None: its tests run.
    """
    target = LocalTarget() if file_s is None else InstantTarget(slots=slots, file_s=file_s)
    phases = PhaseClock()
    context = ConsoleContext(stream=sys.stdout, warn_stream=sys.stderr, rerun=lambda record: "")
    before_s, started_at_s = time.process_time(), time.monotonic()
    runner = TestRunner(TestConfig(root=root, max_workers=slots), target=target)
    results = runner.run_tests([ConsoleReporter(context), phases])
    return InstantRun(
        files=len(results.records),
        slots=slots,
        file_s=file_s,
        passed=len(results.passed),
        prepare_s=phases.started_s - before_s,
        run_s=phases.finished_s - phases.started_s,
        end_s=time.process_time() - phases.finished_s,
        wall_s=time.monotonic() - started_at_s,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def main() -> None:
    """Run once, as the arguments say, and write what it took."""
    root, slots, file_s, report = sys.argv[1:]
    found = run_once(Path(root), slots=int(slots), file_s=None if file_s == REAL else float(file_s))
    Path(report).write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
