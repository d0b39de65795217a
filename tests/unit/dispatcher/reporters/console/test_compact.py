"""The compact report as its readers see it, at 80 and 120 columns."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from dispatcher.config.choices import Verbosity
from dispatcher.model.events import (
    AttemptFinished,
    FileSlow,
    Notice,
    RunEvent,
    RunStopping,
    StopCause,
    VerdictSettled,
)
from dispatcher.model.plan import TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.reporters.console.compact import CompactReporter
from dispatcher.reporters.console.line_reporter import ConsoleContext
from passmuster.model.result import HOLDS_NO_TESTS, CaseResult, TestResult
from passmuster.model.status import Outcome, Status, StopReason
from tests.support.console_events import ended, finished, once, started

MIB = 1024**2


def file(path: str) -> TestFile:
    return TestFile(path=path, label=path)


CART = file("tests/test_cart.py")
LONG = file("services/checkout/tests/integration/payment/providers/test_refunds.py")
SLOW = file("tests/test_slow.py")
FLAKY = file("tests/test_flaky.py")
GOOD = file("tests/test_good.py")

ASSERT_5 = "E       AssertionError: the total\nE       assert 4 == 5\n\ntests/test_cart.py:12: AssertionError"
ASSERT_2 = "E       assert [1, 2, 3] == [1, 2]\n\ntests/test_cart.py:19: AssertionError"


def result(one: TestFile, status: Status, *cases: CaseResult, **values: object) -> TestResult:
    plain = TestResult(file_path=one.path, status=status, cases=cases, duration=1.5, peak_bytes=24 * MIB)
    return replace(plain, **values)


def failed(name: str, message: str) -> CaseResult:
    return CaseResult(case_id=name, outcome=Outcome.FAILED, message=message)


PASSED = CaseResult(case_id="t", outcome=Outcome.PASSED)


def show(
    *events: RunEvent, columns: int = 80, lines: int = 60, verbosity: Verbosity = Verbosity.NORMAL
) -> str:
    out = io.StringIO()
    context = ConsoleContext(
        stream=out,
        warn_stream=out,
        verbosity=verbosity,
        rerun=lambda record: f"run-tests {record.file.label}",
        log=lambda run_id, record: f".passmuster/runs/{run_id}/output/{record.file.path}.log",
        size=lambda: os.terminal_size((columns, lines)),
    )
    reporter = CompactReporter(context)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return out.getvalue()


def a_red_run() -> Sequence[RunEvent]:
    output = "".join(f"line {number}\n" for number in range(1, 13))
    cart = result(
        CART,
        Status.FAIL,
        failed("tests/test_cart.py::test_total", ASSERT_5),
        failed("tests/test_cart.py::Cart::test_items", ASSERT_2),
        PASSED,
        output=output,
    )
    stacks = (
        'Thread 0x1 (most recent call first):\n  File "/usr/lib/python3.11/socket.py", line 706 in readinto\n'
        '  File "/w/tests/test_slow.py", line 7 in test_waits\n'
    )
    slow = result(
        SLOW, Status.TIMEOUT, error="ran longer than its time limit of 2 s", stacks=stacks, duration=62.0
    )
    long = result(LONG, Status.CRASH, error="killed by SIGSEGV", peak_bytes=None, duration=0.04)
    first = result(FLAKY, Status.FAIL, error="exit status 1")
    second = result(FLAKY, Status.PASS, PASSED, attempt=2)
    good = result(GOOD, Status.PASS, PASSED)
    return (
        started(CART, LONG, SLOW, FLAKY, GOOD),
        ended(GOOD, good),
        ended(FLAKY, first, RerunReason.RETRY),
        ended(CART, cart),
        FileSlow(at_s=1.0, file=SLOW, seconds=60.0),
        ended(LONG, long),
        ended(FLAKY, second),
        ended(SLOW, slow),
        finished(
            once(CART, cart), once(LONG, long), once(SLOW, slow), once(FLAKY, first, second), once(GOOD, good)
        ),
    )


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_red_run(columns: int) -> None:
    expected = (GOLDEN / f"compact_{columns}.txt").read_text(encoding="utf-8")
    assert show(*a_red_run(), columns=columns) == expected


def test_a_green_run_is_a_few_lines_and_verbose_adds_a_row_for_each_file() -> None:
    good = result(GOOD, Status.PASS, PASSED)
    empty = result(CART, Status.PASS, note=HOLDS_NO_TESTS)
    events = (
        started(GOOD, CART),
        ended(GOOD, good),
        ended(CART, empty),
        finished(once(GOOD, good), once(CART, empty)),
    )
    end = """\
[INFO] In 12.3s
[INFO] 1 test(s): 1 passed
[PASS] 2 file(s): 1 passed, 1 without tests
"""
    assert show(*events) == "[INFO] 2 file(s), 2 at once, memory budget 4 GiB\n" + end
    verbose = show(*events, verbosity=Verbosity.VERBOSE)
    assert verbose.splitlines()[2:4] == [
        "[PASS] tests/test_good.py                                        1.5s    24 MiB",
        "[PASS] tests/test_cart.py  holds no tests                        1.5s    24 MiB",
    ]
    assert verbose.endswith(end)
    assert show(*events, verbosity=Verbosity.QUIET) == end


def test_the_line_about_a_slow_file_fits_the_terminal() -> None:
    slow = file(LONG.path.replace("payment", "payment/and/many/other/directories"))
    assert show(FileSlow(at_s=1.0, file=slow, seconds=60.0)) == (
        "[WARN] services/…/providers/test_refunds.py: still running after 1m 00s\n"
    )


def test_a_pass_that_did_not_run_is_named_cached() -> None:
    cached = result(GOOD, Status.PASS, is_cached=True)
    lines = show(ended(GOOD, cached), finished(once(GOOD, cached)), verbosity=Verbosity.VERBOSE).splitlines()
    assert lines[0].startswith("[PASS] tests/test_good.py  cached ")
    assert lines[-1] == "[PASS] 1 file(s): 1 passed (1 cached)"


def rerun_row(reason: RerunReason, attempt: TestResult, after: RerunReason | None = None) -> list[str]:
    event = AttemptFinished(at_s=1, file=GOOD, result=attempt, rerun_reason=reason, attempt_reason=after)
    return [" ".join(line.split()) for line in show(event, columns=120).splitlines()]


def test_every_second_attempt_has_a_row_except_one_that_verifies_a_pass() -> None:
    bad, good = result(GOOD, Status.FAIL, error="exit status 1"), result(GOOD, Status.PASS)
    evicted = result(GOOD, Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET)
    tags = {
        reason: [row.partition(" ")[0] for row in rerun_row(reason, evicted if "evict" in reason else bad)]
        for reason in RerunReason
        if reason is not RerunReason.VERIFY_PASS
    }
    assert tags == {
        RerunReason.RETRY: ["[RETRY]"],
        RerunReason.EVICTED: ["[WAIT]"],
        RerunReason.VERIFY_FAILURE: ["[CHECK]"],
        RerunReason.RECHECK: ["[CHECK]"],
        RerunReason.REFORK: ["[CHECK]"],
        RerunReason.EXCLUSIVE: ["[CHECK]"],
        RerunReason.WHOLE: ["[SPLIT]"],
        RerunReason.REPART: ["[SPLIT]"],
        RerunReason.SETTLED: ["[WARN]"],
    }
    assert rerun_row(RerunReason.VERIFY_PASS, good) == []
    assert rerun_row(RerunReason.EXCLUSIVE, bad) == [
        "[CHECK] tests/test_good.py in parallel: FAIL: exit status 1 1.5s 24 MiB"
    ]


def test_a_verdict_that_a_further_attempt_left_open_is_printed_when_it_is_settled() -> None:
    bad = result(GOOD, Status.FAIL, error="exit status 1")
    settled = VerdictSettled(at_s=1, file=GOOD, result=bad, attempt_reason=RerunReason.EXCLUSIVE)
    verified = VerdictSettled(
        at_s=1, file=GOOD, result=result(GOOD, Status.PASS), attempt_reason=RerunReason.VERIFY_PASS
    )
    assert show(settled).startswith("[FAIL] tests/test_good.py  FAIL: exit status 1 ")
    assert show(verified) == show(verified, verbosity=Verbosity.VERBOSE) == ""


def test_the_summary_of_many_failures_fits_the_screen() -> None:
    files = [file(f"tests/test_{number:03}.py") for number in range(300)]
    cases = [failed(f"T.test_{number}", ASSERT_5) for number in range(50)]
    records = [once(one, result(one, Status.FAIL, *cases, output="x\n" * 100)) for one in files]
    lines = show(finished(*records), lines=24).splitlines()
    assert len(lines) <= 400 + 24
    assert lines[-21:-3] == [
        "[FAIL] Failed files:",
        *(f"  - tests/test_{number:03}.py" for number in range(16)),
        "  - and 284 more",
    ]
    assert lines[-1] == "[FAIL] 300 file(s): 0 passed, 300 failed"


def test_a_stopped_run_is_never_green() -> None:
    good, stopped = result(GOOD, Status.PASS), result(CART, Status.CANCELLED, error="stopped by Ctrl-C")
    lines = show(
        RunStopping(at_s=1.0, cause=StopCause.INTERRUPT),
        ended(CART, stopped),
        Notice(at_s=1.0, text="look\nhere"),
        finished(once(GOOD, good), once(CART, stopped)),
    ).splitlines()
    assert lines[0] == "[WARN] Stopping: interrupted; no further file starts"
    assert lines[1].startswith("[WARN] tests/test_cart.py  CANCELLED: stopped by Ctrl-C ")
    assert lines[2] == "[WARN] look\\nhere"
    assert lines[-2:] == [
        "[INFO] 2 file(s): 1 passed, 1 not run",
        "[WARN] The run is not complete: 1 file(s) did not run to their end",
    ]
