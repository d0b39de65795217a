"""Derives the status of a finished attempt from the evidence. Pure.

The most certain evidence is examined first: what Passmuster did to the process, then what the process
reported, then its exit status.
"""

from __future__ import annotations

import signal

from msgspec import Struct

from passmuster.model.result import HOLDS_NO_TESTS, OUTSIDE_SIGNALS, CaseResult
from passmuster.model.status import Outcome, RunnerKind, Status, StopReason

PYTEST_COLLECT_STATUSES = (2, 4)
"""pytest's exit statuses `INTERRUPTED` and `USAGE_ERROR`, which it returns if a file cannot be collected."""

PYTEST_NO_TESTS = 5
"""pytest's exit status `NO_TESTS_COLLECTED`; also unittest's since Python 3.12."""


class Evidence(Struct, frozen=True, kw_only=True):
    """The facts about a finished attempt. An empty text means that the event did not happen."""

    exit_code: int | None = None
    """None: a signal ended the process, or nothing started."""
    signal: int | None = None
    stop_reason: StopReason | None = None
    """Why Passmuster stopped it; None: it ended by itself."""
    stop_detail: str = ""
    start_error: str = ""
    supervisor_died: bool = False
    """Whether the test killed its process supervisor."""
    kernel_killed: bool = False
    """Whether the kernel's out-of-memory killer acted while it ran."""
    runner: RunnerKind = RunnerKind.AUTO
    cases: tuple[CaseResult, ...] = ()
    """The reported test cases."""
    defines: int = 0
    """Number of tests that a script defines."""
    defined_ran: int = 0
    """Number of those that ran."""
    collected: int = 0
    """Number of tests that pytest collected to run."""
    deselected: int = 0
    """Number of tests that the project's own options deselected."""
    quit_reason: str = ""
    """Why pytest ended before all collected tests had run."""
    last_line: str = ""
    """The last line of the output that is not blank."""
    was_running: bool = False
    """Whether a test framework had started its run and not finished it."""
    collect_error: str = ""
    """Why the file could not be loaded."""
    has_report: bool = False
    """Whether the project's own command wrote a report; the cases are from it."""
    report_failures: int = 0
    """Failures that this report counts, with or without cases."""
    report_problem: str = ""
    """Why this report is not usable."""


class Classification(Struct, frozen=True, kw_only=True):
    """The status, one line with the reason unless it passed, and one about a file that ran no test."""

    status: Status
    error: str = ""
    note: str = ""
    stop_reason: StopReason | None = None


def classify(evidence: Evidence) -> Classification:
    """Return the status of an attempt."""
    if evidence.stop_reason is not None:
        return _stopped(evidence, evidence.stop_reason)
    if evidence.start_error:
        return Classification(status=Status.START_ERROR, error=evidence.start_error)
    if evidence.supervisor_died:
        return Classification(status=Status.CRASH, error="it killed the process that started it")
    if evidence.signal is not None:
        return _signalled(evidence, evidence.signal)
    return _exited(evidence, evidence.exit_code or 0)


def _stopped(evidence: Evidence, reason: StopReason) -> Classification:
    status = {
        StopReason.TIMEOUT: Status.TIMEOUT,
        StopReason.RUN_TIMEOUT: Status.CANCELLED,
        StopReason.CANCELLED: Status.CANCELLED,
        StopReason.MEMORY_LIMIT: Status.MEMORY,
        StopReason.MEMORY_BUDGET: Status.MEMORY,
        StopReason.OUT_OF_MEMORY: Status.MEMORY,
    }[reason]
    return Classification(status=status, error=evidence.stop_detail, stop_reason=reason)


def _signalled(evidence: Evidence, number: int) -> Classification:
    name = _signal_name(number)
    if number == signal.SIGKILL and evidence.kernel_killed:
        text = "killed by the kernel's out-of-memory killer"
        return Classification(status=Status.MEMORY, error=text, stop_reason=StopReason.OUT_OF_MEMORY)
    if number in OUTSIDE_SIGNALS:
        text = f"killed by {name}, which Passmuster did not send: it came from the test or another process"
    else:
        text = f"killed by {name}"
    return Classification(status=Status.CRASH, error=text)


def _exited(evidence: Evidence, code: int) -> Classification:
    bad = [case for case in evidence.cases if case.outcome.is_bad]
    if evidence.runner is RunnerKind.COMMAND:
        return _command_exited(evidence, code, len(bad))
    if evidence.collect_error and code != 0:
        return Classification(status=Status.COLLECT_ERROR, error=_last_line(evidence.collect_error))
    if _was_not_collected(evidence, code):
        return Classification(
            status=Status.COLLECT_ERROR, error=f"pytest could not collect it (exit status {code})"
        )
    if code == PYTEST_NO_TESTS and evidence.runner is not RunnerKind.SCRIPT and not bad:
        return _empty(evidence)
    if code != 0:
        what = f"{len(bad)} of {len(evidence.cases)} tests failed" if bad else _without_failed_test(evidence)
        return Classification(status=Status.FAIL, error=f"exit status {code}; {what}")
    if evidence.quit_reason:
        return Classification(status=Status.CRASH, error=_quit_text(evidence))
    if evidence.was_running:
        text = f"exited with status 0 in the middle of its tests, after {len(evidence.cases)} of them"
        return Classification(status=Status.CRASH, error=text)
    if bad:
        return Classification(status=Status.FAIL, error=f"exit status 0, but {len(bad)} of its tests failed")
    if evidence.defined_ran < evidence.defines:
        return _incomplete(evidence)
    if not evidence.cases and evidence.runner is not RunnerKind.SCRIPT:
        return _empty(evidence)
    return Classification(status=Status.PASS)


def _was_not_collected(evidence: Evidence, code: int) -> bool:
    """Whether pytest ended during collection; its status 2 also means an interrupt during the tests."""
    if evidence.runner is not RunnerKind.PYTEST or code not in PYTEST_COLLECT_STATUSES:
        return False
    return not evidence.collected and not evidence.cases


def _without_failed_test(evidence: Evidence) -> str:
    """Return why a file failed although no test case did; if unknown, its last line of output."""
    if evidence.quit_reason and evidence.collected:
        ended = len({case.case_id for case in evidence.cases})
        reason = _last_line(evidence.quit_reason)
        return f"interrupted ({reason}) after {ended} of {evidence.collected} tests"
    if not evidence.last_line:
        return "no test reported a failure"
    return f"no test reported a failure; last line of output: {evidence.last_line}"


def _quit_text(evidence: Evidence) -> str:
    reason = _last_line(evidence.quit_reason)
    if not evidence.collected:
        return f"exited with status 0 before its tests were collected: {reason}"
    ended = len({case.case_id for case in evidence.cases})
    left = max(1, evidence.collected - ended)
    return f"exited with status 0, but {left} of {evidence.collected} tests did not run: {reason}"


def _incomplete(evidence: Evidence) -> Classification:
    """Return the status of a script that defines tests but did not run all of them."""
    if evidence.cases:
        text = f"ran {evidence.defined_ran} of the {evidence.defines} tests that it defines"
        return Classification(status=Status.FAIL, error=f"{text}; --runner pytest runs them")
    text = f"none of the {evidence.defines} test(s) that it defines was run"
    return Classification(status=Status.NO_TESTS, error=f"{text}; --runner pytest runs them")


def _command_exited(evidence: Evidence, code: int, bad: int) -> Classification:
    """Classify a project's own command by its exit status; its report can only make the status worse."""
    failures = max(bad, evidence.report_failures)
    is_empty = evidence.has_report and not (evidence.cases or failures or evidence.report_problem)
    # Some commands exit with the number of failures, so 5 alone does not mean "no tests".
    if is_empty and code in (0, PYTEST_NO_TESTS):
        return _empty(evidence)
    of = f" of {len(evidence.cases)}" if bad == failures else ""
    what = f"{failures}{of} tests failed" if failures else _without_failed_test(evidence)
    if evidence.report_problem:
        return Classification(status=Status.FAIL, error=f"exit status {code}; {evidence.report_problem}")
    if code != 0:
        return Classification(status=Status.FAIL, error=f"exit status {code}; {what}")
    if failures:
        return Classification(status=Status.FAIL, error=f"exit status 0, but {what}")
    return Classification(status=Status.PASS)


def _empty(evidence: Evidence) -> Classification:
    """Return the status of a file in which a framework ran no test."""
    if any(case.outcome is Outcome.SKIPPED for case in evidence.cases):
        return Classification(status=Status.PASS)
    if evidence.deselected:
        return Classification(status=Status.PASS, note=f"all {evidence.deselected} test(s) deselected")
    text = f"{evidence.runner.value} found no test in it"
    return Classification(status=Status.NO_TESTS, error=text, note=HOLDS_NO_TESTS)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(text: str) -> str:
    # pytest starts the lines of an error with an E.
    lines = [line.removeprefix("E ").strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it could not be loaded"
