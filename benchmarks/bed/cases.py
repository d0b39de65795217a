"""Compares the outcome of each case of a suite: of plain pytest, and of ours without and with history."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.bed.model import BedSuite, Kind
from benchmarks.bed.our_runners import REMEMBERED
from benchmarks.bed.runner import Job
from benchmarks.measure import measure
from benchmarks.ours import our_command, read_record
from benchmarks.public.compare import Case, Cause, Difference, Outcomes, collect_outcomes, differences
from benchmarks.public.place import PYTEST_RECORDER, RECORDERS
from benchmarks.public.runs import our_outcomes, recorded_outcomes

LONGEST_S = 1800.0
"""Seconds after which a run is killed; its cases are those until then."""

LONGEST_ID = 2000
"""Characters of a case's ID that ours reports; some of pydantic's are longer."""

ALONE_RUNS = 2
"""How often a file is run alone, where that is asked at all."""


def has_equal_cases(suite: BedSuite, cache: Path) -> bool:
    """Compare and print; return whether every difference is explained.

    A case in which two plain runs differ, or which has our outcome when its file runs alone, is explained.
    """
    if suite.kind is not Kind.PYTEST:
        print(f"{suite.name}: not pytest's, not compared")
        return True
    work = cache / "work" / "cases" / suite.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    job = Job(suite=suite, work=work, state=work, cores=0)
    plain = _plain_outcomes(job, "plain", suite.files)
    is_equal = True
    for run in ("first", "later"):
        ours = _our_outcomes(job, run)
        found = differences(
            plain,
            ours,
            explained=(),
            again=partial(_plain_outcomes, job, "again", suite.files),
            alone=partial(_alone_outcomes, job),
        )
        is_equal = _tell(suite, run, plain, found) and is_equal
    shutil.rmtree(suite.root / REMEMBERED, ignore_errors=True)
    return is_equal


def _tell(suite: BedSuite, run: str, plain: Outcomes, found: Sequence[Difference]) -> bool:
    causes = Counter(difference.cause.value for difference in found)
    words = ", ".join(f"{count} {cause}" for cause, count in sorted(causes.items())) or "none"
    print(f"{suite.name}, {run} run: {sum(map(len, plain.values())):,} cases; differences: {words}")
    for difference in found:
        if difference.cause is Cause.UNEXPLAINED:
            print(f"    {difference}", flush=True)
    return bool(plain) and not causes[Cause.UNEXPLAINED.value]


def _alone_outcomes(job: Job, file: str) -> list[Outcomes]:
    return [_plain_outcomes(job, f"alone-{number}", [file]) for number in range(ALONE_RUNS)]


def _plain_outcomes(job: Job, name: str, files: Sequence[str]) -> Outcomes:
    record = job.work / f"{name}.jsonl"
    record.unlink(missing_ok=True)
    options = ["-p", "no:xdist", "-p", PYTEST_RECORDER]
    measure(
        [str(job.suite.interpreter), "-m", "pytest", *options, *files],
        cwd=job.suite.root,
        environment={**job.environment(), "PYTHONPATH": str(RECORDERS), "BENCHMARK_RECORD": str(record)},
        output=job.work / f"{name}.log",
        timeout_s=LONGEST_S,
        with_memory=False,
    )
    found = recorded_outcomes(record, job.suite.root)
    return collect_outcomes((_cut(case), outcome) for case, outcomes in found.items() for outcome in outcomes)


def _cut(case: Case) -> Case:
    """Return a case with as much of its ID as ours reports."""
    return Case(case.file, str(case)[:LONGEST_ID].partition("::")[2])


def _our_outcomes(job: Job, run: str) -> Outcomes:
    suite = job.suite
    if run == "first":
        shutil.rmtree(suite.root / REMEMBERED, ignore_errors=True)
    events = job.work / f"{run}.events.jsonl"
    measure(
        our_command(
            suite.root,
            interpreter=suite.interpreter,
            events=events,
            options=["--strict-args", "--runner", suite.kind.value],
            paths=suite.files,
        ),
        cwd=suite.root,
        environment=job.environment(),
        output=job.work / f"{run}.log",
        timeout_s=LONGEST_S,
        with_memory=False,
    )
    return our_outcomes(read_record(events).final) if events.exists() else {}
