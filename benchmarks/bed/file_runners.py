"""Runners that start a process for each file and know nothing of tests: bash, xargs, GNU parallel."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bed.counting import covered_lines, of_pytest, of_unittest, pytest_sum, unittest_sum
from benchmarks.bed.model import Counts, FileCounts, Kind, SuiteDefinition, Verdict
from benchmarks.bed.runner import Job, Runner, available_bytes, missing_program
from benchmarks.outcome import pytest_counts, unittest_counts

GIB = 1024**3
FREE_BYTES = 4 * GIB
"""What GNU parallel's --memfree is to use of the memory that is left: as much as our default budget."""

SHARED_OUTPUT = "runs with coverage share one data file, and lose lines when they run at once"

UNLIMITED = """
logs=$1 statuses=$2 list=$3; shift 3
n=0 pids=()
while IFS= read -r file; do
    "$@" "$file" > "$logs/$n.log" 2>&1 < /dev/null &
    pids[n]=$!; n=$((n + 1))
done < "$list"
for pid in "${pids[@]}"; do wait "$pid"; echo $?; done > "$statuses"
"""
"""The script that is replaced: every file at once."""

APPENDING = """
logs=$1 statuses=$2 list=$3 python=$4; shift 4
n=0
"$python" -m coverage erase
while IFS= read -r file; do
    "$python" -m coverage run --append "$@" "$file" > "$logs/$n.log" 2>&1 < /dev/null; echo $?
    n=$((n + 1))
done < "$list" > "$statuses"
"$python" -m coverage report -i > "$logs/report.txt"
"$python" -m coverage html -i -q -d "$logs/html"
"$python" -m coverage xml -i -q -o "$logs/coverage.xml"
"""
"""The same script's run with coverage: one file after another, all into one data file, then the reports."""


class Bash(Runner):
    """One of the replaced script's two loops.

    Args:
        name: what it is called in tables.
        script: its text.
        with_coverage: whether it is the one that measures coverage.
    """

    def __init__(self, name: str, script: str, *, with_coverage: bool) -> None:
        super().__init__(name)
        self._script = script
        self._with_coverage = with_coverage

    def why_not(self, suite: SuiteDefinition) -> str:
        """Say no to what the loop is not for."""
        if self._with_coverage and not suite.with_coverage:
            return "measures coverage, which is not asked for here"
        if suite.with_coverage and not self._with_coverage:
            return SHARED_OUTPUT
        return suite.refusal(self.name)

    def command(self, job: Job) -> list[str]:
        """Return the loop over all files, each with a log of its own."""
        words = [str(job.work), str(job.work / "statuses"), str(job.list_file())]
        return ["bash", "-c", self._script, "bash", *words, *job.suite.file_command]

    def verdict(self, job: Job) -> Verdict:
        """Read the files' logs and exit statuses."""
        statuses = (job.work / "statuses").read_text().split()
        by_file = tuple(
            FileCounts(
                path=path, counts=_count(job, (job.work / f"{number}.log").read_text("utf-8", "replace"))
            )
            for number, path in enumerate(job.suite.files)
        )
        bad = [path for path, status in zip(job.suite.files, statuses, strict=True) if status != "0"]
        report = job.work / "coverage.xml"
        return Verdict(
            total=sum((entry.counts for entry in by_file), Counts()),
            by_file=by_file,
            bad_files=tuple(bad),
            covered_lines=covered_lines(report.read_text()) if report.exists() else None,
        )


class Xargs(Runner):
    """`xargs -P`: so many at once, all into one output."""

    def why_not(self, suite: SuiteDefinition) -> str:
        """Say no to coverage."""
        return SHARED_OUTPUT if suite.with_coverage else missing_program("xargs", "findutils")

    def command(self, job: Job) -> list[str]:
        """Return xargs over the list of files."""
        return ["xargs", "-a", str(job.list_file()), f"-P{job.cores}", "-n1", *job.suite.file_command]

    def verdict(self, job: Job) -> Verdict:
        """Add up what all files printed."""
        return Verdict(total=_sum(job))


class Parallel(Runner):
    """GNU parallel.

    Args:
        name: what it is called in tables.
        memfree: whether it is to start many, as long as memory is free, and not one for each core.
    """

    def __init__(self, name: str, *, memfree: bool) -> None:
        super().__init__(name)
        self._memfree = memfree

    def why_not(self, suite: SuiteDefinition) -> str:
        """Say no to coverage, and where it is not installed."""
        return SHARED_OUTPUT if suite.with_coverage else missing_program("parallel", "parallel")

    def command(self, job: Job) -> list[str]:
        """Return parallel over the list of files, with its own log of jobs."""
        limits = [f"-j{job.cores}"]
        if self._memfree:
            limits = [f"-j{8 * job.cores}", "--memfree", str(max(1, available_bytes() - FREE_BYTES))]
        words = ["--will-cite", *limits, "--joblog", str(job.work / "jobs"), "-a", str(job.list_file())]
        return ["parallel", *words, *job.suite.file_command, "{}"]

    def verdict(self, job: Job) -> Verdict:
        """Add up what all files printed; times and exit statuses stand in the log of jobs."""
        lines = [line.split("\t") for line in (job.work / "jobs").read_text().splitlines()[1:]]
        failed = [line[8].split()[-1] for line in lines if (line[6], line[7]) != ("0", "0")]
        return Verdict(
            total=_sum(job),
            bad_files=tuple(failed),
            longest_s=max((float(line[3]) for line in lines), default=None),
        )


def _count(job: Job, text: str) -> Counts:
    if job.suite.kind is Kind.PYTEST:
        return of_pytest(dict(pytest_counts(text)))
    return of_unittest(dict(unittest_counts(text)))


def _sum(job: Job) -> Counts:
    text = job.read_log()
    return pytest_sum(text) if job.suite.kind is Kind.PYTEST else unittest_sum(text)


FILE_RUNNERS: Sequence[Runner] = (
    Bash("unlimited", UNLIMITED, with_coverage=False),
    Bash("coverage-append", APPENDING, with_coverage=True),
    Xargs("xargs"),
    Parallel("parallel", memfree=False),
    Parallel("parallel-memfree", memfree=True),
)
