"""Builders of runs for the tests of the bed's pure parts."""

from __future__ import annotations

from benchmarks.bed.model import BedRun, Counts, FileCounts, Ledger, Machine, NotMeasured, Verdict

MACHINE = Machine(cores=2, memory_bytes=8_000_000_000, kernel="6.1", python="3.11.7")


def verdict(
    ran: int = 3,
    *,
    failed: int = 0,
    by_file: dict[str, int] | None = None,
    bad_files: tuple[str, ...] | None = None,
    covered_lines: int | None = None,
    longest_s: float | None = None,
    files_cpu_s: float | None = None,
    problem: str = "",
) -> Verdict:
    """Return an outcome; `by_file` has the tests that ran in each file."""
    return Verdict(
        total=Counts(ran=ran, failed=failed),
        by_file=tuple(
            FileCounts(path=path, counts=Counts(ran=count)) for path, count in (by_file or {}).items()
        ),
        bad_files=bad_files,
        covered_lines=covered_lines,
        longest_s=longest_s,
        files_cpu_s=files_cpu_s,
        problem=problem,
    )


def a_run(
    runner: str,
    outcome: Verdict | None = None,
    *,
    suite: str = "small",
    round: int = 1,
    wall_s: float = 1.0,
    cpu_s: float = 1.0,
    files: int = 2,
    peak_bytes: int = 50_000_000,
    isolates: bool = True,
    survivors: int = 0,
    oom_kills: int | None = 0,
) -> BedRun:
    """Return a run that took what is said, and ran three tests if nothing else is said."""
    return BedRun(
        suite=suite,
        runner=runner,
        round=round,
        at="2026-11-25T12:00:00+00:00",
        files=files,
        isolates=isolates,
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_bytes=peak_bytes,
        processes=3,
        exit_code=0,
        load=0.1,
        oom_kills=oom_kills,
        survivors=survivors,
        memory_source="memory cgroup v1",
        verdict=outcome or verdict(),
    )


def a_ledger(*runs: BedRun, not_measured: tuple[NotMeasured, ...] = ()) -> Ledger:
    """Return results with these runs."""
    return Ledger(machine=MACHINE, runs=runs, not_measured=not_measured)
