"""Our runner in its variants, each with a history of its own or with none."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

from benchmarks.bed.counting import covered_lines, of_pytest, of_unittest
from benchmarks.bed.model import Counts, FileCounts, Kind, SuiteDefinition, Verdict
from benchmarks.bed.runner import Job, Runner
from benchmarks.ours import REPOSITORY, FileRun, our_command, read_record
from benchmarks.outcome import pytest_counts, unittest_counts

REMEMBERED = ".passmuster"
"""The folder in a project in which our runner keeps what it remembers."""


class Ours(Runner):
    """Our runner with some options.

    Args:
        name: what it is called in tables.
        options: its options.
        with_history: whether it has what its earlier runs left; else each run is a first one.
        with_preload: whether the package under test is imported before anything is forked.
    """

    def __init__(
        self, name: str, options: Sequence[str], *, with_history: bool, with_preload: bool = False
    ) -> None:
        super().__init__(name)
        self._options = tuple(options)
        self._with_history = with_history
        self._with_preload = with_preload

    def why_not(self, suite: SuiteDefinition) -> str:
        """Say no where this version of ours lacks an option, or there is nothing to preload."""
        if self._with_preload and suite.own_package is None:
            return "the suite has no package of its own to preload"
        options = [*self._options, *(["--preload"] if self._with_preload else [])]
        lacking = [word for word in options if word.startswith("--") and word not in our_help()]
        return f"this version of ours has no {' '.join(lacking)}" if lacking else ""

    def command(self, job: Job) -> list[str]:
        """Put the history of this runner in its place and return the command."""
        suite = job.suite
        place = suite.root / REMEMBERED
        shutil.rmtree(place, ignore_errors=True)
        kept = job.state / REMEMBERED
        if self._with_history and kept.exists():
            kept.rename(place)
        options = ["--strict-args", "--runner", suite.kind.value, *self._options]
        own_package = suite.definition.own_package
        if self._with_preload and own_package is not None:
            options += ["--preload", own_package]
        if suite.definition.with_coverage:
            xml = str(job.work / "coverage.xml")
            options += ["--coverage", "--coverage-dir", str(job.work / "coverage"), "--coverage-xml", xml]
        return our_command(
            suite.root,
            interpreter=suite.interpreter,
            events=job.work / "events.jsonl",
            options=options,
            paths=suite.files,
        )

    def verdict(self, job: Job) -> Verdict:
        """Read the events: what each file's framework printed, as with every other runner."""
        events = job.work / "events.jsonl"
        if not events.exists():
            return Verdict(total=Counts(), problem=" ".join(job.read_log().split()[-40:]))
        record = read_record(events)
        final = record.final
        by_file = tuple(
            FileCounts(path=path, counts=_count(final[path], job.suite.kind) if path in final else Counts())
            for path in job.suite.files
        )
        bad = [path for path in job.suite.files if path not in final or final[path].status != "PASS"]
        report = job.work / "coverage.xml"
        again = Counter(attempt.attempt_reason for attempt in record.attempts if attempt.attempt_reason)
        if again:
            print(f"    {self.name}: ran again: {dict(again)}")
        return Verdict(
            total=sum((entry.counts for entry in by_file), Counts()),
            by_file=by_file,
            bad_files=tuple(bad),
            covered_lines=covered_lines(report.read_text()) if report.exists() else None,
            longest_s=max((run.duration_s for run in record.attempts), default=None),
            files_cpu_s=sum(run.cpu_s or 0.0 for run in record.attempts),
        )

    def clean_up(self, job: Job) -> None:
        """Put the history away, so that no other variant sees it."""
        place = job.suite.root / REMEMBERED
        kept = job.state / REMEMBERED
        if self._with_history and place.exists():
            shutil.rmtree(kept, ignore_errors=True)
            shutil.move(place, kept)
        shutil.rmtree(place, ignore_errors=True)


@functools.cache
def our_help() -> str:
    """Return the help text of our runner, in which its options stand."""
    command = [sys.executable, str(REPOSITORY / "run_tests.py"), "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _count(run: FileRun, kind: Kind) -> Counts:
    if kind is Kind.PYTEST:
        return of_pytest(dict(pytest_counts(run.output_tail)))
    return of_unittest(dict(unittest_counts(run.output_tail)))


def variants(name: str, options: Sequence[str]) -> tuple[Runner, Runner]:
    """Return our runner with some options: with its history, and as in a first run."""
    return (
        Ours(name, options, with_history=True),
        Ours(f"{name}-first", options, with_history=False),
    )


OUR_RUNNERS: Sequence[Runner] = (
    *variants("ours-plain", ()),
    *variants("ours-spawn", ("--isolation", "spawn")),
    *variants("ours-fork", ("--isolation", "fork")),
    *variants("ours-auto", ("--isolation", "auto")),
    Ours("ours-auto-preload", ("--isolation", "auto"), with_history=True, with_preload=True),
)
