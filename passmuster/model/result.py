"""The result of one attempt at a file, which a worker returns to the dispatcher."""

from __future__ import annotations

import signal
from typing import ClassVar

from msgspec import Struct

from passmuster.model.inputs import FileInputs
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status, StopReason
from passmuster.model.task import TestTask, key_of
from passmuster.model.test_selection import FilePart

HOLDS_NO_TESTS = "holds no tests"
"""The note of a file in which its framework found no tests."""

LOCAL_WORKER = "local"
"""The worker in a result if the dispatcher's own process ran the file."""

OUTSIDE_SIGNALS = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL})
"""Signals that people, init systems and out-of-memory killers send."""


class CaseResult(Struct, frozen=True, kw_only=True):
    """One test inside a file: a unittest method or a pytest node."""

    case_id: str
    """`module.Class.method` or `path::Class::method`."""
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""
    """Why it was skipped or how it failed; empty for a pass; bounded."""
    shared_s: float = 0.0
    """The seconds of it in which fixtures were set up that later tests use too (pytest: of the module, the
    package, or the session)."""


class PartRun(Struct, frozen=True, kw_only=True):
    """What the process of one part of a file collected and ran."""

    part: FilePart
    collected: int = 0
    """Tests of the whole file that it collected."""
    digest: str = ""
    """Of their names, in their order; empty: it did not collect them."""
    start: int = 0
    stop: int = 0
    """The positions of its first test and of the one behind its last."""
    problem: str = ""
    """Why the file cannot run in parts at all; empty: nothing is known against it."""


class TestResult(Struct, frozen=True, kw_only=True):
    """The result of one attempt."""

    __test__: ClassVar[bool] = False

    file_path: str
    status: Status
    output: str = ""
    """Stdout and stderr in order, bounded. Undecodable bytes are backslash-escaped; control characters are
    kept."""
    duration: float = 0.0
    """Wall-clock seconds from start to the end of its last process."""
    error: str = ""
    """One line that says why it did not pass."""
    note: str = ""
    """One line about a status that is no failure (`all 3 test(s) deselected`, `holds no tests`). A run over
    directories passes a file with `NO_TESTS` and the note `holds no tests`."""
    attempt: int = 1
    runner: RunnerKind = RunnerKind.AUTO
    """`AUTO` if it ended before this was known."""
    exit_code: int | None = None
    """None if a signal ended it or it never started."""
    signal: int | None = None
    """The number of the signal that ended it."""
    stop_reason: StopReason | None = None
    """Why Passmuster or the kernel stopped it; None: it ended by itself."""
    cases: tuple[CaseResult, ...] = ()
    """In the order in which they ended."""
    peak_bytes: int | None = None
    """Of its process tree; None: never measured."""
    cpu_s: float | None = None
    """Of its process tree; None: unknown."""
    started_at: float = 0.0
    """Unix time in seconds; 0: it never started."""
    worker: str = ""
    interpreter: str = ""
    """Implementation, version and, if known, a short digest of the installed packages; empty: unknown, or a
    command of the project ran it."""
    slot: int = 0
    """From 0, on that worker."""
    start_delayed_by: str = ""
    """Why it did not start at once (for example `memory`); empty: it did."""
    leaked: tuple[str, ...] = ()
    """Descriptions of processes that outlived the file and were killed."""
    stacks: str = ""
    output_dropped_bytes: int = 0
    """Bytes of output between its kept head and tail."""
    coverage_files: tuple[str, ...] = ()
    """Absolute paths of its coverage data."""
    coverage_root: str = ""
    """The project's root in that data, links resolved; empty: the one of the run."""
    kept_tmp: str = ""
    """Path of the kept private TMPDIR; empty: it was removed."""
    isolation: Isolation = Isolation.SPAWN
    """`FORK` or `SPAWN`."""
    isolation_note: str = ""
    """Why it was not forked although forking was allowed; empty: no reason to report."""
    stale_quarantine: tuple[str, ...] = ()
    """Quarantined tests, as `Class::test`, that the file does not have."""
    parts: tuple[PartRun, ...] = ()
    """The parts of the file that were put together for it, or the one that it is of; empty: the file ran as a
    whole."""
    inputs: FileInputs | None = None
    """What it read; None: it did not pass, or that was not recorded."""
    is_cached: bool = False
    """Whether it did not run, because it passed before with all that it reads as it is now."""
    was_alone: bool = True
    """Whether no other file of this run ran on the same worker at the same time."""
    was_extra: bool = False
    """Whether it started beyond the number of slots, because CPUs were idle."""
    is_worker_fault: bool = False
    """Whether the worker is the cause of a failed start."""

    @classmethod
    def without_run(
        cls, task: TestTask, status: Status, error: str, *, worker: str = "", output: str = ""
    ) -> TestResult:
        """Return the result of a task that nothing ran, or whose result was lost."""
        part = task.selection.part
        return cls(
            file_path=task.file_path,
            status=status,
            attempt=task.attempt,
            error=error,
            worker=worker,
            output=output,
            parts=() if part is None else (PartRun(part=part),),
        )

    @property
    def key(self) -> str:
        """What identifies the file, or the part of it that alone ran, in the run."""
        return key_of(self.file_path, self.parts[0].part if len(self.parts) == 1 else None)

    @property
    def is_partial(self) -> bool:
        """Whether it is of some parts of the file only: other shards run the others."""
        return bool(self.parts) and len(self.parts) < self.parts[0].part.total

    @property
    def indivisible_because(self) -> str:
        """Why the file cannot run in parts; empty: it ran as a whole, or nothing is known against it."""
        return next((run.problem for run in self.parts if run.problem), "")

    @property
    def status_text(self) -> str:
        """The status, as reports show it."""
        return f"{self.status} (cached)" if self.is_cached else str(self.status)

    @property
    def is_evicted(self) -> bool:
        """Whether it was evicted to free memory for other files, and therefore reruns."""
        return self.stop_reason is StopReason.MEMORY_BUDGET

    @property
    def was_ended_from_outside(self) -> bool:
        """Whether it was killed by a signal that Passmuster did not send and that may come from outside."""
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
        """Whether it passed because it contains no tests."""
        return self.status.is_pass and self.note == HOLDS_NO_TESTS

    @property
    def ran_no_test(self) -> bool:
        """Whether it passed although none of its tests ran: there are none, or all are deselected."""
        return self.status.is_pass and bool(self.note) and not self.cases

    @property
    def bad_cases(self) -> tuple[CaseResult, ...]:
        """The test cases that make it fail."""
        return tuple(case for case in self.cases if case.outcome.is_bad)

    @property
    def failed_by_tests(self) -> bool:
        """Whether its failed tests alone say why it failed."""
        return self.status is Status.FAIL and bool(self.bad_cases)

    def count(self, outcome: Outcome) -> int:
        """Return how many of its cases ended in `outcome`."""
        return sum(1 for case in self.cases if case.outcome is outcome)
