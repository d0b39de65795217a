"""Tests a scripted run whose files are forked, verified, and rerun exclusively."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.choices import Oversubscription
from dispatcher.config.model import TestConfig
from dispatcher.engine.retry import MAX_EXCLUSIVE_RERUNS
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    RunStopping,
    UsageSampled,
    VerdictSettled,
)
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import Finding, TestResults
from passmuster.model.result import CaseResult
from passmuster.model.status import Isolation, Outcome, Status, StopReason
from tests.support.forked_runs import CONFIGS, SCRIPTS
from tests.unit.dispatcher.engine.scripted_backend import Listener, ScriptedBackend, Step, make_run, plan_of

FORK = Isolation.FORK
FORKED, FORKED_FAIL = Step(isolation=FORK), Step(isolation=FORK, status=Status.FAIL)
PASS, FAIL = Step(), Step(status=Status.FAIL)
CROWDED = Step(status=Status.FAIL, was_alone=False)
LONG = Step(seconds=100)


def execute(
    script: Mapping[str, Sequence[Step]],
    config: TestConfig | None = None,
    *,
    slots: int = 2,
    samples_usage: bool = False,
    confirmed: str = "",
    failed: str = "",
) -> tuple[TestResults, Listener, ScriptedBackend]:
    backend, listener = ScriptedBackend(script=script, slots=slots), Listener()
    plan = plan_of(*script, confirmed=confirmed, failed=failed)
    run = make_run(
        backend, list(script), [listener], config or TestConfig(), plan, samples_usage=samples_usage
    )
    return run.execute(), listener, backend


def told(
    listener: Listener, path: str
) -> list[tuple[str, RerunReason | None, RerunReason | None, Finding | None]]:
    """Return what was told of each attempt: how it ended, what it was for, what follows, what it means."""
    found: list[tuple[str, RerunReason | None, RerunReason | None, Finding | None]] = []
    for event in listener.events:
        if isinstance(event, AttemptFinished) and event.file.path == path:
            found.append((str(event.result.status), event.attempt_reason, event.rerun_reason, event.finding))
        elif isinstance(event, VerdictSettled) and event.file.path == path:
            found.append((f"settled {event.result.status}", event.attempt_reason, None, event.finding))
    return found


def test_a_file_that_fails_forked_before_and_after_two_spawned_passes_proves_forking_guilty() -> None:
    script = {"a": [FORKED_FAIL, PASS, PASS, FORKED_FAIL], "b": [PASS]}

    results, listener, backend = execute(script, slots=1)

    assert told(listener, "a") == [
        ("FAIL", None, RerunReason.VERIFY_FAILURE, None),
        ("PASS", RerunReason.VERIFY_FAILURE, RerunReason.RECHECK, None),
        ("PASS", RerunReason.RECHECK, RerunReason.REFORK, None),
        ("FAIL", RerunReason.REFORK, RerunReason.SETTLED, None),
        ("settled PASS", RerunReason.REFORK, None, Finding.FAILS_WHEN_FORKED),
    ]
    assert [name for name, first in backend.submitted if first] == ["a#2", "a#3", "a#4"]
    assert [task.isolation for task in backend.tasks[2:]] == [
        *(Isolation.SPAWN, Isolation.SPAWN, Isolation.AUTO)
    ]
    assert (len(results.passed), results.flaky) == (2, ())
    record = results.records[0]
    assert (record.final.attempt, record.final.isolation, record.failures) == (3, Isolation.SPAWN, ())


def test_a_proof_that_ends_while_the_run_is_stopping_holds() -> None:
    late = Step(isolation=FORK, status=Status.FAIL, seconds=9)
    script = {"a": [FORKED_FAIL, PASS, PASS, late], "b": [Step(status=Status.FAIL, seconds=6)], "c": [LONG]}

    results, _, _ = execute(script, TestConfig(max_fail=1, oversubscription=Oversubscription.OFF))

    assert results.records[0].finding is Finding.FAILS_WHEN_FORKED
    assert [record.file.path for record in results.failed] == ["b"]


def test_a_proof_that_is_interrupted_leaves_the_first_failure() -> None:
    script = {"a": [FORKED_FAIL, PASS, PASS, Step(isolation=FORK, hangs=True)]}

    results, listener, _ = execute(script, TestConfig(run_timeout_s=10))

    assert told(listener, "a")[-1] == ("settled FAIL", RerunReason.REFORK, None, None)
    assert [record.file.path for record in results.failed] == ["a"]


@pytest.mark.parametrize(
    "steps",
    [
        [FORKED_FAIL, PASS, FAIL],
        [FORKED_FAIL, PASS, PASS, FORKED],
        [FORKED_FAIL, PASS, PASS, PASS],
        [FORKED_FAIL, PASS, PASS, FAIL],
        [FORKED, FAIL, PASS],
    ],
)
def test_any_other_mixture_is_flaky_and_its_first_attempt_decides(steps: list[Step]) -> None:
    results, listener, _ = execute({"a": steps, "b": [LONG]})

    (record, _) = results.records
    assert record.status is steps[0].status
    assert (record.is_flaky, record.finding) == (True, None)
    assert len(record.attempts) == len(steps)
    assert told(listener, "a")[-1][0].removeprefix("settled ") == steps[0].status


def test_a_pass_within_the_allowed_retries_counts_whatever_is_found_later() -> None:
    for steps in ([FORKED_FAIL, PASS, FAIL], [FORKED_FAIL, PASS, PASS, FORKED]):
        results, _, _ = execute({"a": steps, "b": [LONG]}, TestConfig(retries=1))

        assert [record.file.path for record in results.flaky] == ["a"]
        assert len(results.passed) == 2


def test_a_verification_uses_up_a_retry() -> None:
    once, _, _ = execute({"a": [FORKED_FAIL, FAIL, PASS]}, TestConfig(retries=1))
    twice, listener, _ = execute({"a": [FORKED_FAIL, FAIL, PASS]}, TestConfig(retries=2))

    assert (len(once.failed), len(once.records[0].attempts)) == (1, 2)
    assert told(listener, "a") == [
        ("FAIL", None, RerunReason.VERIFY_FAILURE, None),
        ("FAIL", RerunReason.VERIFY_FAILURE, RerunReason.RETRY, None),
        ("PASS", RerunReason.RETRY, None, None),
    ]
    assert [record.file.path for record in twice.flaky] == ["a"]


def test_an_unfair_forked_attempt_is_neither_a_failure_nor_flaky() -> None:
    results, listener, _ = execute({"a": [Step(isolation=FORK, status=Status.LOST), PASS]})

    assert told(listener, "a")[-1] == ("PASS", RerunReason.VERIFY_FAILURE, None, None)
    assert (len(results.passed), results.flaky) == (1, ())


def test_a_forked_pass_is_verified_while_another_file_runs() -> None:
    results, listener, backend = execute({"a": [FORKED, PASS], "b": [LONG]})

    assert backend.spare == ["a#2"]
    assert told(listener, "a") == [
        ("PASS", None, RerunReason.VERIFY_PASS, None),
        ("PASS", RerunReason.VERIFY_PASS, None, Finding.VERIFIED),
    ]
    # The forked attempt counts: it is how the file runs, and what was told first.
    assert results.records[0].final.isolation is FORK
    assert len(results.passed) == 2
    assert backend.stops == []


def test_a_verified_file_runs_once() -> None:
    _, listener, backend = execute({"a": [FORKED], "b": [LONG]}, confirmed="a")

    assert told(listener, "a") == [("PASS", None, None, None)]
    assert backend.spare == []


def test_a_verification_of_a_pass_waits_for_all_other_files() -> None:
    _, listener, _ = execute({"a": [FORKED, PASS], "b": [LONG], "c": [PASS]})

    starts = [(event.file.path, event.attempt) for event in listener.of(AttemptStarted)]
    assert starts == [("a", 1), ("b", 1), ("c", 1), ("a", 2)]


def test_where_all_files_are_verified_each_is_before_the_files_that_wait() -> None:
    script = {path: [FORKED, PASS] for path in "abc"}
    _, listener, _ = execute(script, TestConfig(verify_isolation=True), slots=1)

    # The longest files start first, so a file that runs twice has the most work left.
    starts = [(event.file.path, event.attempt) for event in listener.of(AttemptStarted)]
    assert starts == [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]


def test_verifications_that_wait_at_the_end_are_withdrawn_and_the_passes_stand() -> None:
    results, listener, backend = execute({"a": [FORKED], "b": [FORKED]}, slots=1)

    for path in "ab":
        assert told(listener, path) == [
            ("PASS", None, RerunReason.VERIFY_PASS, None),
            ("settled PASS", RerunReason.VERIFY_PASS, None, Finding.UNVERIFIED),
        ]
    assert len(results.passed) == 2
    assert len(results.found(Finding.UNVERIFIED)) == 2
    assert backend.stops == []
    assert listener.of(RunStopping) == []
    assert results.duration_s == 2.0


def test_a_verification_that_runs_at_the_end_is_stopped_and_the_pass_stands() -> None:
    results, listener, backend = execute({"a": [FORKED, LONG], "b": [Step(seconds=5)]})

    assert backend.stops == [(StopReason.CANCELLED, 0.0)]
    assert told(listener, "a")[-1] == ("settled PASS", RerunReason.VERIFY_PASS, None, Finding.UNVERIFIED)
    assert results.duration_s == 5.0
    assert (len(results.passed), results.cancelled) == (2, ())


@pytest.mark.parametrize("retries", [0, 1])
def test_a_pass_whose_verification_fails_twice_fails(retries: int) -> None:
    results, listener, backend = execute(
        {"a": [FORKED, FAIL, FAIL], "b": [LONG]}, TestConfig(retries=retries)
    )

    assert told(listener, "a") == [
        ("PASS", None, RerunReason.VERIFY_PASS, None),
        ("FAIL", RerunReason.VERIFY_PASS, RerunReason.RECHECK, None),
        ("FAIL", RerunReason.RECHECK, None, Finding.PASSES_ONLY_FORKED),
    ]
    assert backend.spare == ["a#2"]
    assert [record.file.path for record in results.failed] == ["a"]


def test_a_failed_verification_that_cannot_be_repeated_is_a_failure() -> None:
    script = {"a": [FORKED, FAIL, Step(hangs=True)], "b": [Step(seconds=5)]}

    results, listener, _ = execute(script, TestConfig(run_timeout_s=10))

    assert told(listener, "a")[-1] == ("settled FAIL", RerunReason.RECHECK, None, None)
    assert [record.file.path for record in results.failed] == ["a"]


@pytest.mark.parametrize(
    "ended",
    [
        Step(status=Status.LOST),
        Step(status=Status.START_ERROR),
        Step(status=Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET),
    ],
)
def test_an_unfair_verification_changes_nothing(ended: Step) -> None:
    results, listener, _ = execute({"a": [FORKED, ended], "b": [LONG]}, TestConfig(retries=3))

    assert told(listener, "a")[-1] == ("settled PASS", RerunReason.VERIFY_PASS, None, Finding.UNVERIFIED)
    assert len(results.passed) == 2


def test_a_verification_is_neither_waited_for_nor_slow() -> None:
    script = {"a": [FORKED, Step(seconds=50)], "b": [LONG], "c": [FORKED]}
    _, listener, _ = execute(script, TestConfig(slow_timeout_s=10), samples_usage=True)

    assert {event.file.path for event in listener.of(FileSlow)} == {"b"}
    assert {event.waiting for event in listener.of(UsageSampled)} <= {0, 1}
    assert listener.of(UsageSampled)[-1].waiting == 0


def test_an_interrupt_lets_unverified_passes_stand() -> None:
    backend = ScriptedBackend(script={"a": [FORKED, LONG], "b": [Step(hangs=True)], "c": [FORKED]}, slots=2)

    def on_poll(number: int) -> None:
        if len(backend.spare) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    backend.on_poll = on_poll
    listener = Listener()
    results = make_run(backend, "abc", [listener], TestConfig()).execute()

    assert [record.status for record in results.records] == [Status.PASS, Status.CANCELLED, Status.PASS]
    assert results.interrupted


def test_a_forked_failure_that_cannot_be_verified_any_more_is_no_failure() -> None:
    script = {"a": [FAIL], "b": [Step(status=Status.FAIL, isolation=FORK, seconds=9)]}

    results, _, _ = execute(script, TestConfig(max_fail=1))

    assert [record.status for record in results.records] == [Status.FAIL, Status.CANCELLED]
    assert results.records[1].final.error == "FAIL when forked, and not verified: too many failures"


def test_a_file_that_fails_in_parallel_and_passes_alone_fails_with_a_finding() -> None:
    results, listener, backend = execute({"a": [CROWDED, PASS], "b": [PASS]})

    assert told(listener, "a") == [
        ("FAIL", None, RerunReason.EXCLUSIVE, None),
        ("PASS", RerunReason.EXCLUSIVE, RerunReason.SETTLED, None),
        ("settled FAIL", RerunReason.EXCLUSIVE, None, Finding.FAILS_IN_PARALLEL),
    ]
    assert [task.exclusive for task in backend.tasks] == [False, False, True]
    assert (len(results.passed), len(results.failed)) == (1, 1)
    assert results.flaky == ()
    assert [record.file.path for record in results.found(Finding.FAILS_IN_PARALLEL)] == ["a"]


def test_a_file_that_started_by_oversubscription_and_passes_alone_passes() -> None:
    extra = dataclasses.replace(CROWDED, was_extra=True)

    results, listener, _ = execute({"a": [extra, PASS], "b": [PASS]})

    assert told(listener, "a") == [
        ("FAIL", None, RerunReason.EXCLUSIVE, None),
        ("PASS", RerunReason.EXCLUSIVE, None, Finding.FAILS_IN_PARALLEL),
    ]
    assert len(results.passed) == 2
    assert [record.file.path for record in results.found(Finding.FAILS_IN_PARALLEL)] == ["a"]


def test_a_file_that_fails_alone_too_fails() -> None:
    results, listener, _ = execute({"a": [CROWDED, FAIL], "b": [PASS]})

    assert told(listener, "a")[-1] == ("FAIL", RerunReason.EXCLUSIVE, None, None)
    assert len(results.failed) == 1


def test_no_exclusive_rerun_after_an_earlier_failure_or_without_oversubscription() -> None:
    for config, failed in (
        (TestConfig(), "a"),
        (TestConfig(oversubscription=Oversubscription.OFF), ""),
        (TestConfig(max_fail=1), ""),
    ):
        results, listener, _ = execute({"a": [CROWDED, PASS]}, config, failed=failed)
        assert told(listener, "a") == [("FAIL", None, None, None)]
        assert len(results.failed) == 1


def test_the_number_of_exclusive_reruns_is_bounded() -> None:
    script = {f"{number:02}": [CROWDED, PASS] for number in range(MAX_EXCLUSIVE_RERUNS + 3)}

    results, _, _ = execute(script)

    assert (len(results.found(Finding.FAILS_IN_PARALLEL)), len(results.failed)) == (
        MAX_EXCLUSIVE_RERUNS,
        len(script),
    )


def test_failures_count_until_their_exclusive_rerun_passes() -> None:
    script = {"a": [CROWDED, PASS], "b": [CROWDED], "c": [Step(seconds=3)], "d": [PASS]}

    results, listener, _ = execute(script, TestConfig(max_fail=2), slots=1)

    # The second failure reaches the limit: nothing further starts, and what stands is told.
    assert told(listener, "a") == [
        ("FAIL", None, RerunReason.EXCLUSIVE, None),
        ("settled FAIL", RerunReason.EXCLUSIVE, None, None),
    ]
    assert [record.status for record in results.records] == [
        *(Status.FAIL, Status.FAIL, Status.CANCELLED, Status.CANCELLED)
    ]


def test_a_verification_runs_everything_both_ways_and_lists_each_difference() -> None:
    def case(outcome: Outcome) -> tuple[CaseResult, ...]:
        return (CaseResult(case_id="T.x", outcome=outcome),)

    script = {
        "a": [Step(isolation=FORK, cases=case(Outcome.SKIPPED)), *[Step(cases=case(Outcome.PASSED))] * 2],
        "b": [FORKED, PASS],
        "c": [FORKED_FAIL, PASS, PASS, FORKED_FAIL],
        "d": [Step(note="it says so")],
        "e": [FORKED_FAIL, FAIL],
    }

    results, _, backend = execute(script, TestConfig(verify_isolation=True), confirmed="ab", slots=1)

    assert backend.spare == []
    assert [(found.file.path, found.texts) for found in results.differing] == [
        ("a", ("T.x: skipped when forked, passed when spawned",)),
        ("c", ("FAIL when forked, PASS when spawned",)),
    ]
    assert [record.file.path for record in results.failed] == ["e"]
    assert [record.was_forked for record in results.records] == [True, True, True, False, True]


def passed(*names: str) -> tuple[CaseResult, ...]:
    return tuple(CaseResult(case_id=name, outcome=Outcome.PASSED) for name in names)


@pytest.mark.parametrize(
    ("forked", "spawned", "again", "found"),
    [
        (["x", "at 1"], ["x", "at 2"], ["x", "at 3"], ()),
        (["x"], ["x", "y"], ["x"], ()),
        (["x"], ["x", "y"], ["x", "y"], ("y: ran only when spawned",)),
        (
            ["x", "at 1", "z"],
            ["x", "at 2"],
            ["x", "at 3"],
            ("at 1: ran only when forked", "z: ran only when forked"),
        ),
        (["at 1"], ["x", "at 2"], ["x", "at 3"], ("x: ran only when spawned",)),
    ],
)
def test_tests_that_differ_between_two_spawned_attempts_are_no_difference(
    forked: list[str], spawned: list[str], again: list[str], found: tuple[str, ...]
) -> None:
    steps = [
        Step(isolation=FORK, cases=passed(*forked)),
        *(Step(cases=passed(*names)) for names in (spawned, again)),
    ]

    results, listener, _ = execute({"a": steps}, TestConfig(verify_isolation=True))

    assert [difference.texts for difference in results.differing] == ([found] if found else [])
    assert [reason for _, reason, _, _ in told(listener, "a")] == [
        *(None, RerunReason.VERIFY_PASS, RerunReason.RECHECK)
    ]
    assert (results.failed, results.flaky) == ((), ())


def test_without_verify_isolation_differences_are_not_reported() -> None:
    results, _, _ = execute({"a": [FORKED_FAIL, PASS, PASS, FORKED_FAIL]})

    assert results.differing == ()


@given(
    SCRIPTS,
    st.integers(1, 3),
    CONFIGS,
    st.sampled_from(["", "abc"]),
)
def test_every_file_is_decided_and_reported_once(
    script: dict[str, list[Step]], slots: int, config: TestConfig, confirmed: str
) -> None:
    results, listener, _ = execute(script, config, slots=slots, confirmed=confirmed)

    assert [record.file.path for record in results.records] == list(script)
    decided: dict[str, Status] = {}
    for event in listener.events:
        if isinstance(event, AttemptFinished | VerdictSettled):
            assert event.file.path not in decided
            if isinstance(event, VerdictSettled) or event.rerun_reason is None:
                decided[event.file.path] = event.result.status
    for record in results.records:
        path = record.file.path
        # A confirmation that passes leaves the verdict to the attempt before, a pass too.
        assert decided.get(path, Status.CANCELLED) is record.status
        if path not in decided:
            assert record.status is Status.CANCELLED
        further = [one for one in record.attempts if not one.is_evicted]
        assert len(further) <= 1 + config.retries + 3
        reasons = [
            reason for one, reason in zip(record.attempts, record.reasons, strict=True) if not one.is_evicted
        ]
        assert (
            record.status.is_cancelled
            or not record.is_flaky
            or config.retries
            # A verification failed, and could not be repeated.
            or (record.status.is_failure and reasons[-1] is RerunReason.VERIFY_PASS)
            or (further[0].status.is_pass is record.status.is_pass or further[0].status.is_infrastructure)
        )
    assert len(results.passed) + len(results.failed) + len(results.cancelled) == len(script)
    assert len(results.failed) == sum(status.is_failure for status in decided.values())


ELSEWHERE: Sequence[dict[str, Any]] = [{"worker": "other"}, {"interpreter": "CPython 3.12.1"}]
"""What an attempt differs in that another worker ran, or the same one with another Python."""


def changed(step: Step, changes: Mapping[str, Any]) -> Step:
    return dataclasses.replace(step, **changes)


def test_comparing_attempts_request_the_first_ones_worker_and_retries_none() -> None:
    here = {"worker": "w1"}
    script = {
        "a": [changed(step, here) for step in (FORKED_FAIL, PASS, PASS, FORKED_FAIL)],
        "b": [changed(FORKED, here), changed(PASS, here)],
        "c": [changed(step, here) for step in (FORKED_FAIL, FAIL, FAIL)],
        "d": [*(changed(CROWDED, here) for _ in range(3)), PASS],
    }

    _, _, backend = execute(script, TestConfig(retries=2))

    wanted: dict[str, list[str]] = {}
    for task in backend.tasks:
        wanted.setdefault(task.file_path, []).append(task.wanted_worker)
    assert wanted == {
        "a": ["", "w1", "w1", "w1"],
        "b": ["", "w1"],
        "c": ["", "w1", ""],
        "d": ["", "", "", "w1"],
    }


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_a_verification_on_another_worker_proves_nothing_and_the_first_attempt_counts(
    elsewhere: Mapping[str, Any],
) -> None:
    results, listener, _ = execute({"a": [FORKED_FAIL, changed(PASS, elsewhere)], "b": [PASS]})

    assert told(listener, "a") == [
        ("FAIL", None, RerunReason.VERIFY_FAILURE, None),
        ("PASS", RerunReason.VERIFY_FAILURE, RerunReason.SETTLED, None),
        ("settled FAIL", RerunReason.VERIFY_FAILURE, None, None),
    ]
    assert [record.file.path for record in results.flaky] == ["a"]


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_a_proof_needs_every_attempt_on_one_worker_and_interpreter(
    position: int, elsewhere: Mapping[str, Any]
) -> None:
    steps = [FORKED_FAIL, PASS, PASS, FORKED_FAIL]
    steps[position] = changed(steps[position], elsewhere)

    results, _, _ = execute({"a": steps, "b": [LONG]})

    record = results.records[0]
    assert (record.status, record.finding) == (Status.FAIL, None)
    assert len(record.attempts) == position + 1


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_a_pass_on_another_worker_verifies_nothing_and_a_failure_is_flaky(
    elsewhere: Mapping[str, Any],
) -> None:
    script = {
        "a": [FORKED, changed(PASS, elsewhere)],
        "b": [FORKED, changed(FAIL, elsewhere)],
        "c": [LONG],
    }

    results, _, _ = execute(script)

    assert [(record.status, record.finding) for record in results.records[:2]] == [(Status.PASS, None)] * 2
    assert [record.file.path for record in results.flaky] == ["b"]


@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_a_verification_finds_no_difference_between_workers(elsewhere: Mapping[str, Any]) -> None:
    results, _, _ = execute({"a": [FORKED, changed(FAIL, elsewhere)]}, TestConfig(verify_isolation=True))

    assert results.differing == ()
    assert results.records[0].is_incomparable


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("elsewhere", ELSEWHERE, ids=str)
def test_an_exclusive_pass_on_another_worker_is_no_finding(elsewhere: Mapping[str, Any], extra: bool) -> None:
    crowded = dataclasses.replace(CROWDED, was_extra=extra)

    results, _, _ = execute({"a": [crowded, changed(PASS, elsewhere)], "b": [PASS]})

    record = results.records[0]
    assert (record.status, record.finding, record.is_flaky) == (Status.FAIL, None, True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_attempt_killed_from_outside_proves_nothing(number: int) -> None:
    killed = {"status": Status.CRASH, "signal": number}
    script = {
        "a": [changed(FORKED, killed), PASS, PASS, changed(FORKED, killed)],
        "b": [changed(CROWDED, killed), PASS],
        "c": [FORKED, changed(PASS, killed), changed(PASS, killed)],
        "d": [FORKED_FAIL, PASS, PASS, changed(FORKED, killed)],
        "e": [LONG],
    }

    results, _, _ = execute(script)

    found = [(record.status, record.finding, record.is_flaky) for record in results.records[:4]]
    assert found == [
        (Status.CRASH, None, True),
        (Status.CRASH, None, True),
        (Status.PASS, None, True),
        (Status.CRASH, None, True),
    ]


def test_a_crash_of_its_own_and_a_signal_of_the_run_still_prove_that_forking_is_the_cause() -> None:
    crash = changed(FORKED, {"status": Status.CRASH, "signal": signal.SIGSEGV})
    late = changed(
        FORKED, {"status": Status.TIMEOUT, "signal": signal.SIGTERM, "stop_reason": StopReason.TIMEOUT}
    )

    results, _, _ = execute({"a": [crash, PASS, PASS, crash], "b": [late, PASS, PASS, late]})

    assert [record.finding for record in results.records] == [Finding.FAILS_WHEN_FORKED] * 2
