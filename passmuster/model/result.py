"""The result of one attempt at a file, which a worker returns to the dispatcher."""

from __future__ import annotations

import signal
from typing import ClassVar

from msgspec import Struct

from passmuster.model.status import Isolation, Outcome, RunnerKind, Status, StopReason

HOLDS_NO_TESTS = "holds no tests"
"""The note on a file in which its framework found no tests."""

LOCAL_WORKER = "local"
"""The worker in a result if the dispatcher's own process ran the file."""

OUTSIDE_SIGNALS = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL})
"""Signals that people, init systems and out-of-memory killers send."""


class CaseResult(Struct, frozen=True, kw_only=True):
    """One test inside a file: a unittest method or a pytest node.

    Args:
        case_id: the framework's own name for it (`module.Class.method`, `path::Class::method`).
        outcome: how it ended.
        seconds: wall-clock seconds it took.
        message: why it was skipped or how it failed; empty for a pass; bounded.
    """

    case_id: str
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""


class TestResult(Struct, frozen=True, kw_only=True):
    """The result of one attempt.

    Args:
        file_path: as in the task.
        status: the status of the attempt.
        output: what the file printed, stdout and stderr in order, bounded; undecodable bytes are
            backslash-escaped. It is data: it may hold control characters.
        duration: wall-clock seconds from start to the end of its last process.
        error: one line that says why it did not pass; empty for a pass.
        note: one line about a status that is no failure (`all 3 test(s) deselected`, `holds no tests`);
            empty: none. A worker notes `holds no tests` on `NO_TESTS`, which a run over folders
            turns into a pass.
        attempt: as in the task.
        runner: how it was really executed; `AUTO` when it ended before that was known.
        exit_code: what the process returned; None when a signal ended it or it never started.
        signal: the signal's number that ended it; None otherwise.
        stop_reason: why Passmuster, or the kernel's out-of-memory killer, stopped it; None: it ended by
            itself.
        cases: the tests inside it, in the order they ended.
        peak_bytes: peak memory of its process tree; None: never measured.
        cpu_s: CPU seconds of the tree; None: unknown.
        started_at: Unix time in seconds; 0 when it never started.
        worker: which worker ran it.
        interpreter: its interpreter: implementation, version and, if known, a short digest of the
            installed packages; empty: unknown, or a command of the project ran it.
        slot: the number of its slot on that worker, from 0.
        start_delayed_by: why it did not start at once (for example `memory`); empty: it did.
        leaked: processes that outlived the file and were killed, one description each.
        stacks: the stacks of its Python processes at a timeout.
        output_dropped_bytes: bytes of output between its kept head and tail.
        coverage_files: absolute paths of the coverage data it delivered.
        coverage_root: the project's root in that data, links resolved; empty: the one of the run.
        isolation: its start method: `FORK` or `SPAWN`.
        isolation_note: why it was not forked although forking was allowed; empty: no reason to report.
        was_alone: whether no other file of this run ran on the same worker at the same time.
        was_extra: whether it started beyond the number of slots, because CPUs were idle.
        is_worker_fault: whether the worker is the cause of a failed start.
        kept_tmp: path of the kept private TMPDIR; empty: it was removed.
    """

    __test__: ClassVar[bool] = False

    file_path: str
    status: Status
    output: str = ""
    duration: float = 0.0
    error: str = ""
    note: str = ""
    attempt: int = 1
    runner: RunnerKind = RunnerKind.AUTO
    exit_code: int | None = None
    signal: int | None = None
    stop_reason: StopReason | None = None
    cases: tuple[CaseResult, ...] = ()
    peak_bytes: int | None = None
    cpu_s: float | None = None
    started_at: float = 0.0
    worker: str = ""
    interpreter: str = ""
    slot: int = 0
    start_delayed_by: str = ""
    leaked: tuple[str, ...] = ()
    stacks: str = ""
    output_dropped_bytes: int = 0
    coverage_files: tuple[str, ...] = ()
    coverage_root: str = ""
    kept_tmp: str = ""
    isolation: Isolation = Isolation.SPAWN
    isolation_note: str = ""
    was_alone: bool = True
    was_extra: bool = False
    is_worker_fault: bool = False

    @property
    def is_evicted(self) -> bool:
        """Whether it was evicted to free memory for other files, and therefore reruns."""
        return self.stop_reason is StopReason.MEMORY_BUDGET

    @property
    def was_ended_from_outside(self) -> bool:
        """Whether it was killed by a signal that Passmuster did not send and that may come from outside.

        Whether the test sent it to itself cannot be known.
        """
        is_ours = self.stop_reason not in (None, StopReason.OUT_OF_MEMORY)
        return self.signal in OUTSIDE_SIGNALS and not is_ours

    def is_comparable(self, other: TestResult) -> bool:
        """Whether this attempt and another one differ only in what the run changed deliberately.

        They ran on the same worker and interpreter, and ended without a signal from outside.
        """
        return (
            (self.worker, self.interpreter) == (other.worker, other.interpreter)
            and not self.was_ended_from_outside
            and not other.was_ended_from_outside
        )

    @property
    def holds_no_tests(self) -> bool:
        """Whether it passed because it holds no tests."""
        return self.status.is_pass and self.note == HOLDS_NO_TESTS

    @property
    def ran_no_test(self) -> bool:
        """Whether it passed although none of its tests ran: there are none, or all are deselected."""
        return self.status.is_pass and bool(self.note) and not self.cases

    @property
    def bad_cases(self) -> tuple[CaseResult, ...]:
        """The test cases that make it fail."""
        return tuple(case for case in self.cases if case.outcome.is_bad)

    def count(self, outcome: Outcome) -> int:
        """Return how many of its cases ended in `outcome`."""
        return sum(1 for case in self.cases if case.outcome is outcome)
