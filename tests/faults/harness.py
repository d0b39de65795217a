"""Runs over a queue while things go wrong: `python -m tests.faults.harness --runs 200 --seed 1`.

Each run is drawn from its seed and does the same faults at the same times again. See README.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from tests.faults.one_run import Report, carry_out
from tests.faults.plan import make_plan
from tests.faults.small_disk import can_mount


def main() -> int:
    """Do the runs; return 1 where something was wrong in one."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.harness", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how many; their seeds follow one another")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--jobs", type=int, default=4, help="runs at the same time")
    parser.add_argument("--verbose", action="store_true", help="print what happened in every run")
    found = parser.parse_args()
    began_s = time.monotonic()
    reports: list[Report] = []
    with ProcessPoolExecutor(found.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as executor:
        seeds = range(found.seed, found.seed + found.runs)
        futures = [executor.submit(one_seed, seed) for seed in seeds]
        for future in as_completed(futures):
            report = future.result()
            reports.append(report)
            print(shown(report, is_verbose=found.verbose), flush=True)
    print(summary(reports, seconds=time.monotonic() - began_s))
    return int(any(report.violations for report in reports))


def one_seed(seed: int) -> Report:
    """Do the run of a seed."""
    return carry_out(make_plan(seed))


def shown(report: Report, *, is_verbose: bool = False) -> str:
    """Return a run as text: a line, or all that is known where something is wrong."""
    plan = report.plan
    kinds = " ".join(fault.kind for fault in plan.faults)
    line = f"seed {plan.seed}: {report.duration_s:.1f} s, {report.starts} starts: {kinds}"
    if not report.violations and not is_verbose:
        return f"ok    {line}"
    happened = [f"    {text}" for text in report.log]
    wrong = [f"  WRONG {text}" for text in report.violations]
    kept = [f"  kept in {report.folder}"] if report.folder else []
    word = "WRONG" if report.violations else "ok   "
    return "\n".join(
        [f"{word} {line}", str(plan), "  what happened:", *happened, *wrong, *report.tails, *kept]
    )


def summary(reports: list[Report], *, seconds: float) -> str:
    """Return the figures of all runs."""
    kinds = Counter(fault.kind.value for report in reports for fault in report.plan.faults)
    wrong = sorted(report.plan.seed for report in reports if report.violations)
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    without = "" if can_mount() else "no disk was full, that needs the right to mount; "
    return (
        f"{len(reports)} runs in {seconds:.0f} s, {sum(kinds.values())} faults ({faults}); "
        f"{sum(report.plan.has_poison for report in reports)} with poison, "
        f"{sum(report.plan.runs == 2 for report in reports)} of two at once, "
        f"{sum(report.plan.interrupt_s is not None for report in reports)} ended by Ctrl-C, "
        f"{sum(report.plan.abandon_s is not None for report in reports)} abandoned; {without}"
        f"longest recovery {max((report.recovery_s for report in reports), default=0):.1f} s; "
        f"violations in {len(wrong)} runs{f': seeds {wrong}' if wrong else ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
