"""A message's way through a worker: what is run, put back, and submitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.test_selection import TestSelection
from passmuster.wire.broker_keys import OUTAGE_S
from passmuster.wire.broker_messages import ClaimReply, RenewReply, result_kind
from passmuster.wire.codec import TASK_CODEC
from passmuster.wire.envelope import Envelope
from tests.unit.worker.queue.scripted_queue import NAME, BrokerAwayError, ScriptedWorker, task
from worker.queue.admission import ADMIT_S
from worker.queue.in_flight import AbortReason
from worker.queue.task_handler import PUT_BACK_S

AWAY = BrokerAwayError()
CANCELLED = TestResult(file_path="ok.py", status=Status.CANCELLED, stop_reason=StopReason.CANCELLED)


@pytest.fixture
def worker(tmp_path: Path) -> ScriptedWorker:
    return ScriptedWorker(tmp_path)


def test_a_file_is_claimed_run_and_finished(worker: ScriptedWorker) -> None:
    assert worker.files.handle_message(worker.message(task(attempt=1), delivery=103))

    assert worker.record.asked == [("claim", "ok.py", 103, NAME), ("finish", "ok.py", 103, NAME)]
    assert (worker.result().status, worker.result().worker) == (Status.PASS, NAME)
    assert worker.in_flight.finished == 1
    assert worker.executor.released == []


def test_a_file_is_claimed_only_while_it_runs(worker: ScriptedWorker) -> None:
    seen: list[int] = []
    worker.executor.while_running = lambda: seen.append(len(worker.in_flight.claimed()))

    worker.files.handle_message(worker.message(task()))

    assert (seen, worker.in_flight.claimed()) == ([1], ())


@pytest.mark.parametrize(
    "text",
    [
        "no message",
        Envelope("another secret").sign("task", TASK_CODEC.encode(task()), "101"),
        Envelope("a secret").sign(result_kind("run"), TASK_CODEC.encode(task()), "101"),
        Envelope("a secret").sign("task", TASK_CODEC.encode(task())),
        Envelope("a secret").sign("task", TASK_CODEC.encode(task()), "-1"),
        Envelope("a secret").sign("task", "{}", "101"),
    ],
)
def test_an_invalid_message_is_dropped_and_logged(worker: ScriptedWorker, text: str) -> None:
    assert worker.files.handle_message(text)

    assert worker.record.asked == []
    assert [line.startswith("a message was dropped: ") for line in worker.lines] == [True]


def test_a_file_that_is_not_admitted_in_time_is_put_back_unclaimed(worker: ScriptedWorker) -> None:
    worker.executor.refuses = 1_000_000

    assert not worker.files.handle_message(worker.message(task()))

    assert worker.record.asked == []
    assert ADMIT_S <= worker.clock.now < 2 * ADMIT_S


def test_a_file_waits_for_admission(worker: ScriptedWorker) -> None:
    worker.executor.refuses = 3

    assert worker.files.handle_message(worker.message(task()))

    assert worker.result().status is Status.PASS


def test_the_slot_of_an_unclaimed_file_is_released(worker: ScriptedWorker) -> None:
    worker.record.claims = [ClaimReply.GONE]

    assert worker.files.handle_message(worker.message(task()))

    assert worker.executor.released == ["ok.py"]
    assert worker.record.bodies == []


@pytest.mark.parametrize(
    ("renewals", "runs"),
    [([RenewReply.HELD], True), ([AWAY, RenewReply.HELD], True), ([RenewReply.LOST], False)],
)
def test_a_claim_without_a_reply_is_checked_by_a_renewal(
    worker: ScriptedWorker, renewals: list[RenewReply | Exception], runs: bool
) -> None:
    worker.record.claims, worker.record.renewals = [AWAY], renewals

    assert worker.files.handle_message(worker.message(task()))

    assert (len(worker.record.bodies) == 1) is runs


def test_a_claim_without_a_reply_is_abandoned_before_its_lease_expires(worker: ScriptedWorker) -> None:
    worker.record.claims, worker.record.renewals = [AWAY], [AWAY]

    assert not worker.files.handle_message(worker.message(task()))

    assert worker.executor.released == ["ok.py"]
    assert worker.clock.now < 10


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"file_path": "gone.py"}, "does not exist any more"),
        (
            {"environment": (("PATH", "/evil"), ("PASSMUSTER_X", "1"))},
            "does not allow a task to set PATH: start it with",
        ),
        (
            {"selection": TestSelection(arguments=("-v", "-pevil"))},
            "does not accept the pytest argument '-pevil'",
        ),
    ],
)
def test_a_forbidden_task_is_refused_with_a_result(
    worker: ScriptedWorker, changes: dict[str, Any], complaint: str
) -> None:
    assert worker.files.handle_message(worker.message(task(**changes)))

    assert worker.executor.admitted == []
    assert worker.result().status is Status.START_ERROR
    assert complaint in worker.result().error


def test_allowed_variables_may_be_set(tmp_path: Path) -> None:
    worker = ScriptedWorker(tmp_path, allowed=["COLUMNS"])

    worker.files.handle_message(worker.message(task(environment=(("COLUMNS", "80"), ("PASSMUSTER_X", None)))))

    assert worker.result().status is Status.PASS


def test_a_second_copy_of_a_running_attempt_is_put_back(worker: ScriptedWorker) -> None:
    answers: list[bool] = []
    worker.executor.while_running = lambda: answers.append(
        worker.files.handle_message(worker.message(task(), delivery=102))
    )

    assert worker.files.handle_message(worker.message(task(), delivery=101))

    assert answers == [False]
    assert worker.record.words == ["claim", "finish"]


def test_a_lost_file_sends_nothing(worker: ScriptedWorker) -> None:
    worker.executor.result = CANCELLED
    worker.executor.while_running = lambda: worker.in_flight.mark_aborted(task().attempt_id, AbortReason.LOST)

    assert worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim"]


def test_a_cancelled_file_sends_its_result(worker: ScriptedWorker) -> None:
    worker.executor.result = CANCELLED
    worker.executor.while_running = lambda: worker.in_flight.mark_aborted(
        task().attempt_id, AbortReason.CANCELLED
    )

    worker.files.handle_message(worker.message(task()))

    assert worker.result().status is Status.CANCELLED


def test_a_file_stopped_by_the_shutdown_is_released(worker: ScriptedWorker) -> None:
    worker.executor.result = CANCELLED
    worker.executor.while_running = worker.in_flight.mark_stopping

    assert worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "release"]
    assert worker.in_flight.finished == 0


def test_a_file_that_finished_by_itself_counts_during_the_shutdown(worker: ScriptedWorker) -> None:
    worker.executor.while_running = worker.in_flight.mark_stopping

    worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "finish"]


def test_a_closed_worker_accepts_no_message(worker: ScriptedWorker) -> None:
    worker.in_flight.close()

    assert not worker.files.handle_message(worker.message(task()))

    assert worker.record.asked == []


def test_a_result_is_kept_while_the_broker_is_unavailable_or_lost_the_run(worker: ScriptedWorker) -> None:
    worker.record.finishes = [AWAY, False, True]
    worker.record.epochs = [None]

    assert worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "finish", "finish", "finish"]
    assert worker.lines == ["ok.py: PASS after 0.00 s"]


def test_a_result_that_did_not_count_is_not_sent_again(worker: ScriptedWorker) -> None:
    worker.record.finishes = [False]

    worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "finish"]


@pytest.mark.parametrize(
    ("finishes", "problem"), [(AWAY, "the broker is unavailable"), (False, "the broker does not accept it")]
)
def test_a_result_is_not_kept_forever(
    worker: ScriptedWorker, finishes: Exception | bool, problem: str
) -> None:
    worker.record.finishes = [finishes]
    worker.record.epochs = [None]

    assert worker.files.handle_message(worker.message(task()))

    assert OUTAGE_S <= worker.clock.now < OUTAGE_S + 5
    assert worker.lines[-1] == f"ok.py: its result was discarded: {problem}"


def test_an_obsolete_message_is_not_put_back(worker: ScriptedWorker) -> None:
    worker.executor.refuses = 1_000_000
    worker.record.waiting = [False]

    assert worker.files.handle_message(worker.message(task()))

    assert worker.record.asked == []


def test_a_message_is_put_back_after_a_pause_while_the_broker_is_unavailable(worker: ScriptedWorker) -> None:
    worker.spec = None
    worker.record.waiting = [AWAY]

    assert not worker.files.handle_message(worker.message(task()))

    assert worker.clock.now >= PUT_BACK_S


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_file_of_a_run_that_is_not_served_is_not_touched(worker: ScriptedWorker, is_wanted: bool) -> None:
    worker.spec = None
    worker.record.waiting = [is_wanted]

    assert worker.files.handle_message(worker.message(task())) is not is_wanted

    assert worker.executor.admitted == []
    assert worker.record.asked == []


FAULT = TestResult(file_path="ok.py", status=Status.START_ERROR, error="no interpreter", is_worker_fault=True)


def test_a_worker_that_never_ran_a_file_returns_it_and_fails(worker: ScriptedWorker) -> None:
    worker.executor.result = FAULT

    assert worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "release"]
    assert worker.failures == ["no interpreter"]
    assert worker.in_flight.is_closed
    assert worker.lines == ["ok.py: returns a file: no interpreter"]
    assert worker.in_flight.finished == 0


def test_a_worker_that_ran_files_fails_at_the_second_consecutive_failure_to_start(
    worker: ScriptedWorker,
) -> None:
    fine = worker.executor.result
    for result in (fine, FAULT, fine, FAULT):
        worker.executor.result = result
        worker.files.handle_message(worker.message(task()))
    assert worker.failures == []
    assert not worker.in_flight.is_closed

    worker.files.handle_message(worker.message(task()))

    assert worker.failures == ["no interpreter"]
    assert worker.record.words.count("release") == 3
    # Metrics count also what could not start.
    assert worker.counted == [Status.PASS, Status.START_ERROR, Status.PASS, *[Status.START_ERROR] * 2]


def test_an_unreadable_file_is_not_the_worker_s_failure(worker: ScriptedWorker) -> None:
    worker.executor.result = TestResult(
        file_path="ok.py", status=Status.START_ERROR, error="cannot read the file"
    )

    for _ in range(3):
        worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "finish"] * 3
    assert worker.failures == []


def test_a_failure_to_start_during_the_shutdown_does_not_count(worker: ScriptedWorker) -> None:
    worker.executor.result = FAULT
    worker.executor.while_running = worker.in_flight.mark_stopping

    worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "release"]
    assert worker.failures == []


def test_no_file_starts_while_the_disk_is_full(worker: ScriptedWorker) -> None:
    worker.files.handle_message(worker.message(task()))
    worker.free_bytes = 1000

    assert not worker.files.handle_message(worker.message(task()))
    assert worker.failures == []
    assert not worker.files.handle_message(worker.message(task()))

    assert worker.record.words == ["claim", "finish"]
    assert "free some space there" in worker.failures[0]


def test_a_returned_file_is_no_longer_renewed(worker: ScriptedWorker) -> None:
    seen: list[bool] = []
    worker.executor.result = FAULT
    worker.record.while_releasing = lambda: seen.append(worker.in_flight.has_claimed(task().attempt_id))

    worker.files.handle_message(worker.message(task()))

    assert seen == [False]


def test_an_internal_error_gives_a_result_too(worker: ScriptedWorker) -> None:
    worker.executor.bug = ZeroDivisionError("a bug")

    assert worker.files.handle_message(worker.message(task()))

    assert worker.result().status is Status.LOST
    assert "ZeroDivisionError: a bug" in worker.result().output


def test_a_result_that_cannot_be_sent_is_replaced_by_an_error(worker: ScriptedWorker, tmp_path: Path) -> None:
    gone = str(tmp_path / "coverage" / "gone")
    worker.executor.result = TestResult(file_path="ok.py", status=Status.PASS, coverage_files=(gone,))

    worker.files.handle_message(worker.message(task()))

    assert worker.result().status is Status.LOST
    assert "its result cannot be sent: its coverage data cannot be read" in worker.result().error


def test_a_worker_that_cannot_measure_memory_fails_and_puts_the_message_back(worker: ScriptedWorker) -> None:
    worker.executor.error = InfrastructureError("cannot measure")

    assert not worker.files.handle_message(worker.message(task()))

    assert worker.failures == ["cannot measure"]
