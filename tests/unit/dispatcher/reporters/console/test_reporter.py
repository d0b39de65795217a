"""The console report as its readers see it, compared with a complete model."""

from __future__ import annotations

import io
import os
import re

import pytest
from msgspec.structs import replace

from dispatcher.config.choices import Verbosity
from dispatcher.model.events import (
    FileSlow,
    Notice,
    RunStopping,
    StopCause,
    UsageSampled,
)
from dispatcher.model.plan import ShardPlan, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.shard_option import Shard
from dispatcher.reporters.console.line_reporter import ConsoleContext
from dispatcher.reporters.console.lines import RULE, nothing_found_line
from dispatcher.reporters.console.reporter import ConsoleReporter
from passmuster.model.executor import Usage
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, Status, StopReason
from tests.support.console_events import (
    begun,
    ended,
    file,
    finished,
    once,
    printed,
    result,
    started,
    text,
)

COLOURS = {"INFO": "34", "PASS": "32", "FAIL": "31", "WARN": "1;33"}
GIB = 1024**3

A, B, C = file("tests/test_a.py"), file("tests/test_b.py"), file("tests/test_c.py")


def test_a_run_in_which_all_pass_prints_the_contract() -> None:
    good_a, good_b = result(A, Status.PASS, "fine\n"), result(B, Status.PASS)
    events = (
        started(B, A),
        begun(B),
        begun(A),
        UsageSampled(
            at_s=0.5,
            usage=Usage(slots=2, budget_bytes=4, used_bytes=1, peak_bytes=1, files=()),
            waiting=0,
        ),
        ended(A, good_a),
        ended(B, good_b),
        finished(once(B, good_b), once(A, good_a), peak_bytes=GIB),
    )
    expected = text(
        "[INFO] Found 2 test file(s):",
        "  - tests/test_a.py",
        "  - tests/test_b.py",
        "[INFO] Workers: 2 at once (2 CPUs), memory budget 4 GiB (the default)",
        "[INFO] Running: tests/test_b.py",
        "[INFO] Running: tests/test_a.py",
        "[PASS] tests/test_a.py completed successfully",
        "----------------------------------------",
        "[PASS] tests/test_b.py completed successfully",
        "----------------------------------------",
        "[INFO] 🧪 Test Summary:",
        "  Total tests: 2",
        "  Passed: 2",
        "  Failed: 0",
        "[INFO] 2/2 files passed, success rate 100.0%, in 12.3s, peak memory 1 GiB of 4 GiB",
        "[PASS] All tests passed! 🎉",
    )
    assert printed(*events) == (expected, "")


@pytest.mark.parametrize(("own_s", "end"), [(1.25, ", 1.2s in Passmuster"), (None, "")])
def test_the_cpu_time_of_tests_and_of_the_runner_are_told_apart(own_s: float | None, end: str) -> None:
    event = finished(once(A, replace(result(A, Status.PASS), cpu_s=2.5)))
    results = replace(event.results, own_cpu_s=own_s)

    lines = printed(replace(event, results=results))[0].splitlines()

    assert f"[INFO] CPU time: 2.5s in tests{end}" in lines


def test_a_run_with_failures_ends_with_the_list_of_them_and_nothing_else() -> None:
    output = "".join(f"line {number}\n" for number in range(1, 13)) + "\n"
    cases = (
        CaseResult(case_id="T.test_ok", outcome=Outcome.PASSED),
        *(
            CaseResult(case_id=f"T.test_{n}", outcome=Outcome.FAILED, message=f"\nboom {n}\nmore")
            for n in range(6)
        ),
        CaseResult(case_id="T.test_silent", outcome=Outcome.ERROR),
    )
    bad_b = TestResult(
        file_path=B.path, status=Status.FAIL, output=output, cases=cases, error="exit status 1"
    )
    slow_a = TestResult(
        file_path=A.path,
        status=Status.TIMEOUT,
        output="waiting",
        error="no end after 300 s",
        stacks='Thread 0x1:\n  File "a.py", line 3 in wait\n',
        leaked=("sleep 1000 (pid 12)",),
        kept_tmp="/tmp/kept",
    )
    good = result(C, Status.PASS)
    out, warnings = printed(
        started(B, A, C, limits=()),
        begun(A),
        FileSlow(at_s=60.0, file=A, seconds=60.0),
        ended(B, bad_b),
        ended(A, slow_a),
        ended(C, good),
        finished(once(B, bad_b), once(A, slow_a), once(C, good)),
    )
    assert warnings == ""
    assert out == text(
        "[INFO] Found 3 test file(s):",
        "  - tests/test_a.py",
        "  - tests/test_b.py",
        "  - tests/test_c.py",
        "[INFO] Running: tests/test_a.py",
        "[WARN] tests/test_a.py: still running after 1m 00s",
        "[FAIL] tests/test_b.py failed",
        RULE,
        "[WARN] tests/test_a.py: TIMEOUT: no end after 300 s",
        "[FAIL] tests/test_a.py failed",
        RULE,
        "[PASS] tests/test_c.py completed successfully",
        RULE,
        "[INFO] 🧪 Test Summary:",
        "  Total tests: 3",
        "  Passed: 1",
        "  Failed: 2",
        "  Of the failed: TIMEOUT 1",
        "  Test cases: passed 1, failed 6, error 1",
        "[INFO] 1/3 files passed, success rate 33.3%, in 12.3s",
        "[WARN] 1 file(s) left processes behind, which Passmuster killed:",
        "  - tests/test_a.py: sleep 1000 (pid 12)",
        "[WARN] Failed test details:",
        "  - tests/test_a.py",
        "    Last few lines of output:",
        "      waiting",
        "    Status: TIMEOUT: no end after 300 s",
        "    Stacks at the timeout:",
        "      Thread 0x1:",
        "        a.py:3 in wait",
        "    TMPDIR kept at: /tmp/kept",
        "    Run it again: ./run_tests.py tests/test_a.py",
        "  - tests/test_b.py",
        "    Last few lines of output:",
        *(f"      line {number}" for number in range(4, 13)),
        "      ",
        "    Failing tests:",
        *(line for n in range(6) for line in (f"      T.test_{n}: boom {n}", "        more")),
        "      T.test_silent: failed without a message",
        "    Run it again: ./run_tests.py tests/test_b.py",
        "[FAIL] 2 test(s) failed",
        "",
        "SUMMARY: 1 passed, 2 failed",
        "FAILED TESTS:",
        "tests/test_a.py",
        "tests/test_b.py",
    )


def test_attempts_that_are_repeated_decide_nothing_and_flaky_files_are_named() -> None:
    evicted = TestResult(
        file_path=A.path, status=Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET, peak_bytes=GIB
    )
    bad = result(A, Status.CRASH, error="signal 11", attempt=2)
    good = result(A, Status.PASS, attempt=3)
    out, _ = printed(
        started(A),
        begun(A),
        ended(A, evicted, RerunReason.EVICTED),
        begun(A, 2),
        ended(A, bad, RerunReason.RETRY),
        begun(A, 3),
        ended(A, good),
        finished(once(A, evicted, bad, good)),
    )
    assert out.splitlines()[3:] == [
        "[INFO] Running: tests/test_a.py",
        "[WARN] tests/test_a.py: evicted at 1 GiB to free memory; will rerun",
        "[INFO] Running again: tests/test_a.py (attempt 2)",
        "[WARN] tests/test_a.py: CRASH: signal 11; will rerun",
        "[INFO] Running again: tests/test_a.py (attempt 3)",
        "[PASS] tests/test_a.py completed successfully",
        RULE,
        "[INFO] 🧪 Test Summary:",
        "  Total tests: 1",
        "  Passed: 1",
        "  Failed: 0",
        "  Flaky: 1",
        "[INFO] 1/1 files passed, success rate 100.0%, in 12.3s",
        "[WARN] 1 flaky file(s) passed and failed in this run:",
        "  - tests/test_a.py (PASS; attempts: CRASH, PASS)",
        "[PASS] All tests passed! 🎉",
    ]


def test_a_stopped_run_names_what_did_not_run_and_never_says_that_all_passed() -> None:
    good, stopped = result(A, Status.PASS), result(B, Status.CANCELLED, error="stopped by Ctrl-C")
    never = result(C, Status.CANCELLED)
    out, _ = printed(
        started(A, B, C, limits=()),
        RunStopping(at_s=1.0, cause=StopCause.INTERRUPT),
        ended(B, stopped),
        finished(once(A, good), once(B, stopped), once(C, never, started=False)),
    )
    assert out.splitlines()[4:] == [
        "[WARN] Stopping: interrupted; no further file starts",
        "[WARN] tests/test_b.py: CANCELLED: stopped by Ctrl-C",
        "[INFO] 🧪 Test Summary:",
        "  Total tests: 3",
        "  Passed: 1",
        "  Failed: 0",
        "  Not run: 2",
        "[INFO] 1/3 files passed, success rate 33.3%, in 12.3s",
        "[WARN] 2 file(s) did not run to their end:",
        "  - tests/test_b.py (stopped after 1.5s)",
        "  - tests/test_c.py (never started)",
        "[WARN] The run is not complete: 2 file(s) did not run to their end",
    ]
    assert "all tests passed" not in out.lower()


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_exactly_one_verdict_line(status: Status) -> None:
    bad = result(A, status, error="because")
    out, _ = printed(started(A), begun(A), ended(A, bad), finished(once(A, bad)))
    passes = out.count("[PASS] tests/test_a.py completed successfully\n" + RULE)
    failures = out.count("[FAIL] tests/test_a.py failed\n" + RULE)
    assert (passes, failures) == (int(status.is_pass), int(status.is_failure))
    assert out.count(RULE) == passes + failures
    assert (f"{status}: because" in out) == (status is not Status.PASS)
    assert out.endswith("FAILED TESTS:\ntests/test_a.py\n") == status.is_failure
    assert ("All tests passed! 🎉" in out) == status.is_pass


def test_colour_covers_the_tags_alone_and_changes_nothing_else() -> None:
    bad, good = result(A, Status.CRASH, "x\n", "signal 11"), result(B, Status.PASS)
    events = (
        started(A, B),
        begun(A),
        ended(A, bad),
        ended(B, good),
        Notice(at_s=1.0, text="look here"),
        finished(once(A, bad), once(B, good)),
    )
    plain, plain_warnings = printed(*events)
    coloured, coloured_warnings = printed(*events, color=True)
    painted = re.sub(
        r"^\[(INFO|PASS|FAIL|WARN)\]",
        lambda match: f"\x1b[{COLOURS[match[1]]}m{match[0]}\x1b[0m",
        plain,
        flags=re.MULTILINE,
    )
    assert coloured == painted
    assert plain_warnings == "[WARN] look here\n"
    assert coloured_warnings == "\x1b[1;33m[WARN]\x1b[0m look here\n"


def test_quiet_prints_failures_and_the_summary_only() -> None:
    bad, good = result(A, Status.FAIL, "x\n"), result(B, Status.PASS)
    out, _ = printed(
        started(A, B),
        begun(A),
        FileSlow(at_s=1, file=A, seconds=1),
        ended(B, good),
        ended(A, bad, RerunReason.RETRY),
        ended(A, bad),
        finished(once(A, bad), once(B, good)),
        verbosity=Verbosity.QUIET,
    )
    assert out.splitlines()[:2] == ["[FAIL] tests/test_a.py failed", "[INFO] 🧪 Test Summary:"]
    assert out.endswith("SUMMARY: 1 passed, 1 failed\nFAILED TESTS:\ntests/test_a.py\n")


def test_verbose_adds_what_was_printed_the_cases_and_the_slowest() -> None:
    good = TestResult(
        file_path=A.path,
        status=Status.PASS,
        output="[FAIL] not ours failed\nsecond\n",
        cases=(CaseResult(case_id="T.test_x", outcome=Outcome.SKIPPED, seconds=0.5),),
        duration=2.0,
        peak_bytes=GIB,
    )
    out, _ = printed(
        started(A, limits=()), begun(A), ended(A, good), finished(once(A, good)), verbosity=Verbosity.VERBOSE
    )
    assert out.splitlines()[3:] == [
        "[INFO] Output of tests/test_a.py:",
        "      [FAIL] not ours failed",
        "      second",
        "[INFO] Tests in tests/test_a.py:",
        "      skipped 0.50s T.test_x",
        "[PASS] tests/test_a.py completed successfully",
        RULE,
        "[INFO] 🧪 Test Summary:",
        "  Total tests: 1",
        "  Passed: 1",
        "  Failed: 0",
        "  Test cases: skipped 1",
        "[INFO] 1/1 files passed, success rate 100.0%, in 12.3s",
        "[INFO] Slowest files:",
        "  - tests/test_a.py (2.0s)",
        "[INFO] Files with the highest peak memory:",
        "  - tests/test_a.py (1 GiB)",
        "[PASS] All tests passed! 🎉",
    ]


def test_hostile_output_and_names_cannot_forge_a_line_or_move_the_cursor() -> None:
    evil = TestFile(path="t\nFAILED TESTS:\udcff\x1b[2J", label="t\nFAILED TESTS:\udcff\x1b[2J")
    output = "\x1b[2J\x1b]0;title\x07ok\x00\n\r[PASS] forged\rbar\n\ud800\u202e\x9b1m" + "y" * 1_000_000
    bad = TestResult(
        file_path=evil.path,
        status=Status.START_ERROR,
        output=output,
        error="two\nlines\x1b[0m",
        cases=(CaseResult(case_id="a\nb", outcome=Outcome.FAILED, message="\x1b[31mred\x00"),),
        leaked=("x\ny",),
    )
    out, _ = printed(
        started(evil),
        begun(evil),
        ended(evil, bad),
        Notice(at_s=0, text="n"),
        finished(once(evil, bad)),
        verbosity=Verbosity.VERBOSE,
    )
    assert set(re.findall(r"[^\x20-\x7e]", out)) == {"\n", "🧪"}
    assert out.count("\nFAILED TESTS:") == 1
    assert "\n[PASS]" not in out
    assert len(out) < 20_000
    assert out.endswith("FAILED TESTS:\nt\\nFAILED TESTS:\\xff\n")


def test_an_ascii_stream_gets_the_same_lines_with_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    reporter = ConsoleReporter(ConsoleContext(stream=stream, warn_stream=stream, rerun=lambda _: ""))
    reporter.handle(finished(once(A, result(A, Status.PASS))))
    assert raw.getvalue().startswith(b"[INFO] \\U0001f9ea Test Summary:\n  Total tests: 1\n")


def test_a_reader_that_disappears_ends_only_the_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        context = ConsoleContext(stream=stream, warn_stream=io.StringIO(), rerun=lambda _: "")
        reporter = ConsoleReporter(context)
        reporter.handle(started(A))
        reporter.handle(begun(A))
        reporter.close()


def test_the_line_for_no_files_is_that_of_the_scripts() -> None:
    assert nothing_found_line(include_integration=False) == "[WARN] No unit test files found"
    assert nothing_found_line(include_integration=True) == "[WARN] No test files found"


@pytest.mark.parametrize(
    ("files", "predicted_s", "line"),
    [
        ((A, B), 41.0, "Shard 2 of 4: 2 of 3 files, predicted 41.0s; the whole plan is 0123456789ab"),
        ((A,), None, "Shard 2 of 4: 1 of 3 files; the whole plan is 0123456789ab"),
        ((), 0.0, "Shard 2 of 4 has none of the 3 files; the whole plan is 0123456789ab"),
    ],
)
def test_a_shard_prints_its_number_and_the_digest_of_the_plan(
    files: tuple[TestFile, ...], predicted_s: float | None, line: str
) -> None:
    event = started(*files)
    part = ShardPlan(
        shard=Shard(number=2, total=4),
        whole=(
            ("tests/test_a.py", 2),
            ("tests/test_b.py", 2),
            ("tests/test_c.py/part-1-of-2-0123abcd", 1),
            ("tests/test_c.py/part-2-of-2-0123abcd", 3),
        ),
        digest="0123456789abcdef",
        history_digest="",
        slots=4,
        budget_bytes=GIB,
        predicted_s=predicted_s,
    )
    lines = printed(replace(event, plan=replace(event.plan, shard=part)))[0].splitlines()

    assert lines[0] == f"[INFO] Found {len(files)} test file(s):"
    assert lines[-1] == f"[INFO] {line}"


def test_verbose_output_names_the_worker_of_a_file() -> None:
    events = [replace(begun(A, attempt), worker="box-\x1b[1m1") for attempt in (1, 2)]

    assert printed(*events, verbosity=Verbosity.VERBOSE)[0] == text(
        "[INFO] Running: tests/test_a.py on box-1",
        "[INFO] Running again: tests/test_a.py (attempt 2) on box-1",
    )
    assert printed(events[0])[0] == text("[INFO] Running: tests/test_a.py")
