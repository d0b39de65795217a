"""The verdict on an attempt: a row for every branch, and one for each status and reason to stop."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.model.result import HOLDS_NO_TESTS, CaseResult
from passmuster.model.status import Outcome, RunnerKind, Status, StopReason
from worker.executor.classify import PYTEST_COLLECT_STATUSES, Classification, Evidence, classify

SCRIPT, PYTEST, UNITTEST = RunnerKind.SCRIPT, RunnerKind.PYTEST, RunnerKind.UNITTEST
COMMAND = RunnerKind.COMMAND
FRAMEWORKS = (PYTEST, UNITTEST)


def cases(*outcomes: Outcome) -> tuple[CaseResult, ...]:
    return tuple(CaseResult(case_id=str(number), outcome=one) for number, one in enumerate(outcomes))


GOOD, BAD = cases(Outcome.PASSED), cases(Outcome.PASSED, Outcome.FAILED)

STOPPED = {
    StopReason.TIMEOUT: Status.TIMEOUT,
    StopReason.RUN_TIMEOUT: Status.CANCELLED,
    StopReason.CANCELLED: Status.CANCELLED,
    StopReason.MEMORY_LIMIT: Status.MEMORY,
    StopReason.MEMORY_BUDGET: Status.MEMORY,
    StopReason.OUT_OF_MEMORY: Status.MEMORY,
}

TABLE: dict[str, tuple[Evidence, Status, str]] = {
    "a command that is content": (Evidence(exit_code=0, runner=COMMAND), Status.PASS, ""),
    "a command that is not": (
        Evidence(exit_code=5, runner=COMMAND),
        Status.FAIL,
        "exit status 5; no test reported a failure",
    ),
    "a command with failures in its report": (
        Evidence(exit_code=1, runner=COMMAND, cases=BAD, has_report=True, report_failures=1),
        Status.FAIL,
        "exit status 1; 1 of 2 tests failed",
    ),
    "a command that is content with failures in its report": (
        Evidence(exit_code=0, runner=COMMAND, cases=BAD, has_report=True),
        Status.FAIL,
        "exit status 0, but 1 of 2 tests failed",
    ),
    "a command whose report counts failures that it does not list": (
        Evidence(exit_code=0, runner=COMMAND, cases=GOOD, has_report=True, report_failures=2),
        Status.FAIL,
        "exit status 0, but 2 tests failed",
    ),
    "a command whose report cannot be read": (
        Evidence(exit_code=0, runner=COMMAND, has_report=True, report_problem="it is damaged"),
        Status.FAIL,
        "exit status 0; it is damaged",
    ),
    "a command that ran no test": (
        Evidence(exit_code=0, runner=COMMAND, has_report=True),
        Status.NO_TESTS,
        "command found no test in it",
    ),
    "a command that ran no test and says so": (
        Evidence(exit_code=5, runner=COMMAND, has_report=True),
        Status.NO_TESTS,
        "command found no test in it",
    ),
    "a command that failed before any test": (
        Evidence(exit_code=2, runner=COMMAND, has_report=True),
        Status.FAIL,
        "exit status 2; no test reported a failure",
    ),
    "a command whose tests were all skipped": (
        Evidence(exit_code=0, runner=COMMAND, cases=cases(Outcome.SKIPPED), has_report=True),
        Status.PASS,
        "",
    ),
    "could not start": (Evidence(start_error="no such file"), Status.START_ERROR, "no such file"),
    "killed its supervisor": (
        Evidence(supervisor_died=True),
        Status.CRASH,
        "it killed the process that started it",
    ),
    "segmentation fault": (Evidence(signal=signal.SIGSEGV, runner=SCRIPT), Status.CRASH, "killed by SIGSEGV"),
    "abort in the middle": (
        Evidence(signal=signal.SIGABRT, runner=PYTEST, cases=GOOD, was_running=True),
        Status.CRASH,
        "killed by SIGABRT",
    ),
    "a signal without a name": (Evidence(signal=63), Status.CRASH, "killed by signal 63"),
    "SIGKILL from somewhere": (
        Evidence(signal=signal.SIGKILL),
        Status.CRASH,
        "killed by SIGKILL, which Passmuster did not send: it came from the test or another process",
    ),
    "SIGKILL by the kernel": (
        Evidence(signal=signal.SIGKILL, kernel_killed=True),
        Status.MEMORY,
        "killed by the kernel's out-of-memory killer",
    ),
    "another signal while the kernel killed somebody": (
        Evidence(signal=signal.SIGSEGV, kernel_killed=True),
        Status.CRASH,
        "killed by SIGSEGV",
    ),
    "SIGTERM from somewhere": (
        Evidence(signal=signal.SIGTERM),
        Status.CRASH,
        "killed by SIGTERM, which Passmuster did not send: it came from the test or another process",
    ),
    "cannot be imported": (
        Evidence(
            exit_code=2,
            runner=PYTEST,
            collect_error="E   Traceback\nE   ImportError: no module\n\n",
            cases=cases(Outcome.ERROR),
        ),
        Status.COLLECT_ERROR,
        "ImportError: no module",
    ),
    "an error without words": (
        Evidence(exit_code=1, runner=UNITTEST, collect_error="  \n"),
        Status.COLLECT_ERROR,
        "it could not be loaded",
    ),
    "a collect error that the run survived": (
        Evidence(exit_code=0, runner=UNITTEST, collect_error="x", cases=GOOD),
        Status.PASS,
        "",
    ),
    "pytest was interrupted while collecting": (
        Evidence(exit_code=2, runner=PYTEST),
        Status.COLLECT_ERROR,
        "pytest could not collect it (exit status 2)",
    ),
    "pytest had a wrong option": (
        Evidence(exit_code=4, runner=PYTEST),
        Status.COLLECT_ERROR,
        "pytest could not collect it (exit status 4)",
    ),
    "pytest was interrupted by its first test": (
        Evidence(exit_code=2, runner=PYTEST, collected=3, quit_reason="KeyboardInterrupt"),
        Status.FAIL,
        "exit status 2; interrupted (KeyboardInterrupt) after 0 of 3 tests",
    ),
    "pytest was interrupted by a later test": (
        Evidence(exit_code=2, runner=PYTEST, collected=3, cases=GOOD, quit_reason="KeyboardInterrupt"),
        Status.FAIL,
        "exit status 2; interrupted (KeyboardInterrupt) after 1 of 3 tests",
    ),
    "pytest ended with status 2 after it had collected": (
        Evidence(exit_code=2, runner=PYTEST, collected=3),
        Status.FAIL,
        "exit status 2; no test reported a failure",
    ),
    "pytest was interrupted by a test": (
        Evidence(exit_code=2, runner=PYTEST, cases=GOOD),
        Status.FAIL,
        "exit status 2; no test reported a failure",
    ),
    "status 2 of a script": (
        Evidence(exit_code=2, runner=SCRIPT),
        Status.FAIL,
        "exit status 2; no test reported a failure",
    ),
    "pytest found nothing": (
        Evidence(exit_code=5, runner=PYTEST),
        Status.NO_TESTS,
        "pytest found no test in it",
    ),
    "unittest found nothing": (
        Evidence(exit_code=5, runner=UNITTEST),
        Status.NO_TESTS,
        "unittest found no test in it",
    ),
    "an old unittest found nothing": (
        Evidence(exit_code=0, runner=UNITTEST),
        Status.NO_TESTS,
        "unittest found no test in it",
    ),
    "all was skipped": (Evidence(exit_code=5, runner=PYTEST, cases=cases(Outcome.SKIPPED)), Status.PASS, ""),
    "status 5 of a script is its own": (
        Evidence(exit_code=5, runner=SCRIPT),
        Status.FAIL,
        "exit status 5; no test reported a failure",
    ),
    "status 5 with a failed test": (
        Evidence(exit_code=5, runner=PYTEST, cases=BAD),
        Status.FAIL,
        "exit status 5; 1 of 2 tests failed",
    ),
    "tests failed": (
        Evidence(exit_code=1, runner=PYTEST, cases=BAD),
        Status.FAIL,
        "exit status 1; 1 of 2 tests failed",
    ),
    "an unexpected success failed it": (
        Evidence(exit_code=1, runner=UNITTEST, cases=cases(Outcome.XPASSED)),
        Status.FAIL,
        "exit status 1; no test reported a failure",
    ),
    "a script raised": (
        Evidence(exit_code=1, runner=SCRIPT),
        Status.FAIL,
        "exit status 1; no test reported a failure",
    ),
    "left half-way": (
        Evidence(exit_code=0, runner=UNITTEST, cases=GOOD, was_running=True),
        Status.CRASH,
        "exited with status 0 in the middle of its tests, after 1 of them",
    ),
    "hides a failure behind status 0": (
        Evidence(exit_code=0, runner=SCRIPT, cases=BAD),
        Status.FAIL,
        "exit status 0, but 1 of its tests failed",
    ),
    "defines tests and runs none": (
        Evidence(exit_code=0, runner=SCRIPT, defines=3),
        Status.NO_TESTS,
        "none of the 3 test(s) that it defines was run; --runner pytest runs them",
    ),
    "defines more tests than it runs": (
        Evidence(exit_code=0, runner=SCRIPT, cases=GOOD, defines=3, defined_ran=1),
        Status.FAIL,
        "ran 1 of the 3 tests that it defines; --runner pytest runs them",
    ),
    "runs other tests than it defines": (
        Evidence(exit_code=0, runner=SCRIPT, cases=GOOD, defines=3),
        Status.FAIL,
        "ran 0 of the 3 tests that it defines; --runner pytest runs them",
    ),
    "pytest quits half-way with success": (
        Evidence(exit_code=0, runner=PYTEST, cases=GOOD, collected=3, quit_reason="_pytest.Exit: enough"),
        Status.CRASH,
        "exited with status 0, but 2 of 3 tests did not run: _pytest.Exit: enough",
    ),
    "pytest quits before it has collected anything": (
        Evidence(exit_code=0, runner=PYTEST, quit_reason="_pytest.Exit: not here"),
        Status.CRASH,
        "exited with status 0 before its tests were collected: _pytest.Exit: not here",
    ),
    "pytest quits half-way with a status": (
        Evidence(exit_code=7, runner=PYTEST, cases=GOOD, collected=3, quit_reason="Exit: enough"),
        Status.FAIL,
        "exit status 7; interrupted (Exit: enough) after 1 of 3 tests",
    ),
    "failed without a failed test, and said why": (
        Evidence(exit_code=3, runner=SCRIPT, last_line="disk is full"),
        Status.FAIL,
        "exit status 3; no test reported a failure; last line of output: disk is full",
    ),
    "failed with a failed test, and said more": (
        Evidence(exit_code=1, runner=PYTEST, cases=BAD, last_line="1 failed"),
        Status.FAIL,
        "exit status 1; 1 of 2 tests failed",
    ),
    "a script without any framework": (Evidence(exit_code=0, runner=SCRIPT), Status.PASS, ""),
    "a script with tests": (
        Evidence(exit_code=0, runner=SCRIPT, cases=GOOD, defines=1, defined_ran=1),
        Status.PASS,
        "",
    ),
    "a framework with tests": (Evidence(exit_code=0, runner=PYTEST, cases=GOOD), Status.PASS, ""),
    "only expected trouble": (
        Evidence(exit_code=0, runner=PYTEST, cases=cases(Outcome.XFAILED, Outcome.XPASSED, Outcome.SKIPPED)),
        Status.PASS,
        "",
    ),
}
NEVER_DECIDED_HERE = {Status.LOST}
"""Nobody is left to weigh evidence about an attempt that was lost: the backend says so."""


@pytest.mark.parametrize("name", TABLE)
def test_each_evidence_has_its_status(name: str) -> None:
    evidence, status, error = TABLE[name]
    reason = StopReason.OUT_OF_MEMORY if status is Status.MEMORY else None

    verdict = classify(evidence)

    assert (verdict.status, verdict.error, verdict.stop_reason) == (status, error, reason)


@pytest.mark.parametrize(
    ("evidence", "status", "note"),
    [
        (Evidence(exit_code=5, runner=PYTEST), Status.NO_TESTS, HOLDS_NO_TESTS),
        (Evidence(exit_code=0, runner=PYTEST), Status.NO_TESTS, HOLDS_NO_TESTS),
        (Evidence(exit_code=0, runner=UNITTEST), Status.NO_TESTS, HOLDS_NO_TESTS),
        (Evidence(exit_code=5, runner=PYTEST, deselected=3), Status.PASS, "all 3 test(s) deselected"),
        (Evidence(exit_code=0, runner=PYTEST, deselected=3, cases=GOOD), Status.PASS, ""),
        (Evidence(exit_code=1, runner=PYTEST, deselected=3, cases=BAD), Status.FAIL, ""),
        (Evidence(exit_code=0, runner=SCRIPT, defines=3), Status.NO_TESTS, ""),
    ],
)
def test_a_file_without_a_test_has_a_note_unlike_one_that_skips_all(
    evidence: Evidence, status: Status, note: str
) -> None:
    verdict = classify(evidence)

    assert (verdict.status, verdict.note) == (status, note)


@pytest.mark.parametrize("reason", list(StopReason))
def test_a_stop_by_passmuster_outweighs_the_processs_own_report(reason: StopReason) -> None:
    evidence = Evidence(
        exit_code=0,
        stop_reason=reason,
        stop_detail="it was too much",
        start_error="x",
        supervisor_died=True,
        kernel_killed=True,
        runner=PYTEST,
        cases=GOOD,
        collect_error="y",
    )

    assert classify(evidence) == Classification(
        status=STOPPED[reason], error="it was too much", stop_reason=reason
    )


def test_every_status_has_a_row() -> None:
    seen = {status for _, status, _ in TABLE.values()} | set(STOPPED.values()) | NEVER_DECIDED_HERE
    assert seen == set(Status)


def test_every_reason_to_stop_has_a_row() -> None:
    assert set(STOPPED) == set(StopReason)


@pytest.mark.parametrize("number", list(signal.Signals))
def test_no_signal_is_ever_a_pass(number: signal.Signals) -> None:
    verdict = classify(Evidence(signal=number, runner=PYTEST, cases=GOOD))

    assert verdict.status is Status.CRASH
    assert number.name in verdict.error


EVIDENCE = st.builds(
    Evidence,
    exit_code=st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    stop_reason=st.none() | st.sampled_from(list(StopReason)),
    start_error=st.sampled_from(["", "cannot start"]),
    stop_detail=st.just("stopped"),
    supervisor_died=st.booleans(),
    kernel_killed=st.booleans(),
    runner=st.sampled_from(list(RunnerKind)),
    cases=st.lists(st.sampled_from(list(Outcome)), max_size=4).map(lambda found: cases(*found)),
    defines=st.integers(0, 3),
    was_running=st.booleans(),
    collect_error=st.sampled_from(["", "x\ny", "\n"]),
)


@given(EVIDENCE)
def test_a_pass_has_no_contrary_evidence_and_any_other_status_a_reason(evidence: Evidence) -> None:
    verdict = classify(evidence)

    assert bool(verdict.error) is not verdict.status.is_pass
    assert "\n" not in verdict.error
    if verdict.status.is_pass:
        assert evidence.stop_reason is None
        assert evidence.signal is None
        assert not evidence.supervisor_died
        assert not evidence.start_error
        assert not any(case.outcome.is_bad for case in evidence.cases)
        # The one status beside 0 that may pass says that all tests were skipped.
        assert evidence.exit_code == 0 or (evidence.exit_code == 5 and evidence.cases)


@given(EVIDENCE)
def test_a_stop_reason_is_given_only_if_the_file_was_stopped(evidence: Evidence) -> None:
    verdict = classify(evidence)

    if evidence.stop_reason is not None:
        assert verdict.stop_reason is evidence.stop_reason
    elif verdict.stop_reason is not None:
        assert (verdict.stop_reason, verdict.status) == (StopReason.OUT_OF_MEMORY, Status.MEMORY)


@pytest.mark.parametrize("code", PYTEST_COLLECT_STATUSES)
@pytest.mark.parametrize("runner", FRAMEWORKS)
def test_only_pytests_exit_status_means_a_collect_error(code: int, runner: RunnerKind) -> None:
    status = classify(Evidence(exit_code=code, runner=runner)).status

    assert (status is Status.COLLECT_ERROR) is (runner is PYTEST)
