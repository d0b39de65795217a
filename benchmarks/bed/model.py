"""What the bed's parts exchange: suites, what a run counted, what it took."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """How one file of a suite is run by hand."""

    SCRIPT = "script"
    PYTEST = "pytest"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteDefinition:
    """What is known of a suite before anything is downloaded or installed for it.

    Args:
        name: what it is called in tables.
        kind: how one of its files is run by hand.
        discovery: the folder in which unittest discovers all of its files and no others; None: there is none.
        is_cpython: whether it is CPython's own `test` package, which has a runner of its own.
        own_package: the package under test, for runs that import it before they fork; None: there is none.
        pytest_options: what every pytest needs besides.
        with_coverage: whether what is measured is a run with coverage.
        environment: variables that every runner gets.
        refused: beginnings of the names of runners that cannot run it, each with the reason, found by trying.
    """

    name: str
    kind: Kind
    discovery: str | None = None
    is_cpython: bool = False
    own_package: str | None = None
    pytest_options: tuple[str, ...] = ()
    with_coverage: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def refusal(self, runner: str) -> str:
        """Return why a runner that would apply cannot run it; empty: it can."""
        return next((reason for name, reason in self.refused if runner.startswith(name)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class BedSuite:
    """A suite, ready to run.

    Args:
        definition: what it is.
        root: its project's folder, in which everything is run.
        interpreter: the Python of its environment.
        files: its test files, relative to the root.
    """

    definition: SuiteDefinition
    root: Path
    interpreter: Path
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.definition.name

    @property
    def kind(self) -> Kind:
        """How one of its files is run by hand."""
        return self.definition.kind

    @property
    def file_command(self) -> list[str]:
        """The words that, with a file behind them, run that file by hand."""
        pytest = ["-m", "pytest"] if self.kind is Kind.PYTEST else []
        return [str(self.interpreter), *pytest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a framework counted.

    Args:
        ran: tests that ran, the skipped ones too.
        failed: those that failed, unexpected successes too.
        errors: those that ended in an error.
        skipped: those that were skipped.
    """

    ran: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return the sum of both."""
        return Counts(
            ran=self.ran + other.ran,
            failed=self.failed + other.failed,
            errors=self.errors + other.errors,
            skipped=self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.ran} ran, {self.failed} failed, {self.errors} errors, {self.skipped} skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCounts:
    """What was counted in one file.

    Args:
        path: the file.
        counts: what was counted.
    """

    path: str
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of a run, reduced to what can be held against another runner's.

    Args:
        total: what was counted in all.
        by_file: the same for each file; empty where the runner does not tell.
        bad_files: files that did not end well; None where the runner does not tell.
        covered_lines: lines that coverage calls covered; None: it was not measured.
        longest_s: seconds of the longest file; None where the runner does not tell.
        files_cpu_s: CPU seconds of the files, by the runner's own measure; None where it does not tell.
        problem: why this is no outcome at all; empty: it is one.
    """

    total: Counts
    by_file: tuple[FileCounts, ...] = ()
    bad_files: tuple[str, ...] | None = None
    covered_lines: int | None = None
    longest_s: float | None = None
    files_cpu_s: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BedRun:
    """One measured run of a suite by a runner.

    Args:
        suite: the suite's name.
        runner: the runner's name.
        round: in which round, counted from 1 over all sessions that wrote to the same file.
        at: when it ended, as ISO 8601 in UTC.
        files: how many files it had to run.
        isolates: whether each file has a process of its own, so that no run is shorter than the longest file.
        wall_s: seconds from its start until it was reaped.
        cpu_s: CPU seconds of its whole tree.
        peak_bytes: the most anonymous and shared memory of its whole tree.
        processes: the most processes at once, the runner included.
        exit_code: as `subprocess` has it.
        load: the machine's load average over a minute just before it: above the cores, others were at work.
        oom_kills: processes that the kernel killed for want of memory; None: not known.
        survivors: processes that outlived it; they were killed.
        memory_source: where the memory was read.
        verdict: its outcome.
    """

    suite: str
    runner: str
    round: int
    at: str
    files: int
    isolates: bool
    wall_s: float
    cpu_s: float
    peak_bytes: int
    processes: int
    exit_code: int
    load: float
    oom_kills: int | None
    survivors: int
    memory_source: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A pair of suite and runner that was not measured.

    Args:
        suite: the suite's name.
        runner: the runner's name.
        reason: why.
    """

    suite: str
    runner: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was measured on.

    Args:
        cores: CPUs that could be used.
        memory_bytes: memory of the machine.
        kernel: release of the kernel.
        python: version of the Python that ran the bed.
    """

    cores: int
    memory_bytes: int
    kernel: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything that a file of results holds.

    Args:
        machine: what was measured on.
        runs: all runs, in the order in which they ended.
        not_measured: the pairs that were left out, one entry for each.
    """

    machine: Machine
    runs: tuple[BedRun, ...] = ()
    not_measured: tuple[NotMeasured, ...] = ()
