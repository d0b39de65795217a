"""Holds outcomes against each other: nothing that a runner saves counts if it ran something else. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.bed.model import BedRun, Counts, Verdict


def reference_run(runs: Sequence[BedRun]) -> BedRun | None:
    """Return the run of one suite that the others are held against; None: none has an outcome.

    It is the first in which nothing failed, since a runner that crowds loses tests, and the others would be
    blamed for having them; where every run has failures, the first.
    """
    told = [run for run in runs if not run.verdict.problem and run.verdict.total.ran]
    clean = (run for run in told if not (run.verdict.total.failed or run.verdict.total.errors))
    return next((run for run in clean if not run.verdict.bad_files), next(iter(told), None))


def differences(run: BedRun, reference: BedRun) -> tuple[str, ...]:
    """Return in what the outcome of a run is not that of the reference; nothing: they are the same."""
    found: list[str] = []
    mine, wanted = run.verdict, reference.verdict
    if mine.problem:
        return (mine.problem,)
    if run.files != reference.files:
        found.append(f"{run.files} files, {reference.runner} had {reference.files}")
    if mine.by_file and wanted.by_file:
        found += _by_file(mine, wanted)
    elif not _is_same(mine.total, wanted.total):
        found.append(f"{mine.total}; {reference.runner}: {wanted.total}")
    if mine.bad_files is not None and wanted.bad_files is not None:
        found += [f"{path} did not end well" for path in sorted(set(mine.bad_files) - set(wanted.bad_files))]
        found += [f"{path} ended well" for path in sorted(set(wanted.bad_files) - set(mine.bad_files))]
    if mine.covered_lines != wanted.covered_lines:
        found.append(f"{mine.covered_lines} lines covered, by {reference.runner} {wanted.covered_lines}")
    if run.oom_kills:
        found.append(f"{run.oom_kills} processes were killed for want of memory")
    if run.survivors:
        found.append(f"{run.survivors} processes outlived it")
    return tuple(found)


def _by_file(mine: Verdict, wanted: Verdict) -> list[str]:
    have = {entry.path: entry.counts for entry in mine.by_file}
    want = {entry.path: entry.counts for entry in wanted.by_file}
    return [
        f"{path}: {have.get(path, 'nothing')}; wanted {want.get(path, 'nothing')}"
        for path in sorted(have.keys() | want.keys())
        if have.get(path) != want.get(path)
    ]


def _is_same(mine: Counts, wanted: Counts) -> bool:
    """Return whether two totals say the same; some runners do not tell failures from errors."""
    if mine == wanted:
        return True
    broken = (mine.failed + mine.errors, wanted.failed + wanted.errors)
    return broken[0] == broken[1] and (mine.ran, mine.skipped) == (wanted.ran, wanted.skipped)
