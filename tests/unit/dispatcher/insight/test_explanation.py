"""Of a file is told how it ran, why it ran again, and how and why it will run next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from dispatcher.config.choices import FileGroup, Override
from dispatcher.config.model import TestConfig
from dispatcher.engine.journal import Journal
from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.insight.explain_report import explain_json, explain_lines
from dispatcher.insight.explanation import Explanation, overrides_of, rerun_reasons, start_method_of
from dispatcher.insight.last_run import PastAttempt, PastRun, find_newest_run
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.usage_stats import Baseline, UsageStats
from passmuster.model.errors import ConfigurationError
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status, StopReason
from passmuster.model.task import Limits, TestTask
from passmuster.model.test_selection import TestSelection
from passmuster.model.units import parse_amount

MIB = 1024**2
FILE = TestFile(path="tests/test_a.py", label="tests/test_a.py", size_bytes=1, mtime_ns=2)
KNOWN = FileHistory(path=FILE.path, spawned=UsageStats(duration_s=2.0, runs=1), size_bytes=1, mtime_ns=2)
PASS = TestResult(file_path=FILE.path, status=Status.PASS, isolation=Isolation.FORK, was_alone=False)
FAIL = replace(PASS, status=Status.FAIL)
SPAWNED = replace(PASS, isolation=Isolation.SPAWN)
FAILED_SPAWNED = replace(FAIL, isolation=Isolation.SPAWN)
EVICTED = replace(FAIL, status=Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET)


def planned(isolation: Isolation = Isolation.AUTO, **changes: object) -> PlannedFile:
    task = TestTask(run_id="r", file_path=FILE.path, isolation=isolation)
    return replace(PlannedFile(file=FILE, task=task), **changes)


@pytest.mark.parametrize(
    ("attempts", "reasons"),
    [
        ([PASS], [None]),
        ([PASS, SPAWNED], [None, RerunReason.VERIFY_PASS]),
        ([FAIL, SPAWNED], [None, RerunReason.VERIFY_FAILURE]),
        (
            [FAIL, SPAWNED, SPAWNED, FAIL],
            [None, RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, RerunReason.REFORK],
        ),
        ([EVICTED, PASS], [None, RerunReason.EVICTED]),
        ([FAILED_SPAWNED, FAILED_SPAWNED, SPAWNED], [None, RerunReason.RETRY, RerunReason.RETRY]),
        ([FAILED_SPAWNED, replace(SPAWNED, was_alone=True)], [None, RerunReason.EXCLUSIVE]),
        (
            [replace(FAILED_SPAWNED, was_alone=True), replace(SPAWNED, was_alone=True)],
            [None, RerunReason.RETRY],
        ),
    ],
)
def test_why_a_file_ran_again_is_seen_from_its_attempts(
    attempts: list[TestResult], reasons: list[RerunReason | None]
) -> None:
    assert list(rerun_reasons(attempts)) == reasons


SPAWN_ALL = TestConfig(isolation=Isolation.SPAWN)
FORK_SOME = TestConfig(overrides=(Override(files=("tests",), isolation=Isolation.FORK),))


@pytest.mark.parametrize(
    ("item", "known", "config", "text"),
    [
        (planned(Isolation.SPAWN), None, SPAWN_ALL, "spawned: requested by the setting isolation"),
        (planned(Isolation.FORK), KNOWN, FORK_SOME, "forked: requested by an override"),
        (
            planned(Isolation.SPAWN),
            replace(KNOWN, forking=ForkObservation.HARMFUL),
            TestConfig(),
            "spawned: it gave another result when forked in an earlier run",
        ),
        (
            planned(Isolation.SPAWN),
            replace(KNOWN, last_status=Status.FAIL),
            TestConfig(),
            "spawned: it did not pass when it last ran",
        ),
        (
            planned(is_fork_verified=True),
            KNOWN,
            TestConfig(),
            "it passed forked and spawned in an earlier run",
        ),
        (
            planned(),
            replace(KNOWN, forking=ForkObservation.HARMFUL, mtime_ns=9),
            TestConfig(),
            "it gave another result when forked, but has changed since",
        ),
        (planned(), None, TestConfig(), "forked if possible, then spawned once to verify"),
    ],
)
def test_the_start_method_is_explained(
    item: PlannedFile, known: FileHistory | None, config: TestConfig, text: str
) -> None:
    assert text in start_method_of(item, known, config)


def test_the_overrides_of_a_file_are_listed() -> None:
    overrides = (
        Override(files=("tests/*",), timeout_s=90, group="db"),
        Override(files=("other",), retries=3),
        Override(files=("tests/test_a.py", "x"), memory=parse_amount("1GiB"), isolation=Isolation.SPAWN),
    )
    config = TestConfig(overrides=overrides, groups=(FileGroup(name="db", max_files=2),))

    assert overrides_of(FILE.path, config) == (
        ("tests/*", "timeout 1m 30s, group db"),
        ("tests/test_a.py, x", "isolation spawn, memory 1 GiB"),
    )


CASES = (
    *(
        CaseResult(case_id=f"tests/test_a.py::T::bad{number}", outcome=Outcome.FAILED, seconds=number / 10)
        for number in range(5)
    ),
    CaseResult(case_id="tests/test_a.py::good", outcome=Outcome.PASSED, seconds=0.35),
)


def whole() -> Explanation:
    """Return an explanation in which there is everything."""
    attempts = (
        PastAttempt(
            result=replace(
                FAIL,
                error="exit status 1",
                started_at=1_800_000_000.0,
                duration=1.5,
                cpu_s=0.5,
                peak_bytes=100 * MIB,
                worker="local",
                interpreter="CPython 3.11.7",
                slot=1,
                start_delayed_by="memory",
                runner=RunnerKind.PYTEST,
                cases=CASES,
            ),
            after_s=3.0,
            concurrent_files=2,
            output="/x/test_a.py.log",
        ),
        PastAttempt(
            result=replace(SPAWNED, attempt=2, started_at=1_800_000_002.0, isolation_note="it failed"),
            after_s=5.0,
            concurrent_files=0,
        ),
    )
    task = TestTask(
        run_id="r",
        file_path=FILE.path,
        predicted_s=2.0,
        predicted_cpu_s=0.5,
        predicted_bytes=115 * MIB,
        exclusive=True,
        group="db",
        limits=Limits(timeout_s=90),
    )
    figures = UsageStats(duration_s=2.0, cpu_s=0.5, peak_bytes=100 * MIB, runs=5)
    return Explanation(
        file=FILE,
        last=PastRun(run_id="20260101-1", attempts=attempts, is_complete=False),
        known=replace(KNOWN, mtime_ns=9, failing_tests=("T::bad1",)),
        outcomes=((Status.PASS,), (Status.FAIL, Status.PASS)),
        planned=PlannedFile(
            file=FILE, task=task, order_reason="changed", baseline=Baseline(spawned=figures, is_changed=True)
        ),
        position=3,
        total=60,
        limit_bytes=200 * MIB,
        budget_bytes=400 * MIB,
        overrides=(("tests/*", "group db"),),
        group_max=2,
        start_method="spawned: so",
        affected=("shop/prices.py differs", "it failed when it last ran"),
    )


FIRST_FILE = "after the run's first file"


def test_everything_known_is_printed_in_aligned_lines() -> None:
    assert explain_lines(whole()) == [
        "tests/test_a.py",
        "  changed           yes, since it last ran",
        "  affected          shop/prices.py differs",
        "                    it failed when it last ran",
        "",
        "Last run: 20260101-1, interrupted or still running, 2 attempt(s)",
        "  attempt 1         FAIL: exit status 1",
        f"    started         2027-01-15 08:00:00 UTC, 3.0s {FIRST_FILE}, 2 other file(s) running",
        "    waited for      memory, although a slot was free",
        "    where           local, slot 1",
        "    took            1.5s, 0.50s of CPU time",
        "    memory          peak 100 MiB (current limit 200 MiB)",
        "    process         forked, by CPython 3.11.7",
        "    output          /x/test_a.py.log",
        "    tests           6 in 1.4s; the slowest: T::bad4 0.40s, good 0.35s, T::bad3 0.30s",
        "    failed tests    T::bad0, T::bad1, T::bad2, and 2 more",
        "  attempt 2         PASS",
        "    rerun reason    it did not pass when forked; the result of the spawned attempt decides",
        f"    started         2027-01-15 08:00:02 UTC, 5.0s {FIRST_FILE}, no other file running",
        "    where           slot 0",
        "    took            0.00s",
        "    process         spawned: it failed",
        "",
        "Next run",
        "  order             number 3 of 60: changed",
        "  process           spawned: so",
        "  expected          2.0s, 0.50s of CPU time; I/O-bound",
        "  reserved          115 MiB (the expected peak times 1.15)",
        "  memory limit      200 MiB of 400 MiB for all files",
        "  time limit        1m 30s",
        "  exclusive         no other file runs at the same time: it failed in parallel",
        "  known spawned     2.0s, 0.50s of CPU time, peak 100 MiB, from 5 attempt(s)",
        "  known forked      never",
        "  group             db, at most 2 at a time",
        "  override          tests/*: group db",
        "",
        "Last 2 run(s), oldest first",
        "  PASS  FAIL > PASS",
    ]


def test_a_test_that_the_user_names_has_a_line_of_its_own() -> None:
    named = replace(whole(), file=replace(FILE, selection=TestSelection(tests=("T", "goo"))))

    assert [line.strip() for line in explain_lines(named) if " failed, " in line] == [
        f"T::bad{number} failed, {number / 10:.2f}s" for number in range(5)
    ]
    attempt = json.loads(explain_json(named))["last_run"]["attempts"][0]
    assert [one["name"] for one in attempt["named_tests"]] == [f"T::bad{number}" for number in range(5)]


def test_programs_are_told_the_same() -> None:
    told = json.loads(explain_json(whole()))

    assert (told["version"], told["path"], told["changed"], told["never_ran"]) == (2, FILE.path, True, False)
    first, second = told["last_run"]["attempts"]
    assert (first["status"], first["start_delayed_by"], first["attempt_reason"]) == ("FAIL", "memory", None)
    assert first["interpreter"] == "CPython 3.11.7"
    assert first["failed_tests"] == [f"T::bad{number}" for number in range(5)]
    assert (first["tests"], first["slowest_tests"][1]) == (6, {"name": "good", "duration_s": 0.35})
    assert (second["failed_tests"], second["slowest_tests"]) == ([], [])
    assert told["failing_tests"] == ["T::bad1"]
    assert (second["attempt_reason"], second["isolation_note"], second["output"]) == (
        "verify-failure",
        "it failed",
        None,
    )
    assert (told["next_run"]["place"], told["next_run"]["spawned"]["runs"]) == (3, 5)
    assert told["next_run"]["overrides"] == [{"files": "tests/*", "settings": "group db"}]
    assert told["outcomes"] == [["PASS"], ["FAIL", "PASS"]]


def test_a_file_that_never_ran_is_one_line() -> None:
    what = Explanation(
        file=FILE, last=None, known=None, planned=planned(order_reason="never ran"), position=2, total=9
    )

    assert explain_lines(what) == [
        "tests/test_a.py never ran here; it is number 2 of 9 in the next run (never ran)"
    ]
    assert json.loads(explain_json(what))["never_ran"] is True


def test_a_file_that_is_gone_has_a_past_only() -> None:
    lines = explain_lines(replace(whole(), planned=None))

    assert lines[1] == "  now               it no longer exists"
    assert "Next run" not in lines


def test_missing_facts_are_named_as_missing() -> None:
    unmeasured = Baseline(spawned=UsageStats(peak_bytes=7 * MIB))
    what = replace(whole(), last=None, is_found=False, planned=planned(baseline=unmeasured), group_max=None)

    text = "\n".join(explain_lines(what))

    assert "Last run: none that is kept ran it" in text
    assert "  now               not found by discovery: it runs only if you name it" in text
    assert "  expected          unknown: it is assumed to take the median time" in text
    reserved = "what files of this project, or of this machine, usually need: its own peak is unknown"
    assert f"  reserved          {reserved}" in text
    assert "  known spawned     never completed; it used at least 7 MiB" in text


def write_run(runs: Path, name: str, *results: TestResult, ended: bool = True) -> None:
    (runs / name).mkdir(parents=True)
    journal = Journal(runs / name / "journal", is_durable=False)
    journal.start(name, [FILE])
    journal.add(results)
    if ended:
        journal.end()
    journal.close()


def test_the_newest_run_that_ran_the_file_is_found(tmp_path: Path) -> None:
    other = replace(PASS, file_path="tests/test_b.py", started_at=100.0, duration=5.0)
    write_run(tmp_path, "1", replace(FAIL, started_at=90.0), replace(PASS, attempt=2, started_at=95.0))
    write_run(tmp_path, "2", other, replace(PASS, started_at=103.0), ended=False)
    write_run(tmp_path, "3", other)

    run = find_newest_run(tmp_path, FILE.path)

    assert run is not None
    assert (run.run_id, run.is_complete) == ("2", False)
    assert [(one.result.status, one.after_s, one.concurrent_files) for one in run.attempts] == [
        (Status.PASS, 3.0, 1)
    ]
    older = find_newest_run(tmp_path, FILE.path, wanted="1")
    assert older is not None
    assert older.is_complete
    assert [one.result.status for one in older.attempts] == [Status.FAIL, Status.PASS]


def test_a_run_that_is_not_kept_or_did_not_run_the_file_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "1", replace(PASS, file_path="tests/test_b.py"))

    assert find_newest_run(tmp_path, FILE.path) is None
    with pytest.raises(
        ConfigurationError, match=r"there is no run 7 in .*; there are 1 \(the newest first\)"
    ):
        find_newest_run(tmp_path, FILE.path, wanted="7")
    with pytest.raises(
        ConfigurationError, match=r"run 1 has no result of tests/test_a\.py: leave out --run-id"
    ):
        find_newest_run(tmp_path, FILE.path, wanted="1")


def test_a_journal_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    write_run(tmp_path, "1", PASS, ended=False)
    journal = tmp_path / "1" / "journal"
    wrong = b'00000000 [1, "{\\"file_path\\": \\"tests/test_a.py\\"}"]'
    journal.write_bytes(journal.read_bytes() + wrong + b'\n[2, "cut')

    run = find_newest_run(tmp_path, FILE.path)

    assert run is not None
    assert len(run.attempts) == 1
