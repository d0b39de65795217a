"""The numbers at the end of a run: counts, success rate, slowest and biggest files. Pure.

The console prints them; other reporters may.
"""

from __future__ import annotations

import math
from collections import Counter

from msgspec import Struct

from dispatcher.model.results import FileAttempts, TestResults
from passmuster.model.status import Isolation, Outcome, Status


class Summary(Struct, frozen=True, kw_only=True):
    """What a run came to, in numbers. All but `cases` count files.

    Args:
        total: planned files that hold tests; always the sum of the next three.
        passed: files that passed.
        failed: files that did not pass.
        not_run: files that did not run to their end because the run was stopped.
        without_tests: files that hold no tests; they are not in `total`.
        flaky: files that passed and failed in this run without a known cause, whatever their verdict.
        forked: files of which the attempt that counts was forked.
        cases: how many tests inside the files ended how, without the outcomes that did not occur.
        statuses: how many files ended how, without the statuses that did not occur.
        duration_s: wall-clock seconds of the run.
        peak_bytes: the most memory all files used together; 0: never measured.
    """

    total: int
    passed: int
    failed: int
    not_run: int
    without_tests: int
    flaky: int
    forked: int
    cases: tuple[tuple[Outcome, int], ...]
    statuses: tuple[tuple[Status, int], ...]
    duration_s: float
    peak_bytes: int

    @property
    def success_percent(self) -> float:
        """The share of files that passed, in tenths of a percent, rounded down: 100 means all of them."""
        if not self.total:
            return 100.0
        return math.floor(1000 * self.passed / self.total) / 10


def summarize(results: TestResults) -> Summary:
    """Count the results of a run once."""
    statuses = Counter(record.status for record in results.records if not record.holds_no_tests)
    outcomes = Counter(case.outcome for record in results.records for case in record.final.cases)
    return Summary(
        total=statuses.total(),
        passed=statuses[Status.PASS],
        failed=sum(count for status, count in statuses.items() if status.is_failure),
        not_run=statuses[Status.CANCELLED],
        without_tests=len(results.without_tests),
        flaky=len(results.flaky),
        forked=sum(record.final.isolation is Isolation.FORK for record in results.records),
        cases=tuple((outcome, outcomes[outcome]) for outcome in Outcome if outcomes[outcome]),
        statuses=tuple((status, statuses[status]) for status in Status if statuses[status]),
        duration_s=results.duration_s,
        peak_bytes=results.peak_bytes,
    )


def slowest(results: TestResults, count: int) -> tuple[FileAttempts, ...]:
    """Return the `count` files whose last attempt took longest, the longest first."""
    ran = [record for record in results.records if record.final.duration > 0]
    return tuple(sorted(ran, key=lambda record: (-record.final.duration, record.file.path))[:count])


def biggest(results: TestResults, count: int) -> tuple[FileAttempts, ...]:
    """Return the `count` files whose last attempt used most memory, the biggest first."""
    measured = [record for record in results.records if record.final.peak_bytes]
    return tuple(
        sorted(measured, key=lambda record: (-(record.final.peak_bytes or 0), record.file.path))[:count]
    )
