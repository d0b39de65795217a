"""Reads from the journal of a past run one file's attempts and how many files ran at the same time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from dispatcher.engine.journal import END, read_entries
from dispatcher.engine.journal import FILE_NAME as JOURNAL
from dispatcher.model.file_parts import join_parts
from dispatcher.model.results import names_of_cases
from dispatcher.reporters.outputs import OUTPUTS, output_path
from passmuster.model.errors import ConfigurationError
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.test_selection import SEPARATOR

SLOWEST_TESTS = 5
"""How many of the tests of an attempt are named for their time."""

SLOW_S = 0.01
"""Seconds from which a test is named for its time."""


class PastAttempt(Struct, frozen=True, kw_only=True):
    """One attempt of a past run."""

    result: TestResult
    after_s: float
    """Seconds from the start of the run's first file to its own."""
    concurrent_files: int
    """How many other files ran on the same worker when it started."""
    output: str = ""
    """The file with its output; empty: it no longer exists."""

    @property
    def failed_tests(self) -> tuple[str, ...]:
        """The names of its tests that failed, inside the file where they have such a name."""
        return tuple(self._name(case) for case in self.result.cases if case.outcome.is_bad)

    @property
    def slowest_tests(self) -> tuple[tuple[str, float], ...]:
        """The tests that took longest, the slowest first, each with its seconds."""
        slow = (case for case in self.result.cases if case.seconds >= SLOW_S)
        by_time = sorted(slow, key=lambda case: (-case.seconds, case.case_id))
        return tuple((self._name(case), case.seconds) for case in by_time[:SLOWEST_TESTS])

    def cases_of(self, tests: Sequence[str]) -> tuple[tuple[str, CaseResult], ...]:
        """Return the tests that are meant by `Class::test`, a class, or a function, each with its name."""
        named = ((self._name(case), case) for case in self.result.cases)
        return tuple(
            (name, case)
            for name, case in named
            if any(name == test or name.startswith((f"{test}{SEPARATOR}", f"{test}[")) for test in tests)
        )

    def _name(self, case: CaseResult) -> str:
        return "".join(names_of_cases(self.result, [case])) or case.case_id


class PastRun(Struct, frozen=True, kw_only=True):
    """One file in a past run."""

    run_id: str
    attempts: tuple[PastAttempt, ...]
    is_complete: bool
    """Whether the run finished; else it was interrupted, or is active."""


def find_newest_run(runs_dir: Path, path: str, *, wanted: str | None = None) -> PastRun | None:
    """Return the newest kept run that ran a file, reduced to that file; None: there is none.

    Args:
        path: relative to the root.
        wanted: the only run to look at; None: all.

    Raises:
        ConfigurationError: there is no such run, or it did not run the file.
    """
    names = sorted((found.parent.name for found in runs_dir.glob(f"*/{JOURNAL}")), reverse=True)
    if wanted is None:
        found = (_read(runs_dir / name / JOURNAL, path) for name in names)
        return next((run for run in found if run is not None), None)
    shown = ascii(wanted)[1:-1][:80]
    if wanted not in names:
        kept = f"there are {', '.join(names[:3])} (the newest first)" if names else "there are none"
        raise ConfigurationError(f"there is no run {shown} in {runs_dir}; {kept}")
    run = _read(runs_dir / wanted / JOURNAL, path)
    if run is None:
        raise ConfigurationError(f"run {shown} has no result of {path}: leave out --run-id")
    return run


def _read(journal: Path, path: str) -> PastRun | None:
    """Return a file's attempts in a journal; None: nothing that can be read."""
    try:
        lines = journal.read_bytes().split(b"\n")[1:-1]
    except OSError:
        return None
    # A journal may contain megabytes of output: one without the file is skipped without parsing it.
    name = json.dumps(json.dumps(path))[1:-1].encode()
    if not any(name in line for line in lines):
        return None
    entries = list(read_entries(lines))
    results = [entry for entry in entries if isinstance(entry, TestResult)]
    own = _attempts(result for result in results if result.file_path == path)
    if not own:
        return None
    first_at = min((result.started_at for result in results if result.started_at), default=0.0)
    return PastRun(
        run_id=journal.parent.name,
        is_complete=entries[-1] == END,
        attempts=tuple(
            PastAttempt(
                result=result,
                after_s=max(0.0, result.started_at - first_at) if result.started_at else 0.0,
                concurrent_files=_count_concurrent(result, results),
                output=_output(journal.parent, result),
            )
            for result in own
        ),
    )


def _attempts(results: Iterable[TestResult]) -> list[TestResult]:
    """Return the attempts at a file, in their order; the journal has a result for each part of one."""
    by_attempt: dict[int, list[TestResult]] = {}
    for result in results:
        by_attempt.setdefault(result.attempt, []).append(result)
    return [join_parts(found) if found[-1].parts else found[-1] for _, found in sorted(by_attempt.items())]


def _count_concurrent(own: TestResult, results: Sequence[TestResult]) -> int:
    """Return how many other files ran on its worker when an attempt started."""
    running = {
        other.file_path
        for other in results
        if other.worker == own.worker
        and 0.0 < other.started_at <= own.started_at < other.started_at + other.duration
    }
    return len(running - {own.file_path})


def _output(run_dir: Path, result: TestResult) -> str:
    path = output_path(run_dir / OUTPUTS, result.file_path, result.attempt)
    return str(path) if path.is_file() else ""
