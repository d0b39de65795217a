"""A message's way through a worker: what is run, what is put back, and what is sent of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.wire.broker_messages import ClaimReply, RenewReply, result_kind
from passmuster.wire.codec import encode_task
from passmuster.wire.envelope import Envelope
from tests.unit.worker.queue.scripted_queue import NAME, BrokerAwayError, Desk, task
from worker.queue.admission import ADMIT_S
from worker.queue.in_flight import AbortReason
from worker.queue.task_handler import KEEP_RESULT_S, PUT_BACK_S

AWAY = BrokerAwayError()
CANCELLED = TestResult(file_path="ok.py", status=Status.CANCELLED, stop_reason=StopReason.CANCELLED)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_file_is_claimed_run_and_finished(desk: Desk) -> None:
    assert desk.files.handle_message(desk.message(task(attempt=1), take=103))

    assert desk.record.asked == [("claim", "ok.py", 103, NAME), ("finish", "ok.py", 103, NAME)]
    assert (desk.result().status, desk.result().worker) == (Status.PASS, NAME)
    assert desk.roster.finished == 1
    assert desk.executor.dismissed == []


def test_it_is_held_only_while_it_runs(desk: Desk) -> None:
    seen: list[int] = []
    desk.executor.while_running = lambda: seen.append(len(desk.roster.claimed()))

    desk.files.handle_message(desk.message(task()))

    assert (seen, desk.roster.claimed()) == ([1], ())


@pytest.mark.parametrize(
    "text",
    [
        "no message",
        Envelope("another secret").sign("task", encode_task(task()), "101"),
        Envelope("a secret").sign(result_kind("run"), encode_task(task()), "101"),
        Envelope("a secret").sign("task", encode_task(task())),
        Envelope("a secret").sign("task", encode_task(task()), "-1"),
        Envelope("a secret").sign("task", "{}", "101"),
    ],
)
def test_what_is_no_task_of_ours_is_dropped_with_a_word(desk: Desk, text: str) -> None:
    assert desk.files.handle_message(text)

    assert desk.record.asked == []
    assert [line.startswith("a message was dropped: ") for line in desk.lines] == [True]


def test_what_finds_no_room_in_time_is_put_back_unclaimed(desk: Desk) -> None:
    desk.executor.refuses = 1_000_000

    assert not desk.files.handle_message(desk.message(task()))

    assert desk.record.asked == []
    assert ADMIT_S <= desk.clock.now < 2 * ADMIT_S


def test_room_is_waited_for(desk: Desk) -> None:
    desk.executor.refuses = 3

    assert desk.files.handle_message(desk.message(task()))

    assert desk.result().status is Status.PASS


def test_the_place_of_a_file_that_is_not_ours_is_given_back(desk: Desk) -> None:
    desk.record.claims = [ClaimReply.GONE]

    assert desk.files.handle_message(desk.message(task()))

    assert desk.executor.dismissed == ["ok.py"]
    assert desk.record.bodies == []


@pytest.mark.parametrize(
    ("holds", "runs"),
    [([RenewReply.HELD], True), ([AWAY, RenewReply.HELD], True), ([RenewReply.LOST], False)],
)
def test_a_claim_whose_answer_was_lost_is_asked_for_again(
    desk: Desk, holds: list[RenewReply | Exception], runs: bool
) -> None:
    desk.record.claims, desk.record.holds = [AWAY], holds

    assert desk.files.handle_message(desk.message(task()))

    assert (len(desk.record.bodies) == 1) is runs


def test_a_claim_is_given_up_before_its_lease_could_end(desk: Desk) -> None:
    desk.record.claims, desk.record.holds = [AWAY], [AWAY]

    assert not desk.files.handle_message(desk.message(task()))

    assert desk.executor.dismissed == ["ok.py"]
    assert desk.clock.now < 10


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"file_path": "gone.py"}, "does not exist any more"),
        (
            {"environment": (("PATH", "/evil"), ("PASSMUSTER_X", "1"))},
            "does not allow a task to set PATH: start it with",
        ),
    ],
)
def test_what_must_not_run_here_is_refused_with_a_result(
    desk: Desk, changes: dict[str, Any], complaint: str
) -> None:
    assert desk.files.handle_message(desk.message(task(**changes)))

    assert desk.executor.admitted == []
    assert desk.result().status is Status.START_ERROR
    assert complaint in desk.result().error


def test_allowed_variables_may_be_set(tmp_path: Path) -> None:
    desk = Desk(tmp_path, allowed=["COLUMNS"])

    desk.files.handle_message(desk.message(task(environment=(("COLUMNS", "80"), ("PASSMUSTER_X", None)))))

    assert desk.result().status is Status.PASS


def test_a_second_copy_of_a_running_attempt_is_put_back(desk: Desk) -> None:
    answers: list[bool] = []
    desk.executor.while_running = lambda: answers.append(
        desk.files.handle_message(desk.message(task(), take=102))
    )

    assert desk.files.handle_message(desk.message(task(), take=101))

    assert answers == [False]
    assert desk.record.words == ["claim", "finish"]


def test_a_lost_file_sends_nothing(desk: Desk) -> None:
    desk.executor.result = CANCELLED
    desk.executor.while_running = lambda: desk.roster.mark_aborted(task().attempt_id, AbortReason.LOST)

    assert desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim"]


def test_a_cancelled_file_sends_its_result(desk: Desk) -> None:
    desk.executor.result = CANCELLED
    desk.executor.while_running = lambda: desk.roster.mark_aborted(task().attempt_id, AbortReason.CANCELLED)

    desk.files.handle_message(desk.message(task()))

    assert desk.result().status is Status.CANCELLED


def test_a_file_that_ends_with_the_worker_is_released(desk: Desk) -> None:
    desk.executor.result = CANCELLED
    desk.executor.while_running = desk.roster.mark_stopping

    assert desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "release"]
    assert desk.roster.finished == 0


def test_a_file_that_ended_by_itself_is_finished_although_the_worker_ends(desk: Desk) -> None:
    desk.executor.while_running = desk.roster.mark_stopping

    desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "finish"]


def test_nothing_is_taken_once_the_worker_ends(desk: Desk) -> None:
    desk.roster.close()

    assert not desk.files.handle_message(desk.message(task()))

    assert desk.record.asked == []


def test_a_result_is_kept_for_a_broker_that_is_away_or_has_forgotten(desk: Desk) -> None:
    desk.record.finishes = [AWAY, False, True]
    desk.record.epochs = [None]

    assert desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "finish", "finish", "finish"]
    assert desk.lines == ["ok.py: PASS after 0.00 s"]


def test_a_result_that_did_not_count_is_not_sent_again(desk: Desk) -> None:
    desk.record.finishes = [False]

    desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "finish"]


def test_a_result_is_not_kept_for_ever(desk: Desk) -> None:
    desk.record.finishes = [AWAY]

    assert desk.files.handle_message(desk.message(task()))

    assert KEEP_RESULT_S <= desk.clock.now < KEEP_RESULT_S + 5
    assert desk.lines[-1] == "ok.py: its result was discarded: the broker does not accept it"


def test_a_message_that_nobody_wants_any_more_is_not_put_back(desk: Desk) -> None:
    desk.executor.refuses = 1_000_000
    desk.record.waiting = [False]

    assert desk.files.handle_message(desk.message(task()))

    assert desk.record.asked == []


def test_a_message_is_put_back_after_a_pause_while_the_broker_is_away(desk: Desk) -> None:
    desk.terms = None
    desk.record.waiting = [AWAY]

    assert not desk.files.handle_message(desk.message(task()))

    assert desk.clock.now >= PUT_BACK_S


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_file_of_a_run_that_is_not_served_is_not_touched(desk: Desk, is_wanted: bool) -> None:
    desk.terms = None
    desk.record.waiting = [is_wanted]

    assert desk.files.handle_message(desk.message(task())) is not is_wanted

    assert desk.executor.admitted == []
    assert desk.record.asked == []


FAULT = TestResult(file_path="ok.py", status=Status.START_ERROR, error="no interpreter", is_worker_fault=True)


def test_a_worker_that_never_ran_a_file_and_cannot_gives_it_back_and_goes(desk: Desk) -> None:
    desk.executor.result = FAULT

    assert desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "release"]
    assert desk.failures == ["no interpreter"]
    assert desk.roster.is_closed
    assert desk.lines == ["ok.py: returns a file: no interpreter"]
    assert desk.roster.finished == 0


def test_a_worker_that_ran_files_goes_at_the_second_failure_in_a_row(desk: Desk) -> None:
    fine = desk.executor.result
    for result in (fine, FAULT, fine, FAULT):
        desk.executor.result = result
        desk.files.handle_message(desk.message(task()))
    assert desk.failures == []
    assert not desk.roster.is_closed

    desk.files.handle_message(desk.message(task()))

    assert desk.failures == ["no interpreter"]
    assert desk.record.words.count("release") == 3


def test_a_file_that_cannot_be_read_says_nothing_of_the_worker(desk: Desk) -> None:
    desk.executor.result = TestResult(
        file_path="ok.py", status=Status.START_ERROR, error="cannot read the file"
    )

    for _ in range(3):
        desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "finish"] * 3
    assert desk.failures == []


def test_a_failure_to_start_because_the_worker_ends_is_no_failure(desk: Desk) -> None:
    desk.executor.result = FAULT
    desk.executor.while_running = desk.roster.mark_stopping

    desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "release"]
    assert desk.failures == []


def test_a_full_disk_lets_nothing_start(desk: Desk) -> None:
    desk.files.handle_message(desk.message(task()))
    desk.free_bytes = 1000

    assert not desk.files.handle_message(desk.message(task()))
    assert desk.failures == []
    assert not desk.files.handle_message(desk.message(task()))

    assert desk.record.words == ["claim", "finish"]
    assert "free some space there" in desk.failures[0]


def test_a_file_that_is_given_back_is_not_renewed_any_more(desk: Desk) -> None:
    seen: list[bool] = []
    desk.executor.result = FAULT
    desk.record.while_releasing = lambda: seen.append(desk.roster.has_claimed(task().attempt_id))

    desk.files.handle_message(desk.message(task()))

    assert seen == [False]


def test_a_bug_of_ours_gives_a_result_too(desk: Desk) -> None:
    desk.executor.bug = ZeroDivisionError("a bug")

    assert desk.files.handle_message(desk.message(task()))

    assert desk.result().status is Status.LOST
    assert "ZeroDivisionError: a bug" in desk.result().output


def test_a_result_that_cannot_be_sent_says_so(desk: Desk, tmp_path: Path) -> None:
    gone = str(tmp_path / "coverage" / "gone")
    desk.executor.result = TestResult(file_path="ok.py", status=Status.PASS, coverage_files=(gone,))

    desk.files.handle_message(desk.message(task()))

    assert desk.result().status is Status.LOST
    assert "its result cannot be sent: its coverage data cannot be read" in desk.result().error


def test_a_worker_that_cannot_measure_any_more_says_so_and_puts_back(desk: Desk) -> None:
    desk.executor.trouble = InfrastructureError("cannot measure")

    assert not desk.files.handle_message(desk.message(task()))

    assert desk.failures == ["cannot measure"]
