"""The console lines of files that are forked, verified, or run exclusively."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given

from dispatcher.config.choices import Verbosity
from dispatcher.config.model import TestConfig
from dispatcher.model.events import AttemptFinished, VerdictSettled
from dispatcher.model.results import TestResults
from dispatcher.reporters.console.line_reporter import ConsoleContext
from dispatcher.reporters.console.lines import RULE
from dispatcher.reporters.console.progress import RunProgress
from dispatcher.reporters.console.reporter import ConsoleReporter
from passmuster.model.result import CaseResult
from passmuster.model.status import Isolation, Outcome, Status
from tests.support.forked_runs import CONFIGS, SCRIPTS
from tests.unit.dispatcher.engine.scripted_backend import Listener, ScriptedBackend, Step, make_run

FORK = Isolation.FORK
FORKED, FORKED_FAIL = Step(isolation=FORK), Step(isolation=FORK, status=Status.FAIL)
PASS, FAIL = Step(), Step(status=Status.FAIL)
CROWDED = Step(status=Status.FAIL, was_alone=False)
LONG = Step(seconds=100)


def run(
    script: Mapping[str, Sequence[Step]],
    config: TestConfig | None = None,
    *,
    verbosity: Verbosity = Verbosity.NORMAL,
    slots: int = 2,
) -> tuple[list[str], TestResults, Listener]:
    """Run a script; return the lines between the list of files and the summary's numbers, and all else."""
    out, listener = io.StringIO(), Listener()
    console = ConsoleReporter(
        ConsoleContext(
            stream=out, warn_stream=io.StringIO(), verbosity=verbosity, rerun=lambda record: "again"
        )
    )
    backend = ScriptedBackend(script=script, slots=slots)
    results = make_run(backend, list(script), [console, listener], config or TestConfig()).execute()
    return out.getvalue().splitlines(), results, listener


def of(lines: Sequence[str], path: str) -> list[str]:
    """Return the lines about one file before the summary."""
    end = lines.index("[INFO] 🧪 Test Summary:")
    told = (line for line in lines[:end] if line.startswith("["))
    return [line for line in told if f" {path}:" in f"{line}:" or f" {path} " in line]


def after_the_counts(lines: Sequence[str]) -> list[str]:
    start = next(number for number, line in enumerate(lines) if "success rate" in line)
    return list(lines[start + 1 :])


def test_a_passed_verification_prints_nothing() -> None:
    lines, _, _ = run({"a": [FORKED, PASS], "b": [LONG]})

    assert of(lines, "a") == ["[INFO] Running: a", "[PASS] a completed successfully"]
    assert lines.count(RULE) == 2
    assert after_the_counts(lines) == ["[PASS] All tests passed! 🎉"]


def test_a_passed_verification_is_printed_in_verbose_mode() -> None:
    lines, _, _ = run({"a": [FORKED, PASS], "b": [LONG], "c": [FORKED]}, verbosity=Verbosity.VERBOSE)

    assert of(lines, "a") == [
        "[INFO] Running: a",
        "[PASS] a completed successfully",
        "[INFO] Running again: a (attempt 2)",
        "[INFO] a: passed when spawned too",
    ]
    assert after_the_counts(lines)[0] == "[INFO] Forked: 2 file(s), spawned: 1"


def test_files_that_were_not_verified_are_counted() -> None:
    lines, _, _ = run({"a": [FORKED], "b": [FORKED]}, slots=1, verbosity=Verbosity.VERBOSE)

    assert after_the_counts(lines)[0] == "[INFO] Forked: 2 file(s), spawned: 0"
    left = "[INFO] 2 file(s) passed in a forked process and have not been run in a fresh interpreter yet;"
    assert f"{left} later runs do that" in lines


@pytest.mark.parametrize("verbosity", [Verbosity.NORMAL, Verbosity.QUIET])
def test_a_failed_verification_is_printed_with_the_reason(verbosity: Verbosity) -> None:
    lines, _, _ = run({"a": [FORKED, FAIL, FAIL], "b": [LONG]}, verbosity=verbosity)

    assert of(lines, "a")[-1] == "[FAIL] a failed"
    if verbosity is not Verbosity.QUIET:
        assert of(lines, "a")[-3:-1] == [
            "[WARN] a: passed when forked, failed when spawned",
            "[WARN] a: FAIL; will rerun spawned",
        ]
    assert "    It passed when forked, and failed when spawned." in lines
    assert lines[-2:] == ["FAILED TESTS:", "a"]


def test_a_doubtful_pass_that_is_verified_is_not_printed_as_a_second_pass() -> None:
    lines, _, _ = run({"a": [FORKED, FAIL, PASS], "b": [LONG]}, TestConfig(retries=1))

    assert of(lines, "a") == [
        "[INFO] Running: a",
        "[PASS] a completed successfully",
        "[WARN] a: passed when forked, failed when spawned",
        "[WARN] a: FAIL; will rerun spawned",
        "[INFO] a: passed in attempt 3",
    ]


def test_each_further_attempt_is_a_line_and_a_file_that_fails_when_forked_is_named_at_the_end() -> None:
    lines, _, _ = run({"a": [FORKED_FAIL, PASS, PASS, FORKED_FAIL]})

    assert of(lines, "a") == [
        "[INFO] Running: a",
        "[WARN] a: FAIL; it was forked and will rerun spawned",
        "[WARN] a: passed when spawned, unlike when forked; will rerun spawned",
        "[WARN] a: passed twice when spawned after it failed when forked; will rerun forked",
        "[WARN] a: FAIL; it failed when forked again, so forking is the cause",
        "[PASS] a completed successfully",
    ]
    assert after_the_counts(lines) == [
        (
            "[WARN] 1 file(s) failed twice when forked and passed twice when spawned; they are spawned until "
            "they change:"
        ),
        "  - a (FAIL)",
        "[PASS] All tests passed! 🎉",
    ]


def test_a_failure_is_printed_immediately_and_once_although_an_exclusive_attempt_follows() -> None:
    lines, _, _ = run({"a": [CROWDED, FAIL], "b": [LONG]})

    assert of(lines, "a") == ["[INFO] Running: a", "[FAIL] a failed"]
    assert lines.index("[FAIL] a failed") < lines.index("[PASS] b completed successfully")


def test_a_second_failure_is_printed_in_verbose_mode() -> None:
    lines, _, _ = run({"a": [CROWDED, FAIL]}, verbosity=Verbosity.VERBOSE)

    assert of(lines, "a")[-2:] == [
        "[INFO] Running again: a (attempt 2)",
        "[INFO] a: failed when run alone too",
    ]


def test_a_flaky_file_is_red_and_named_as_flaky() -> None:
    lines, _, _ = run({"a": [FORKED_FAIL, PASS, PASS, FORKED]})

    assert of(lines, "a")[-2:] == [
        "[WARN] a: passed in attempt 4, which does not count: it is flaky",
        "[FAIL] a failed",
    ]
    assert "  Flaky: 1" in lines
    assert after_the_counts(lines)[:2] == [
        "[WARN] 1 flaky file(s) passed and failed in this run:",
        "  - a (FAIL; attempts: FAIL, PASS, PASS, PASS)",
    ]
    assert "    It is flaky, its attempts ended: FAIL, PASS, PASS, PASS" in lines
    assert lines[-2:] == ["FAILED TESTS:", "a"]


def test_a_quiet_report_has_the_verdict_of_a_file_that_started_by_oversubscription() -> None:
    extra = Step(status=Status.FAIL, was_alone=False, was_extra=True)

    lines, _, _ = run({"a": [extra, PASS]}, verbosity=Verbosity.QUIET)

    assert of(lines, "a") == ["[FAIL] a failed", "[WARN] a: failed in parallel, passed when run alone"]


def test_a_quiet_report_does_not_name_an_attempt_that_does_not_count() -> None:
    lines, _, _ = run({"a": [CROWDED, PASS]}, verbosity=Verbosity.QUIET)

    assert of(lines, "a") == ["[FAIL] a failed"]


def test_a_file_that_fails_in_parallel_is_named_at_the_end() -> None:
    lines, _, _ = run({"a": [CROWDED, PASS]})

    assert of(lines, "a")[1:] == [
        "[FAIL] a failed",
        "[WARN] a: failed in parallel, passed when run alone; it stays failed, see --retries",
    ]
    assert after_the_counts(lines)[:2] == [
        (
            "[WARN] 1 file(s) failed in parallel and passed when run alone; they run exclusively until "
            "they change:"
        ),
        "  - a (in parallel: FAIL)",
    ]


def test_a_failure_whose_exclusive_attempt_was_withdrawn_is_printed_once() -> None:
    lines, _, _ = run({"a": [CROWDED], "b": [CROWDED], "c": [LONG]}, TestConfig(max_fail=2), slots=1)

    assert of(lines, "a")[-1] == "[FAIL] a failed"
    assert lines[-3:] == ["FAILED TESTS:", "a", "b"]


def test_a_verification_lists_differences_and_what_could_not_be_forked() -> None:
    cases = tuple(CaseResult(case_id=f"t{number}", outcome=Outcome.PASSED) for number in range(12))
    script = {
        "a": [Step(isolation=FORK, cases=cases), PASS, PASS],
        "b": [FORKED, PASS],
        "c": [Step(note="it says so")],
    }

    lines, _, _ = run(script, TestConfig(verify_isolation=True))

    assert after_the_counts(lines) == [
        "[WARN] 1 file(s) differ when forked:",
        *(f"  - a: t{number}: ran only when forked" for number in range(10)),
        "  - a: and 2 more",
        "[INFO] 1 file(s) were not forked, so that there was nothing to compare:",
        "  - it says so: 1 (c)",
        "[FAIL] 1 file(s) differ when forked",
    ]


def test_a_verification_names_files_whose_tests_vary_by_themselves() -> None:
    steps = [Step(isolation=FORK, cases=(CaseResult(case_id="at 1", outcome=Outcome.PASSED),))]
    steps += [Step(cases=(CaseResult(case_id=f"at {time}", outcome=Outcome.PASSED),)) for time in (2, 3)]

    lines, _, _ = run({"a": steps}, TestConfig(verify_isolation=True))

    assert [line for line in lines if line.startswith(("[PASS]", "[WARN]"))] == [
        "[PASS] a completed successfully",
        "[WARN] a: passed when spawned, unlike when forked; will rerun spawned",
        "[PASS] All tests passed! 🎉",
    ]
    assert "[INFO] 1 file(s) have tests that differ between spawned attempts too: 1 (a)" in lines


@given(SCRIPTS, CONFIGS)
def test_the_last_verdict_printed_of_a_file_is_the_one_that_counts(
    script: dict[str, list[Step]], config: TestConfig
) -> None:
    lines, results, _ = run(script, config)

    for record in results.records:
        path = record.file.path
        passed, failed = f"[PASS] {path} completed successfully", f"[FAIL] {path} failed"
        verdicts = [line for line in lines if line in (passed, failed)]
        assert lines.count(f"[INFO] Running: {path}") <= 1
        assert all(before != after for before, after in pairwise(verdicts))
        if record.status.is_cancelled:
            continue
        assert verdicts[-1] == (passed if record.status.is_pass else failed)


@given(SCRIPTS, CONFIGS)
def test_the_footer_counts_every_file_once(script: dict[str, list[Step]], config: TestConfig) -> None:
    _, results, listener = run(script, config)
    progress, decided = RunProgress(), 0
    for event in listener.events:
        progress.handle(event)
        is_verdict = isinstance(event, AttemptFinished) and event.rerun_reason is None
        decided += is_verdict or isinstance(event, VerdictSettled)
        assert 0 <= progress.done <= progress.total

    assert (progress.done, progress.failed) == (decided, len(results.failed))
    assert progress.running() == ()


def test_a_verification_names_what_it_could_not_compare() -> None:
    elsewhere = Step(worker="other")

    lines, _, _ = run({"a": [FORKED, elsewhere], "b": [FORKED, PASS]}, TestConfig(verify_isolation=True))

    assert (
        "[WARN] 1 file(s) could not be compared, because the spawned attempt had another worker or "
        "interpreter, or a signal from outside ended an attempt: 1 (a)"
    ) in lines
