"""Computes how one more attempt changes the history of a file. Arithmetic only.

`dispatcher.history.history` stores the rows; `dispatcher.planning.order` reads them as `FileHistory`.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.history.file_history import FileHistory, ForkObservation, UsageStats
from dispatcher.model.plan import TestFile
from dispatcher.model.results import Finding
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status

NEWEST_SHARE = 0.5
"""The weight of the newest attempt in an averaged duration: two runs suffice to follow a changed test."""

PEAK_DECAY = 0.25
"""The share by which an old peak, or highest time, decays toward a lower new one in each run: an outlier of
ten times the usual value is down to twice of it after eight runs, yet survives the next few.
"""

OUTCOME_RUNS = 20
"""How many runs' outcomes are kept for each file."""

_ATTEMPTS_KEPT = 4
_RUN_SEPARATOR = "|"
_LETTERS = {
    Status.PASS: "P",
    Status.FAIL: "F",
    Status.TIMEOUT: "T",
    Status.MEMORY: "M",
    Status.CRASH: "C",
    Status.NO_TESTS: "N",
    Status.COLLECT_ERROR: "E",
    Status.START_ERROR: "S",
    Status.LOST: "L",
}
_STATUSES = {letter: status for status, letter in _LETTERS.items()}


class AttemptSample(Struct, frozen=True, kw_only=True):
    """One finished attempt, reduced to what the history needs.

    `finding` is what all attempts of the run at the file say together, given with the last of them; None:
    nothing. `verdict` is the file's verdict if an earlier attempt decided it; None: this attempt's status is
    the verdict.
    """

    file: TestFile
    run_id: str
    status: Status
    is_evicted: bool
    duration_s: float
    cpu_s: float | None
    peak_bytes: int | None
    is_forked: bool = False
    finding: Finding | None = None
    verdict: Status | None = None

    @classmethod
    def of(
        cls, file: TestFile, result: TestResult, *, run_id: str, finding: Finding | None = None
    ) -> AttemptSample:
        """Reduce a result; its output and test cases are not kept."""
        return cls(
            file=file,
            run_id=run_id,
            status=result.status,
            is_evicted=result.is_evicted,
            duration_s=max(result.duration, 0.0),
            cpu_s=result.cpu_s,
            peak_bytes=result.peak_bytes,
            is_forked=result.isolation is Isolation.FORK,
            finding=finding,
        )


class HistoryRow(Struct, frozen=True, kw_only=True):
    """One row of the history.

    Args:
        outcomes: a letter for each attempt, runs separated by a bar, oldest first (`P|FP|P`).
        last_run_id: the run of the last group of `outcomes`.
    """

    file: FileHistory
    outcomes: str = ""
    last_run_id: str = ""


def merge_attempt(old: HistoryRow | None, attempt: AttemptSample) -> HistoryRow | None:
    """Return the history of a file after `attempt`; None: still nothing.

    An evicted attempt says nothing about time and gives no verdict; its peak is a lower bound. An attempt
    that was not fair only leaves its verdict. One that exceeded a limit gives lower bounds of time and
    memory. Any other is averaged in. The values of forked and of spawned attempts are kept apart.

    The findings about forking and about parallel runs are discarded when the file changes.
    """
    if attempt.is_evicted or attempt.status.is_cancelled:
        row = _raise_peak(old, attempt)
        if row is None:
            return None
        last_status = row.file.last_status if attempt.verdict is None else attempt.verdict
        return replace(row, file=_with_finding(replace(row.file, last_status=last_status), attempt.finding))
    base = old.file if old is not None else _unknown(attempt)
    if not base.is_of(attempt.file):
        base = replace(base, forking=ForkObservation.UNKNOWN, fails_in_parallel=False)
    file = replace(
        base,
        last_status=attempt.status,
        size_bytes=attempt.file.size_bytes,
        mtime_ns=attempt.file.mtime_ns,
    )
    if not attempt.status.is_infrastructure:
        file = _with_figures(file, attempt, _measure(_figures(file, attempt), attempt))
    same_run = old is not None and old.last_run_id == attempt.run_id
    outcomes = old.outcomes if old is not None else ""
    return HistoryRow(
        file=_with_finding(file, attempt.finding),
        outcomes=_append_outcome(outcomes, attempt.status, same_run=same_run),
        last_run_id=attempt.run_id,
    )


def _with_finding(file: FileHistory, finding: Finding | None) -> FileHistory:
    if finding is None:
        return file
    if finding is Finding.FAILS_IN_PARALLEL:
        return replace(file, fails_in_parallel=True)
    if finding.must_spawn:
        return replace(file, forking=ForkObservation.HARMFUL)
    return replace(file, forking=ForkObservation.CONFIRMED) if finding is Finding.VERIFIED else file


def _figures(file: FileHistory, attempt: AttemptSample) -> UsageStats:
    """Return the known values for the attempt's start method."""
    return (file.forked or UsageStats()) if attempt.is_forked else file.spawned


def _with_figures(file: FileHistory, attempt: AttemptSample, figures: UsageStats) -> FileHistory:
    return replace(file, forked=figures) if attempt.is_forked else file.with_spawned(figures)


def read_outcomes(outcomes: str) -> tuple[tuple[Status, ...], ...]:
    """Return the outcomes of the remembered runs, oldest first, each with all its attempts."""
    runs = (tuple(_STATUSES[letter] for letter in run if letter in _STATUSES) for run in outcomes.split("|"))
    return tuple(run for run in runs if run)


def _unknown(attempt: AttemptSample) -> FileHistory:
    return FileHistory(
        path=attempt.file.path,
        duration_s=0.0,
        last_status=Status.CANCELLED,
        size_bytes=attempt.file.size_bytes,
        mtime_ns=attempt.file.mtime_ns,
        runs=0,
    )


def _raise_peak(old: HistoryRow | None, attempt: AttemptSample) -> HistoryRow | None:
    if attempt.peak_bytes is None or (old is None and not attempt.is_evicted):
        return old
    known = old if old is not None else HistoryRow(file=_unknown(attempt))
    figures = _figures(known.file, attempt)
    figures = replace(figures, peak_bytes=max(figures.peak_bytes or 0, attempt.peak_bytes))
    return replace(known, file=_with_figures(known.file, attempt, figures))


def _measure(known: UsageStats, attempt: AttemptSample) -> UsageStats:
    """Return `known` with the attempt's time and memory merged in."""
    broke_limit = attempt.status in (Status.TIMEOUT, Status.MEMORY)
    if broke_limit:
        duration_s = max(known.duration_s, attempt.duration_s)
        cpu_s = max(known.cpu_s or 0.0, attempt.cpu_s or 0.0) or None
    elif known.runs == 0:
        duration_s, cpu_s = attempt.duration_s, attempt.cpu_s
    else:
        duration_s = _blend(known.duration_s, attempt.duration_s)
        cpu_s = _blend_known(known.cpu_s, attempt.cpu_s)
    return UsageStats(
        duration_s=duration_s,
        cpu_s=cpu_s,
        peak_bytes=_peak(known.peak_bytes, attempt.peak_bytes, is_lower_bound=broke_limit),
        runs=known.runs + 1,
        max_s=_most(known.max_s, attempt.duration_s, is_lower_bound=broke_limit) or 0.0,
        max_cpu_s=_most(known.max_cpu_s, attempt.cpu_s, is_lower_bound=broke_limit),
    )


def _peak(old_bytes: int | None, new_bytes: int | None, *, is_lower_bound: bool) -> int | None:
    most_bytes = _most(old_bytes, new_bytes, is_lower_bound=is_lower_bound)
    return None if most_bytes is None else int(most_bytes)


def _most(old: float | None, new: float | None, *, is_lower_bound: bool) -> float | None:
    if old is None or new is None:
        return old if new is None else new
    if is_lower_bound or new >= old:
        return max(old, new)
    return new + (old - new) * (1 - PEAK_DECAY)


def _blend(old_s: float, new_s: float) -> float:
    return old_s + (new_s - old_s) * NEWEST_SHARE


def _blend_known(old_s: float | None, new_s: float | None) -> float | None:
    if old_s is None or new_s is None:
        return old_s if new_s is None else new_s
    return _blend(old_s, new_s)


def _append_outcome(outcomes: str, status: Status, *, same_run: bool) -> str:
    runs = outcomes.split(_RUN_SEPARATOR) if outcomes else []
    if same_run and runs:
        runs[-1] = (runs[-1] + _LETTERS[status])[-_ATTEMPTS_KEPT:]
    else:
        runs.append(_LETTERS[status])
    return _RUN_SEPARATOR.join(runs[-OUTCOME_RUNS:])
