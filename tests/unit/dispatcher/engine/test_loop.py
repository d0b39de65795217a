"""Tests a scripted run: reruns, stopping, events, and one result for every file."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import TaskStarted
from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    FileSlow,
    Notice,
    RunFinished,
    RunStarted,
    RunStopping,
    StopCause,
    UsageSampled,
)
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import TestResults, exit_code_of
from dispatcher.model.shard_option import Shard
from passmuster.model.errors import InfrastructureError
from passmuster.model.result import HOLDS_NO_TESTS, LOCAL_WORKER, TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask
from tests.unit.dispatcher.engine.scripted_backend import Listener, ScriptedBackend, Step, make_run, plan_of

FAIL, CRASH = Step(status=Status.FAIL), Step(status=Status.CRASH)
EVICTED = Step(status=Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET)
HANGS = Step(hangs=True)


def execute(
    backend: ScriptedBackend, paths: Sequence[str] = "abc", config: TestConfig | None = None
) -> tuple[TestResults, Listener]:
    listener = Listener()
    results = make_run(backend, list(paths), [listener], config or TestConfig()).execute()
    return results, listener


def statuses(results: TestResults) -> dict[str, Status]:
    return {record.file.path: record.status for record in results.records}


def test_a_run_reports_its_start_every_file_and_its_end() -> None:
    backend = ScriptedBackend(script={"b": [FAIL]}, notices=("a place",))

    results, listener = execute(backend)

    assert statuses(results) == {"a": Status.PASS, "b": Status.FAIL, "c": Status.PASS}
    assert listener.names() == [
        *("RunStarted", "Notice", "Notice"),
        *("AttemptStarted", "AttemptFinished") * 3,
        "RunFinished",
    ]
    assert [notice.text for notice in listener.of(Notice)] == ["a notice", "a place"]
    assert listener.of(RunStarted)[0].started_at == 1000.0
    assert listener.of(RunFinished)[0].results == results
    assert [event.at_s for event in listener.of(AttemptFinished)] == [1.0, 2.0, 3.0]
    assert (results.duration_s, results.peak_bytes, results.interrupted) == (3.0, 7, False)


@pytest.mark.parametrize(("worker", "own_s"), [(LOCAL_WORKER, 3.0), ("other-machine", None)])
def test_cpu_time_that_no_attempt_took_is_the_runs_own_where_all_ran_here(
    worker: str, own_s: float | None
) -> None:
    steps = [Step(status=Status.FAIL, cpu_s=2.5, worker=worker), Step(cpu_s=1.5, worker=worker)]
    backend = ScriptedBackend(script={"a": steps})

    results = make_run(backend, ["a"], [], TestConfig(retries=1), cpu_s=7.0).execute()

    assert (results.tests_cpu_s, results.own_cpu_s) == (4.0, own_s)


def test_a_failed_file_is_retried_at_once_and_is_flaky_if_it_then_passes() -> None:
    backend = ScriptedBackend(script={"a": [FAIL, CRASH]})

    results, listener = execute(backend, config=TestConfig(retries=2))

    assert [record.file.path for record in results.flaky] == ["a"]
    assert [event.rerun_reason for event in listener.of(AttemptFinished)][:3] == [
        RerunReason.RETRY,
        RerunReason.RETRY,
        None,
    ]
    assert backend.submitted[3:] == [("a#2", True), ("a#3", True)]


def test_retries_end_and_the_last_result_counts() -> None:
    results, _ = execute(ScriptedBackend(script={"a": [FAIL, CRASH, FAIL]}), "a", TestConfig(retries=1))

    [record] = results.records
    assert [attempt.status for attempt in record.attempts] == [Status.FAIL, Status.CRASH]
    assert not record.is_flaky


def test_an_eviction_costs_no_retry_and_the_second_one_makes_the_file_exclusive() -> None:
    backend = ScriptedBackend(script={"a": [EVICTED, EVICTED, FAIL]})

    results, listener = execute(backend, "ab", TestConfig(retries=1))

    assert statuses(results) == {"a": Status.PASS, "b": Status.PASS}
    agains = [event.rerun_reason for event in listener.of(AttemptFinished) if event.file.path == "a"]
    assert agains == [RerunReason.EVICTED, RerunReason.EVICTED, RerunReason.RETRY, None]
    # Alone means after all others; only who does not run alone goes first.
    assert backend.submitted[2:] == [("a#2", True), ("a#3", False), ("a#4", False)]


def test_after_too_many_failures_nothing_starts_and_running_files_finish() -> None:
    backend = ScriptedBackend(script={"a": [FAIL], "b": [Step(seconds=5)]}, slots=2)

    results, listener = execute(backend, "abcd", TestConfig(max_fail=1, retries=0))

    assert statuses(results)["b"] is Status.PASS
    assert statuses(results)["d"] is Status.CANCELLED
    assert results.records[3].final.error == "not run: too many failures"
    assert [event.cause for event in listener.of(RunStopping)] == [StopCause.MAX_FAIL]
    assert backend.stops == []
    assert not results.interrupted


def test_a_file_that_fails_while_the_run_stops_is_not_retried() -> None:
    backend = ScriptedBackend(script={"a": [FAIL, FAIL], "b": [Step(status=Status.FAIL, seconds=9)]}, slots=2)

    results, _ = execute(backend, "ab", TestConfig(max_fail=1, retries=1))

    assert [len(record.attempts) for record in results.records] == [2, 1]


def test_running_files_are_stopped_when_the_run_times_out() -> None:
    backend = ScriptedBackend(script={"a": [HANGS]})

    results, listener = execute(backend, "ab", TestConfig(run_timeout_s=10, grace_period_s=3))

    assert backend.stops == [(StopReason.RUN_TIMEOUT, 3)]
    assert set(statuses(results).values()) == {Status.CANCELLED}
    assert [(event.at_s, event.cause) for event in listener.of(RunStopping)] == [(10, StopCause.RUN_TIMEOUT)]
    assert results.duration_s == 13


def test_an_eviction_while_the_run_stops_is_a_cancelled_file() -> None:
    backend = ScriptedBackend(script={"a": [FAIL], "b": [EVICTED]}, slots=2)
    backend.script = {
        "a": [FAIL],
        "b": [Step(status=Status.MEMORY, seconds=5, stop_reason=EVICTED.stop_reason)],
    }

    results, _ = execute(backend, "ab", TestConfig(max_fail=1))

    assert statuses(results) == {"a": Status.FAIL, "b": Status.CANCELLED}


def signal_at(*polls: int) -> ScriptedBackend:
    """Return a backend during whose polls this process gets real signals."""

    def on_poll(number: int) -> None:
        if number in polls:
            os.kill(os.getpid(), signal.SIGTERM if number == polls[0] else signal.SIGINT)

    return ScriptedBackend(script={"a": [HANGS]}, on_poll=on_poll)


def test_an_interrupt_ends_the_run_with_grace() -> None:
    backend = signal_at(3)

    results, listener = execute(backend, "ab", TestConfig(grace_period_s=4))

    assert backend.stops == [(StopReason.CANCELLED, 4)]
    assert results.interrupted
    assert set(statuses(results).values()) == {Status.CANCELLED}
    assert [record.started for record in results.records] == [True, False]
    assert listener.names()[-1] == "RunFinished"
    assert [event.cause for event in listener.of(RunStopping)] == [StopCause.INTERRUPT]


def test_a_second_interrupt_kills_at_once_and_a_third_changes_nothing() -> None:
    backend = signal_at(3, 4, 5)

    results, _ = execute(backend, "ab", TestConfig(grace_period_s=400))

    assert backend.stops == [(StopReason.CANCELLED, 400), (StopReason.CANCELLED, 0)]
    assert results.interrupted


def test_an_interrupt_overrides_a_run_that_waits_for_its_last_files() -> None:
    backend = ScriptedBackend(script={"a": [FAIL], "b": [HANGS]}, slots=2)
    backend.on_poll = lambda number: os.kill(os.getpid(), signal.SIGINT) if number == 8 else None

    results, listener = execute(backend, "ab", TestConfig(max_fail=1))

    assert [event.cause for event in listener.of(RunStopping)] == [StopCause.MAX_FAIL, StopCause.INTERRUPT]
    assert results.interrupted


def test_the_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    execute(signal_at(3))

    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before


def test_a_backend_that_breaks_ends_the_run_and_is_named() -> None:
    backend = ScriptedBackend(script={"a": [HANGS]})

    def on_poll(number: int) -> None:
        backend.trouble = InfrastructureError("the broker is gone") if number == 3 else None

    backend.on_poll = on_poll
    listener = Listener()
    run = make_run(backend, ["a", "b"], [listener], TestConfig())
    results = run.execute()

    assert run.breakdown == "the broker is gone"
    assert run.lost_reports == ()
    assert [event.cause for event in listener.of(RunStopping)] == [StopCause.BROKEN]
    assert "the broker is gone" in [notice.text for notice in listener.of(Notice)]
    assert set(statuses(results).values()) == {Status.CANCELLED}
    assert not results.interrupted


def test_a_slow_file_is_reported_once_for_each_attempt() -> None:
    backend = ScriptedBackend(script={"a": [Step(status=Status.FAIL, seconds=30), Step(seconds=30)]})

    _, listener = execute(backend, "ab", TestConfig(slow_timeout_s=10, retries=1))

    assert [(event.file.path, event.seconds) for event in listener.of(FileSlow)] == [("a", 10), ("a", 10)]


@pytest.mark.parametrize("wanted", [True, False])
def test_usage_is_sampled_only_if_a_reporter_wants_it(wanted: bool) -> None:
    listener = Listener()
    make_run(ScriptedBackend(), "abc", [listener], TestConfig(), samples_usage=wanted).execute()

    samples = listener.of(UsageSampled)
    assert bool(samples) is wanted
    assert all(later.at_s - sooner.at_s >= 0.25 for sooner, later in pairwise(samples))
    assert [sample.waiting for sample in samples[:1]] == [2][: len(samples)]


@pytest.mark.parametrize(("allowed", "status"), [(True, Status.PASS), (False, Status.NO_TESTS)])
def test_a_file_without_tests_passes_only_where_that_is_allowed(allowed: bool, status: Status) -> None:
    backend = ScriptedBackend(script={"a": [Step(status=Status.NO_TESTS)]})

    results, _ = execute(backend, "a", TestConfig(allow_no_tests=allowed))

    assert statuses(results) == {"a": status}
    assert results.records[0].final.error == ""


def test_a_module_of_helpers_fails_only_where_the_user_named_it() -> None:
    empty = Step(status=Status.NO_TESTS, verdict_note=HOLDS_NO_TESTS)
    backend = ScriptedBackend(script={"a": [empty], "b": [empty]})
    run = make_run(backend, "abc", [], TestConfig(), plan_of(*"abc", named="b"))

    results = run.execute()

    assert statuses(results) == {"a": Status.PASS, "b": Status.NO_TESTS, "c": Status.PASS}
    assert [record.file.path for record in results.without_tests] == ["a"]
    assert [record.file.path for record in results.passed] == ["c"]


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (TestConfig(), ExitCode.NO_TESTS),
        (TestConfig(allow_no_tests=True), ExitCode.OK),
        (TestConfig(shard=Shard(number=1, total=2)), ExitCode.OK),
    ],
)
def test_a_run_in_which_no_test_ran_is_not_green(config: TestConfig, code: ExitCode) -> None:
    deselected = Step(verdict_note="all 2 test(s) deselected")
    empty = Step(status=Status.NO_TESTS, verdict_note=HOLDS_NO_TESTS)

    nothing, _ = execute(ScriptedBackend(script={"a": [deselected], "b": [empty]}), "ab", config)
    something, _ = execute(ScriptedBackend(script={"a": [deselected], "b": [empty]}), "abc", config)

    assert exit_code_of(nothing) is code
    assert exit_code_of(something) is ExitCode.OK


def test_a_reporter_that_fails_is_left_out_and_named() -> None:
    bad, worse, good = Listener(fails_at=AttemptStarted), Listener(fails_at=object), Listener()
    run = make_run(ScriptedBackend(), ["a", "b"], [bad, worse, good], TestConfig())

    results = run.execute()

    assert len(results.passed) == 2
    assert run.breakdown == ""
    assert run.lost_reports == ("Listener failed and was dropped: OSError: disk full",) * 2
    assert len(worse.events) == 1
    assert len(good.of(AttemptFinished)) == 2
    assert bad.names()[-1] == "AttemptStarted"


def test_reporters_that_all_fail_at_once_do_not_end_the_run() -> None:
    run = make_run(ScriptedBackend(), ["a"], [Listener(fails_at=object) for _ in range(3)], TestConfig())

    assert len(run.execute().passed) == 1
    assert len(run.lost_reports) == 3


def test_late_and_repeated_results_are_neither_counted_nor_reported() -> None:
    task = TestTask(run_id="r", file_path="a")
    backend = ScriptedBackend(script={"a": [FAIL]}, slots=1)

    def on_poll(number: int) -> None:
        if number == 3:  # The second attempt has been submitted, and the first is answered again.
            backend.extra = [ScriptedBackend.finished(task, Status.CRASH)]
        if number == 6:
            backend.extra = [ScriptedBackend.finished(task, Status.CRASH), TaskStarted(task=task)]

    backend.on_poll = on_poll
    results, listener = execute(backend, "ab", TestConfig(retries=1, slow_timeout_s=1.5))

    assert [attempt.status for attempt in results.records[0].attempts] == [Status.FAIL, Status.PASS]
    assert len(listener.of(AttemptFinished)) == 3
    assert [name for name, _ in backend.submitted] == ["a#1", "b#1", "a#2"]
    assert listener.of(FileSlow) == []
    assert len(listener.of(AttemptStarted)) == 3


def test_a_plan_without_files_ends_at_once() -> None:
    results, listener = execute(ScriptedBackend(), "")

    assert results.records == ()
    assert listener.names() == ["RunStarted", "Notice", "RunFinished"]


STEPS = st.builds(
    Step,
    status=st.sampled_from(list(Status)),
    seconds=st.floats(0, 30),
    stop_reason=st.none() | st.just(StopReason.MEMORY_BUDGET),
)


@given(
    st.dictionaries(st.sampled_from("abcde"), st.lists(STEPS, max_size=8), min_size=1),
    st.integers(1, 3),
    st.integers(0, 3),
    st.none() | st.integers(1, 3),
    st.none() | st.floats(0.1, 60),
)
def test_every_file_of_the_plan_is_reported_and_counted_once(
    script: dict[str, list[Step]], slots: int, retries: int, max_fail: int | None, run_timeout_s: float | None
) -> None:
    config = TestConfig(retries=retries, max_fail=max_fail, run_timeout_s=run_timeout_s)
    results, listener = execute(ScriptedBackend(script=script, slots=slots), sorted(script), config)

    assert [record.file.path for record in results.records] == sorted(script)
    finals: dict[str, TestResult] = {}
    for event in listener.of(AttemptFinished):
        assert event.file.path not in finals
        if event.rerun_reason is None:
            finals[event.file.path] = event.result
    for record in results.records:
        assert finals.get(record.file.path, record.final).status is record.status
        assert record.file.path in finals or record.status is Status.CANCELLED
        assert [attempt.attempt for attempt in record.attempts] == list(range(1, len(record.attempts) + 1))
