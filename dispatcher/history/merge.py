"""Computes how one more attempt changes the history of a file. Arithmetic only.

`dispatcher.history.history` stores the result.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.history.file_history import EarlierRun, FileHistory, ForkObservation
from dispatcher.history.test_times import measured_tests, write_tests
from dispatcher.model.file_parts import count_skipped
from dispatcher.model.plan import TestFile
from dispatcher.model.results import Finding, names_of_tests
from dispatcher.model.usage_stats import UsageStats
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

MAX_FAILING_TESTS = 200
"""With more failing tests, a file is remembered as failing as a whole."""

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
    """One finished attempt, for the history."""

    file: TestFile
    run_id: str
    result: TestResult
    finding: Finding | None = None
    """Derived from all attempts of the run at the file, and given with the last of them; None: no finding."""
    verdict: Status | None = None
    """The verdict of the file if an earlier attempt decided it; None: that of this attempt."""

    @property
    def is_forked(self) -> bool:
        """Whether it was forked."""
        return self.result.isolation is Isolation.FORK

    @property
    def is_of_some_tests(self) -> bool:
        """Whether only some of its tests ran: the user selected them, or other shards run the others."""
        return not self.file.selection.is_whole_file or self.result.is_partial

    @property
    def failing_tests(self) -> tuple[str, ...]:
        """The tests that failed; empty: none, too many, or something else failed."""
        failing = names_of_tests(self.result, is_bad=True)
        return failing if len(failing) <= MAX_FAILING_TESTS else ()


def _merge_selected(old: FileHistory | None, attempt: AttemptSample) -> FileHistory | None:
    """Return the history of a file after an attempt at some of its tests: only which tests fail changes."""
    status, failed = attempt.result.status, attempt.failing_tests
    if old is None or status.is_cancelled or status.is_infrastructure:
        return old
    if status.is_failure and not failed:
        return replace(old, last_status=status, failing_tests=())
    passed = frozenset(names_of_tests(attempt.result, is_bad=False))
    still = (test for test in old.failing_tests if test not in passed)
    failing = tuple(dict.fromkeys((*still, *failed)))[:MAX_FAILING_TESTS]
    if failing:
        return replace(old, last_status=Status.FAIL, failing_tests=failing)
    return replace(old, last_status=Status.PASS, failing_tests=()) if old.failing_tests else old


def merge_attempt(old: FileHistory | None, attempt: AttemptSample) -> FileHistory | None:
    """Return the history of a file after `attempt`; None: still nothing.

    An evicted attempt says nothing about time and gives no verdict; its peak is a lower bound. Of an attempt
    that failed through no fault of the file, only the verdict is kept. One that exceeded a limit gives lower
    bounds of time and memory. Any other is averaged in. The values of forked and of spawned attempts are kept
    apart.

    A file that passed when forked is verified when it passes a spawned attempt, also one of a later run. The
    findings about forking and about parallel runs are discarded when the file changes.
    """
    if attempt.is_of_some_tests:
        return _merge_selected(old, attempt)
    result = attempt.result
    size_bytes, mtime_ns = attempt.file.size_bytes, attempt.file.mtime_ns
    known = old or FileHistory(
        path=attempt.file.path, last_status=Status.CANCELLED, size_bytes=size_bytes, mtime_ns=mtime_ns
    )
    if result.is_evicted or result.status.is_cancelled:
        if result.peak_bytes is not None and (old is not None or result.is_evicted):
            usage = _usage(known, attempt)
            peak_bytes = max(usage.peak_bytes or 0, result.peak_bytes)
            known = _with_usage(known, attempt, replace(usage, peak_bytes=peak_bytes))
        elif old is None:
            return None
        return _with_finding(
            replace(known, last_status=attempt.verdict or known.last_status), attempt.finding
        )
    if not known.is_of(attempt.file):
        known = replace(known, forking=ForkObservation.UNKNOWN, fails_in_parallel=False)
    if known.forking is ForkObservation.UNVERIFIED:
        known = replace(known, forking=_verify(attempt))
    if not result.status.is_infrastructure:
        known = _with_usage(known, attempt, _measure(_usage(known, attempt), result))
    known = replace(
        known,
        last_status=result.status,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        outcomes=_append_outcome(known, attempt),
        measurements=_append_measurement(known, attempt),
        last_run_id=attempt.run_id,
        failing_tests=attempt.failing_tests,
        test_times=_test_times(result) if result.status.is_pass else known.test_times,
        is_indivisible=known.is_indivisible and known.size_bytes == size_bytes,
    )
    return _with_finding(known, attempt.finding)


def _test_times(result: TestResult) -> str:
    return write_tests(measured_tests(result), skipped=count_skipped([result]))


def _verify(attempt: AttemptSample) -> ForkObservation:
    """Return what is known about forking a file that passed when forked, after a further attempt."""
    if attempt.result.status.is_pass:
        return ForkObservation.UNVERIFIED if attempt.is_forked else ForkObservation.CONFIRMED
    return ForkObservation.UNKNOWN


def _with_finding(file: FileHistory, finding: Finding | None) -> FileHistory:
    if finding is None:
        return file
    if finding is Finding.FAILS_IN_PARALLEL:
        return replace(file, fails_in_parallel=True)
    if finding in (Finding.FAILS_IN_PARTS, Finding.INDIVISIBLE):
        return replace(file, is_indivisible=True)
    if finding.must_spawn:
        return replace(file, forking=ForkObservation.HARMFUL)
    if finding is Finding.UNVERIFIED and file.forking is ForkObservation.UNKNOWN:
        return replace(file, forking=ForkObservation.UNVERIFIED)
    return replace(file, forking=ForkObservation.CONFIRMED) if finding is Finding.VERIFIED else file


def _usage(file: FileHistory, attempt: AttemptSample) -> UsageStats:
    """Return the known values for the attempt's start method."""
    return (file.forked or UsageStats()) if attempt.is_forked else file.spawned


def _with_usage(file: FileHistory, attempt: AttemptSample, usage: UsageStats) -> FileHistory:
    return replace(file, forked=usage) if attempt.is_forked else replace(file, spawned=usage)


def read_outcomes(outcomes: str) -> tuple[tuple[Status, ...], ...]:
    """Return the outcomes of the remembered runs, oldest first, each with all its attempts."""
    runs = (tuple(_STATUSES[letter] for letter in run if letter in _STATUSES) for run in outcomes.split("|"))
    return tuple(run for run in runs if run)


def is_unsteady(file: FileHistory) -> bool:
    """Whether some attempt in the remembered runs did not pass; much faster than reading the runs."""
    return bool(file.outcomes.strip(f"{_LETTERS[Status.PASS]}{_RUN_SEPARATOR}"))


def read_earlier_runs(file: FileHistory) -> tuple[EarlierRun, ...]:
    """Return the remembered runs of a file, oldest first."""
    outcomes = read_outcomes(file.outcomes)
    texts = file.measurements.split(_RUN_SEPARATOR)[-len(outcomes) or None :] if file.measurements else []
    texts = [""] * (len(outcomes) - len(texts)) + texts
    return tuple(map(_earlier_run, outcomes, texts))


def _earlier_run(statuses: tuple[Status, ...], text: str) -> EarlierRun:
    seconds, _, peak = text.partition(",")
    return EarlierRun(
        statuses=statuses,
        duration_s=float(seconds) if seconds.replace(".", "", 1).isdecimal() else None,
        peak_bytes=int(peak) if peak.isdecimal() else None,
    )


def _measure(known: UsageStats, result: TestResult) -> UsageStats:
    """Return `known` with the time and memory of an attempt merged in."""
    seconds, used_s = max(result.duration, 0.0), result.cpu_s
    broke_limit = result.status in (Status.TIMEOUT, Status.MEMORY)
    if broke_limit:
        duration_s = max(known.duration_s, seconds)
        cpu_s = max(known.cpu_s or 0.0, used_s or 0.0) or None
    elif known.runs == 0:
        duration_s, cpu_s = seconds, used_s
    else:
        duration_s = _blend(known.duration_s, seconds)
        cpu_s = known.cpu_s if used_s is None else used_s
        if known.cpu_s is not None and used_s is not None:
            cpu_s = _blend(known.cpu_s, used_s)
    # A part needs at most what the whole file needs.
    is_lower_bound = broke_limit or bool(result.parts)
    peak_bytes = _highest(known.peak_bytes, result.peak_bytes, is_lower_bound=is_lower_bound)
    return UsageStats(
        duration_s=duration_s,
        cpu_s=cpu_s,
        peak_bytes=None if peak_bytes is None else int(peak_bytes),
        runs=known.runs + 1,
        max_s=_highest(known.max_s, seconds, is_lower_bound=broke_limit) or 0.0,
        max_cpu_s=_highest(known.max_cpu_s, used_s, is_lower_bound=broke_limit),
    )


def _highest(old: float | None, new: float | None, *, is_lower_bound: bool) -> float | None:
    if old is None or new is None:
        return old if new is None else new
    if is_lower_bound or new >= old:
        return max(old, new)
    return new + (old - new) * (1 - PEAK_DECAY)


def _blend(old_s: float, new_s: float) -> float:
    return old_s + (new_s - old_s) * NEWEST_SHARE


def _append_outcome(known: FileHistory, attempt: AttemptSample) -> str:
    runs = known.outcomes.split(_RUN_SEPARATOR) if known.outcomes else []
    if known.last_run_id == attempt.run_id and runs:
        runs[-1] = (runs[-1] + _LETTERS[attempt.result.status])[-_ATTEMPTS_KEPT:]
    else:
        runs.append(_LETTERS[attempt.result.status])
    return _RUN_SEPARATOR.join(runs[-OUTCOME_RUNS:])


def _append_measurement(known: FileHistory, attempt: AttemptSample) -> str:
    runs = known.measurements.split(_RUN_SEPARATOR) if known.measurements else []
    if known.last_run_id == attempt.run_id and runs:
        return known.measurements
    result = attempt.result
    peak = "" if result.peak_bytes is None else result.peak_bytes
    runs.append("" if result.status.is_infrastructure else f"{max(result.duration, 0.0):.3f},{peak}")
    return _RUN_SEPARATOR.join(runs[-OUTCOME_RUNS:])
