"""The totals of a run: counts, success rate, slowest and biggest files. Pure.

The console and other reporters print them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct

from dispatcher.model.results import FileAttempts, TestResults
from passmuster.model.status import Isolation, Outcome, Status


class Summary(Struct, frozen=True, kw_only=True):
    """The totals of a run. All but `cases` count files.

    Args:
        total: planned files that contain tests; always the sum of the next three.
        failed: files that did not pass.
        not_run: files that did not finish because the run was stopped.
        without_tests: files that contain no tests; not part of `total`.
        flaky: files that passed and failed in this run without a known cause, whatever their verdict.
        forked: files whose attempt that counts was forked.
        cached: files that passed without running, because an earlier pass still counts.
        cases: the number of tests inside the files by outcome, without zeros.
        statuses: the number of files by status, without zeros.
    """

    total: int
    passed: int
    failed: int
    not_run: int
    without_tests: int
    flaky: int
    forked: int
    cached: int
    cases: tuple[tuple[Outcome, int], ...]
    statuses: tuple[tuple[Status, int], ...]

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
        cached=sum(record.final.is_cached for record in results.records),
        cases=tuple((outcome, outcomes[outcome]) for outcome in Outcome if outcomes[outcome]),
        statuses=tuple((status, statuses[status]) for status in Status if statuses[status]),
    )


def by_path(records: Iterable[FileAttempts]) -> list[FileAttempts]:
    """Return the files sorted by path."""
    return sorted(records, key=lambda record: record.file.path)


def slowest(results: TestResults, count: int) -> list[FileAttempts]:
    """Return the `count` files whose verdict took longest, the longest first."""
    return _largest(results, count, lambda record: record.final.duration)


def biggest(results: TestResults, count: int) -> list[FileAttempts]:
    """Return the `count` files whose verdict used most memory, the biggest first."""
    return _largest(results, count, lambda record: record.final.peak_bytes or 0)


def _largest(
    results: TestResults, count: int, measure: Callable[[FileAttempts], float]
) -> list[FileAttempts]:
    measured = by_path(record for record in results.records if measure(record) > 0)
    return sorted(measured, key=measure, reverse=True)[:count]
