"""A scripted run of which one file runs in parts: what the run sees of it, and who decides when one fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import TaskFinished
from dispatcher.engine.parts_backend import PartsBackend
from dispatcher.model.events import AttemptFinished, AttemptStarted
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import Finding, TestResults
from passmuster.model.errors import InfrastructureError
from passmuster.model.executor import FileUsage
from passmuster.model.status import Isolation, Status, StopReason
from passmuster.model.test_selection import FilePart
from tests.unit.dispatcher.engine.scripted_backend import (
    USAGE,
    Listener,
    ScriptedBackend,
    Step,
    make_run,
    plan_of,
)

PASS, FAIL, CRASH = Step(), Step(status=Status.FAIL), Step(status=Status.CRASH)
WHOLE, REPART = RerunReason.WHOLE, RerunReason.REPART
PARTS = tuple(FilePart(number=number, total=2, share=0.5) for number in (1, 2))


def execute(
    script: Mapping[str, Sequence[Step]], config: TestConfig | None = None, *, slots: int = 2
) -> tuple[TestResults, Listener, ScriptedBackend]:
    """Run `a` in two parts, whose steps are those of `a/1` and `a/2`, and `b` as a whole."""
    backend, listener = ScriptedBackend(script=script, slots=slots), Listener()
    plan = plan_of("a", "b")
    first, other = plan.files
    first = replace(first, task=replace(first.task, parts=PARTS))
    plan = replace(plan, files=(first, other))
    run = make_run(backend, ["a", "b"], [listener], config or TestConfig(), plan, wrap=PartsBackend)
    return run.execute(), listener, backend


def told(listener: Listener) -> list[tuple[str, RerunReason | None]]:
    """Return how each attempt at `a` ended, and what it was for."""
    finished = [event for event in listener.of(AttemptFinished) if event.file.path == "a"]
    return [(str(event.result.status), event.attempt_reason) for event in finished]


def test_the_run_sees_one_file_that_starts_and_ends_once() -> None:
    results, listener, backend = execute({"a/1": [Step(seconds=1)], "a/2": [Step(seconds=5)]}, slots=3)

    assert backend.submitted[:2] == [(f"a/{part.name}#1", False) for part in PARTS]
    assert [event.file.path for event in listener.of(AttemptStarted)] == ["a", "b"]
    assert told(listener) == [("PASS", None)]
    assert [(one.file.path, one.status) for one in results.records] == [
        ("a", Status.PASS),
        ("b", Status.PASS),
    ]


def test_a_failure_that_the_whole_file_shows_too_is_its_verdict() -> None:
    results, listener, backend = execute({"a/2": [FAIL], "a": [PASS, CRASH]})

    assert told(listener) == [("FAIL", None), ("CRASH", WHOLE)]
    (record,) = results.failed
    assert (record.status, record.finding, record.is_flaky) == (Status.CRASH, None, False)
    assert backend.tasks[-1].isolation is Isolation.SPAWN


def test_a_file_that_fails_only_in_parts_passes_and_the_finding_says_so() -> None:
    results, listener, _ = execute({"a/2": [FAIL, PASS, FAIL], "a": [PASS, PASS]})

    assert told(listener) == [("FAIL", None), ("PASS", WHOLE), ("FAIL", REPART)]
    (record,) = results.found(Finding.FAILS_IN_PARTS)
    assert (record.status, record.is_flaky, results.failed) == (Status.PASS, False, ())


def test_a_file_that_passes_in_parts_the_second_time_is_flaky_and_stays_failed() -> None:
    results, listener, _ = execute({"a/2": [FAIL, PASS, PASS], "a": [PASS, PASS]})

    assert told(listener) == [("FAIL", None), ("PASS", WHOLE), ("PASS", REPART)]
    (record,) = results.failed
    assert (record.status, record.finding, record.is_flaky) == (Status.FAIL, None, True)


@pytest.mark.parametrize("whole", [PASS, FAIL])
def test_parts_that_are_not_the_file_leave_the_verdict_to_the_whole_file(whole: Step) -> None:
    results, listener, _ = execute({"a/2": [Step(more_collected=1)], "a": [PASS, whole]})

    assert told(listener) == [("START_ERROR", None), (str(whole.status), WHOLE)]
    (record,) = results.found(Finding.INDIVISIBLE)
    assert (record.status, record.is_flaky) == (whole.status, False)


def test_retries_run_the_whole_file_and_count_the_parts_as_one_attempt() -> None:
    script = {"a/2": [FAIL], "a": [PASS, FAIL, PASS]}

    once, _, _ = execute(script, TestConfig(retries=1))
    twice, listener, _ = execute(script, TestConfig(retries=2))

    assert [one.file.path for one in once.failed] == ["a"]
    assert told(listener)[-1] == ("PASS", RerunReason.RETRY)
    assert twice.failed == ()


def test_an_evicted_part_reruns_the_whole_file_and_is_no_failure() -> None:
    evicted = Step(status=Status.MEMORY, stop_reason=StopReason.MEMORY_BUDGET)

    results, listener, _ = execute({"a/1": [evicted]})

    assert told(listener) == [("MEMORY", None), ("PASS", None)]
    assert (results.failed, results.flaky) == ((), ())


def test_a_run_that_stops_leaves_a_failure_in_parts_undecided() -> None:
    script = {"a/1": [Step(seconds=20)], "a/2": [FAIL], "b": [Step(status=Status.FAIL, seconds=5)]}

    results, listener, _ = execute(script, TestConfig(max_fail=1), slots=3)

    assert told(listener) == [("CANCELLED", None)]
    (record,) = results.cancelled
    assert record.final.error == "FAIL in parts, and not decided by the whole file: too many failures"


def test_a_stopped_part_cancels_its_file() -> None:
    script = {"a/1": [Step(seconds=20)], "a/2": [PASS]}

    results, listener, _ = execute(script, TestConfig(run_timeout_s=9), slots=3)

    assert told(listener) == [("CANCELLED", None)]
    assert [one.file.path for one in results.cancelled] == ["a"]


def test_a_part_that_has_not_started_when_the_run_stops_cancels_its_file() -> None:
    script = {"a/1": [Step(seconds=20)], "b": [PASS]}

    results, listener, backend = execute(script, TestConfig(run_timeout_s=9), slots=1)

    assert told(listener) == [("CANCELLED", None)]
    assert [one.status for one in results.records] == [Status.CANCELLED] * 2
    assert len(backend.tasks) == 3


def test_an_interrupt_before_any_part_has_started_cancels_the_file_once() -> None:
    backend, listener = ScriptedBackend(slots=1), Listener()
    backend.on_poll = lambda number: os.kill(os.getpid(), signal.SIGINT) if number == 2 else None
    plan = plan_of("b", "a")
    other, first = plan.files
    plan = replace(plan, files=(other, replace(first, task=replace(first.task, parts=PARTS))))

    results = make_run(backend, ["b", "a"], [listener], TestConfig(), plan, wrap=PartsBackend).execute()

    assert [one.started for one in results.records] == [True, False]
    assert results.records[1].final.error == "not run: interrupted"


def test_a_backend_that_fails_loses_no_file_whose_parts_were_cancelled() -> None:
    backend = ScriptedBackend(script={"a/1": [Step(seconds=1)]}, slots=1)
    parts = PartsBackend(backend)
    parts.submit([replace(plan_of("a").files[0].task, parts=PARTS)])
    for _ in range(2):
        parts.poll(9)  # The first part starts, and ends.
    assert parts.withdraw() == ()
    backend.trouble = InfrastructureError("no worker")

    with pytest.raises(InfrastructureError):
        parts.poll(0)

    assert [type(event) for event in parts.poll(0)] == [TaskFinished]


def test_the_use_of_parts_is_added_up() -> None:
    files = tuple(
        FileUsage(attempt_id=f"r:a/{number}", file_path="a", slot=number, seconds=number, used_bytes=10)
        for number in (1, 2)
    )
    backend = ScriptedBackend()
    backend.usage = lambda: replace(USAGE, files=files)  # type: ignore[method-assign]
    parts = PartsBackend(backend)
    parts.submit([replace(plan_of("a").files[0].task, parts=PARTS)])

    (used,) = parts.usage().files

    assert (used.file_path, used.seconds, used.used_bytes) == ("a", 2, 20)
    assert (used.finished_parts, used.parts) == (0, len(PARTS))
