"""What several attempts of a file say together."""

from __future__ import annotations

import pytest

from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason


def attempt(status: Status, *, is_evicted: bool = False) -> TestResult:
    reason = StopReason.MEMORY_BUDGET if is_evicted else None
    return TestResult(file_path="a.py", status=status, stop_reason=reason)


@pytest.mark.parametrize(("is_evicted", "is_flaky"), [(True, False), (False, True)])
def test_an_evicted_attempt_says_nothing_of_flakiness(is_evicted: bool, is_flaky: bool) -> None:
    attempts = (attempt(Status.PASS, is_evicted=is_evicted), attempt(Status.FAIL))
    record = FileAttempts(file=TestFile(path="a.py", label="a.py"), attempts=attempts, reasons=(None, None))

    assert record.is_flaky is is_flaky
