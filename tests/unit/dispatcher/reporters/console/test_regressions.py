"""Regressions are printed at the end, and fail the run in every report if configured."""

from __future__ import annotations

from msgspec.structs import replace

from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts, Measure, Regression, TestResults, exit_code_of
from dispatcher.reporters.console.summary import summary_lines
from dispatcher.reporters.junit_model import suite_element
from passmuster.model.result import TestResult
from passmuster.model.status import Status

MIB = 1024**2
SLOWER_TEXT = (
    "CPU time 9.0s instead of 1.0s "
    "(6.0 times, in a run that took 1.5 times its baseline, the file was changed)"
)
FILE = TestFile(path="tests/test_a.py", label="test_a.py")
RECORD = FileAttempts(file=FILE, attempts=(TestResult(file_path=FILE.path, status=Status.PASS),))
SLOWER = Regression(file=FILE, measure=Measure.CPU, baseline=1.0, now=9.0, run_slowdown=1.5, is_changed=True)
LARGER = Regression(file=FILE, measure=Measure.MEMORY, baseline=100.0 * MIB, now=250.0 * MIB)
RESULTS = TestResults(records=(RECORD,), duration_s=1.0, regressions=(SLOWER, LARGER))
COUNTED = replace(RESULTS, fails_on_regression=True)


def lines(results: TestResults) -> list[str]:
    return summary_lines(results, budget="", rerun=lambda _: "again", is_verbose=False)


def test_a_regression_is_a_warning() -> None:
    assert lines(RESULTS)[-4:] == [
        "[WARN] 1 file(s) regressed:",
        f"  - test_a.py: {SLOWER_TEXT}",
        "  - test_a.py: peak memory 250 MiB instead of 100 MiB (2.5 times)",
        "[PASS] All tests passed! 🎉",
    ]
    assert exit_code_of(RESULTS) is ExitCode.OK


def test_a_regression_fails_the_run_if_configured() -> None:
    assert lines(COUNTED)[-1] == "[FAIL] 1 file(s) regressed (fail-on-regression)"
    assert exit_code_of(COUNTED) is ExitCode.FAILED
    assert exit_code_of(replace(COUNTED, regressions=())) is ExitCode.OK


def test_the_junit_report_is_not_greener_than_the_exit_status() -> None:
    good = suite_element(RECORD, regressions=RESULTS.failing_regressions)
    bad = suite_element(RECORD, regressions=COUNTED.failing_regressions)

    assert (good.get("failures"), bad.get("failures")) == ("0", "1")
    (failure,) = bad.iter("failure")
    assert (failure.get("type"), failure.get("message")) == ("regression", SLOWER_TEXT)
    other = TestFile(path="b.py", label="b.py")
    of_other = suite_element(replace(RECORD, file=other), regressions=COUNTED.failing_regressions)
    assert of_other.get("failures") == "0"
