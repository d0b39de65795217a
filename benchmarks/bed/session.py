"""Runs the pairs of suites and runners in interleaved rounds, and keeps every run as soon as it has ended."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bed.model import BedRun, BedSuite, Counts, Ledger, NotMeasured, Verdict
from benchmarks.bed.runner import Job, Runner
from benchmarks.bed.store import with_not_measured, with_run, write_ledger
from benchmarks.bed.summary import OURS
from benchmarks.bed.verdicts import differences, reference_run
from benchmarks.environments import fingerprint
from benchmarks.measure import Measured, measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a session is to do.

    Args:
        suites: in their order.
        runners: in their order.
        rounds: how often each pair is measured.
        time_limit_s: seconds after which no further round starts; None: no limit.
        run_limit_s: seconds after which a single run is killed, and counts as none.
        warm_ups: runs of each pair that are not measured, before its first one ever.
        warms_peers: whether peers get these too, which remember nothing: only their first run of a suite
            finds no bytecode, unless ours ran before.
        resumes: whether runs of the same rounds that the results hold already are not repeated.
        memory_limit_bytes: hard limit of each run's cgroup; None: none.
        cache: where state is kept between sessions.
        output: the file of results; None: none.
    """

    suites: tuple[BedSuite, ...]
    runners: tuple[Runner, ...]
    rounds: int
    time_limit_s: float | None
    run_limit_s: float
    warm_ups: int
    warms_peers: bool = True
    resumes: bool = False
    memory_limit_bytes: int | None
    cache: Path
    output: Path | None


def run_session(plan: Plan, ledger: Ledger) -> Ledger:
    """Measure what a plan says and return the results, those of earlier sessions included."""
    started_s = time.monotonic()
    pairs, ledger = _pairs(plan, ledger)
    write_ledger(plan.output, ledger)
    first = 1 if plan.resumes else 1 + max((run.round for run in ledger.runs), default=0)
    rounds = range(first, first + plan.rounds)
    done = {(run.suite, run.runner, run.round) for run in ledger.runs}
    for suite, runner in pairs:
        is_done = all((suite.name, runner.name, number) in done for number in rounds)
        if not is_done and (plan.warms_peers or runner.name.startswith(OURS)):
            _warm_up(plan, suite, runner, ledger.machine.cores)
    for number in rounds:
        for suite, runner in pairs:
            if (suite.name, runner.name, number) in done:
                continue
            run = _run(plan, suite, runner, number, ledger.machine.cores)
            ledger = with_run(ledger, run)
            write_ledger(plan.output, ledger)
            _tell(run, ledger.runs)
        spent_s = time.monotonic() - started_s
        print(f"round {number} done, {spent_s:.0f} s since the start", flush=True)
        if plan.time_limit_s is not None and spent_s > plan.time_limit_s:
            print(f"the time limit of {plan.time_limit_s:.0f} s is over", flush=True)
            break
    return ledger


def _pairs(plan: Plan, ledger: Ledger) -> tuple[list[tuple[BedSuite, Runner]], Ledger]:
    """Return the pairs that can be run, and results that say why the others can't."""
    pairs: list[tuple[BedSuite, Runner]] = []
    for suite in plan.suites:
        for runner in plan.runners:
            reason = runner.why_not(suite.definition)
            if reason:
                left_out = NotMeasured(suite=suite.name, runner=runner.name, reason=reason)
                ledger = with_not_measured(ledger, left_out)
            else:
                pairs.append((suite, runner))
    return pairs, ledger


def _warm_up(plan: Plan, suite: BedSuite, runner: Runner, cores: int) -> None:
    """Run a pair for its bytecode, its caches and its history, unless an earlier session did."""
    mark = _state(plan, suite, runner) / "warm"
    done = int(mark.read_text()) if mark.exists() else 0
    for number in range(done, plan.warm_ups):
        print(f"warm-up: {suite.name}, {runner.name}", flush=True)
        _measure(plan, suite, runner, cores)
        mark.write_text(str(number + 1))


def _state(plan: Plan, suite: BedSuite, runner: Runner) -> Path:
    """Return the directory of a pair; another one when its files or its interpreter are others."""
    made_from = fingerprint(str(suite.interpreter), *suite.files)
    folder = plan.cache / "state" / f"{suite.name}-{made_from}" / runner.name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _measure(plan: Plan, suite: BedSuite, runner: Runner, cores: int) -> tuple[Measured, Verdict]:
    work = plan.cache / "work" / "bed" / f"{suite.name}-{runner.name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    job = Job(suite=suite, work=work, state=_state(plan, suite, runner), cores=cores)
    measured = measure(
        runner.command(job),
        cwd=suite.root,
        environment={**job.environment(), **runner.variables(job)},
        output=job.log,
        limit_bytes=plan.memory_limit_bytes,
        timeout_s=plan.run_limit_s,
    )
    if measured.timed_out:
        verdict = Verdict(total=Counts(), problem=f"killed after {plan.run_limit_s:g} s")
    else:
        verdict = _verdict(runner, job)
    runner.clean_up(job)
    return measured, verdict


def _verdict(runner: Runner, job: Job) -> Verdict:
    """Return a runner's outcome; what it did not leave behind is a problem of this run alone."""
    try:
        return runner.verdict(job)
    except (OSError, ValueError, LookupError) as error:
        return Verdict(total=Counts(), problem=f"its outcome cannot be read: {type(error).__name__}: {error}")


def _run(plan: Plan, suite: BedSuite, runner: Runner, number: int, cores: int) -> BedRun:
    load = os.getloadavg()[0]
    measured, verdict = _measure(plan, suite, runner, cores)
    return BedRun(
        suite=suite.name,
        runner=runner.name,
        round=number,
        at=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        files=len(suite.files),
        isolates=runner.isolates,
        wall_s=round(measured.wall_s, 4),
        cpu_s=round(measured.cpu_s, 4),
        peak_bytes=measured.peak_bytes,
        processes=measured.peak_processes,
        exit_code=measured.exit_code,
        load=round(load, 2),
        oom_kills=measured.oom_kills,
        survivors=measured.survivors,
        memory_source=measured.memory_source,
        verdict=verdict,
    )


def _tell(run: BedRun, runs: Sequence[BedRun]) -> None:
    """Print one run, and at once in what it differs: its ratio is not to be believed then."""
    total = run.verdict.total
    words = f"{run.wall_s:.2f} s, {run.cpu_s:.2f} CPU s, {run.peak_bytes / 1e6:,.0f} MB, {total}"
    print(f"{run.suite}, {run.runner}, round {run.round}: {words}", flush=True)
    reference = reference_run([other for other in runs if other.suite == run.suite])
    for difference in () if reference is None else differences(run, reference):
        print(f"    DIFFERENT: {difference[:300]}", flush=True)
