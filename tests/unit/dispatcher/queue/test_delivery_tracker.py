"""Tests the delivery tracker against a broker that loses workers, messages and its data."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from dispatcher.engine.backend import BackendEvent, BackendNotice, TaskFinished, TaskStarted
from dispatcher.queue.delivery_tracker import (
    MAX_REJECTED_RESULTS,
    MAX_WORKER_DEATHS,
    MIN_PUBLISHED,
    WANTED_WORKER_S,
    DeliveryTracker,
    Message,
)
from passmuster.model.result import TestResult
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask

SLOTS = 3


def task(path: str, **changes: object) -> TestTask:
    return TestTask(run_id="run", file_path=path, **changes)  # type: ignore[arg-type]  # Fields by name.


def passed(path: str) -> TestResult:
    return TestResult(file_path=path, status=Status.PASS)


def sent(messages: list[Message]) -> list[tuple[str, int]]:
    return [(message.task.file_path, message.delivery) for message in messages]


def test_tasks_are_published_in_order_and_reported_once() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a"), task("b")])

    assert sent(tracker.next_messages(slots=SLOTS)) == [("a", 101), ("b", 101)]
    assert tracker.next_messages(slots=SLOTS) == []
    assert tracker.started("a", 101, "w1") == [TaskStarted(task=task("a"), worker="w1")]
    assert tracker.started("a", 101, "w1") == []
    assert tracker.finished("a", 101, passed("a")) == [TaskFinished(task=task("a"), result=passed("a"))]
    assert tracker.finished("a", 101, passed("a")) == []


def test_a_task_of_a_full_group_stays_in_the_backlog() -> None:
    tracker = DeliveryTracker({"db": 1})
    tracker.submit([task("a", group="db"), task("b", group="db"), task("c")])

    assert sent(tracker.next_messages(slots=SLOTS)) == [("a", 101), ("c", 101)]
    tracker.finished("a", 101, passed("a"))
    assert sent(tracker.next_messages(slots=SLOTS)) == [("b", 101)]


def test_a_file_whose_worker_died_is_redelivered_first_and_exclusively_with_a_notice() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")

    assert tracker.lease_expired("a", 101, "w1") == [
        BackendNotice(text="worker w1 disappeared while it ran a; the file reruns exclusively")
    ]
    alone = structs.replace(task("a"), exclusive=True)
    assert tracker.next_messages(slots=SLOTS) == [Message(task=alone, delivery=102, is_urgent=True)]
    assert tracker.started("a", 102, "w1") == []


def test_a_file_that_kills_its_workers_has_crashed() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")
    events: list[BackendEvent] = []
    for loss in range(MAX_WORKER_DEATHS):
        events += tracker.lease_expired("a", 101 + loss, f"w{loss}")

    *notices, finished = events
    assert len(notices) == MAX_WORKER_DEATHS - 1
    assert isinstance(finished, TaskFinished)
    assert finished.result.status is Status.CRASH
    assert finished.result.error == (
        "3 workers disappeared while it ran, the last 2 while it ran exclusively: w0, w1, w2"
    )
    assert finished.task == task("a")


def test_a_returned_file_keeps_its_delivery_and_counts_no_death() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a"), task("b")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")

    tracker.returned("a", 101)
    tracker.returned("a", 99)
    tracker.returned("gone", 101)

    assert tracker.next_messages(slots=SLOTS) == [Message(task=task("a"), delivery=101, is_urgent=True)]
    assert tracker.next_messages(slots=SLOTS) == []


def test_the_number_of_files_on_the_queue_is_bounded() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 5)])

    assert len(tracker.next_messages(slots=2)) == MIN_PUBLISHED
    assert tracker.next_messages(slots=2) == []
    tracker.started("f1", 101, "w1")
    tracker.started("f0", 101, "w1")
    tracker.finished("f0", 101, passed("f0"))
    assert [message.task.file_path for message in tracker.next_messages(slots=2)] == ["f1000", "f1001"]
    assert len(tracker.next_messages(slots=MIN_PUBLISHED)) == 3


def test_a_file_that_is_returned_twice_is_published_once() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 5)])
    tracker.next_messages(slots=2)
    tracker.started("f0", 101, "w1")

    tracker.returned("f0", 101)
    tracker.returned("f0", 101)

    assert sent(tracker.next_messages(slots=2)) == [("f0", 101)]
    assert tracker.next_messages(slots=2) == []
    tracker.started("f0", 101, "w2")
    assert sent(tracker.next_messages(slots=2)) == [(f"f{MIN_PUBLISHED}", 101)]


def test_a_republished_file_counts_once_among_the_files_on_the_queue() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 1)])
    tracker.next_messages(slots=2)
    tracker.started("f0", 101, "w1")
    tracker.started("f1", 101, "w1")

    tracker.returned("f0", 101)

    assert sent(tracker.next_messages(slots=2)) == [("f0", 101), (f"f{MIN_PUBLISHED}", 101)]


def test_the_result_of_a_worker_believed_dead_counts() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")
    tracker.lease_expired("a", 101, "w1")

    assert len(tracker.finished("a", 101, passed("a"))) == 1
    assert tracker.next_messages(slots=SLOTS) == []


def test_a_result_of_another_attempt_is_ignored() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a", attempt=2)])
    tracker.next_messages(slots=SLOTS)

    assert tracker.finished("a", 101, passed("a")) == []
    assert tracker.finished("a", 202, passed("a")) == []


def test_best_effort_tasks_use_only_slots_that_are_free_while_others_run() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("s1"), task("s2"), task("s3")], best_effort=True)
    assert tracker.next_messages(slots=SLOTS) == []
    tracker.submit([task("a")])

    assert sent(tracker.next_messages(slots=SLOTS)) == [("a", 101)]
    tracker.started("a", 101, "w1")
    assert sent(tracker.next_messages(slots=SLOTS)) == [("s1", 101), ("s2", 101)]
    assert tracker.withdraw_backlog() == (task("s3"),)


def test_only_a_task_without_a_reported_start_can_be_withdrawn() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a"), task("b")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")
    tracker.lease_expired("a", 101, "w1")

    assert tracker.withdraw("b") == task("b")
    assert tracker.withdraw("a") is None
    [finished] = tracker.abandon("a", StopReason.CANCELLED)
    assert isinstance(finished, TaskFinished)
    assert finished.result.status is Status.CANCELLED


def test_lost_messages_are_republished_and_lost_replies_get_a_new_delivery() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task(name) for name in "abcde"])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")
    tracker.started("e", 101, "w1")

    states = {"a": ("R", 101), "b": ("Q", 101), "c": ("Q", 100), "e": ("D", 101), "strange": ("Q", 101)}
    assert sent(tracker.lost_messages(states)) == [("b", 101)]
    assert sent(tracker.next_messages(slots=SLOTS)) == [("c", 102), ("d", 102), ("e", 102)]


def test_a_file_returned_under_an_older_delivery_is_redelivered() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")
    tracker.lease_expired("a", 101, "w1")  # Its worker goes on with what it knows, and the broker lets it.
    assert sent(tracker.next_messages(slots=SLOTS)) == [("a", 102)]

    tracker.returned("a", 101)

    assert sent(tracker.next_messages(slots=SLOTS)) == [("a", 103)]


@given(st.data())
def test_every_task_finishes_once_whatever_the_broker_reports(data: st.DataObject) -> None:
    tracker = DeliveryTracker({"g": 1})
    # The same file twice: the broker knows only its path.
    tasks = [
        TestTask(run_id=str(number), file_path=path, group=group)
        for number, (path, group) in enumerate(
            data.draw(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "g"])), max_size=8))
        )
    ]
    tracker.submit(tasks)
    seen: set[tuple[str, int]] = set()
    events: list[BackendEvent] = []
    for step in range(200):
        for message in tracker.next_messages(slots=SLOTS):
            assert (message.task.file_path, message.delivery) not in seen
            seen.add((message.task.file_path, message.delivery))
        published = tracker.deliveries()
        if not published:
            break
        path = data.draw(st.sampled_from(sorted(published)))
        # Towards the end everything succeeds.
        kinds = ["start", "finish", "lose", "forget"] if step < 100 else ["finish"]
        match data.draw(st.sampled_from(kinds)):
            case "start":
                events += tracker.started(path, published[path], "w1")
            case "finish":
                events += tracker.finished(path, published[path], passed(path))
            case "lose":
                events += tracker.lease_expired(path, published[path], "w")
            case "forget":
                tracker.restore()

    for kind in (TaskStarted, TaskFinished):
        reported = Counter(event.task.attempt_id for event in events if isinstance(event, kind))
        assert reported == Counter(one.attempt_id for one in tasks)


def test_a_rejected_result_is_dropped_and_the_real_one_counts() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")

    [notice] = tracker.result_rejected("a", 101, "w9", "wrong signature")

    assert isinstance(notice, BackendNotice)
    assert "rejected a result of a that names worker w9: wrong signature" in notice.text
    assert sent(tracker.next_messages(slots=SLOTS)) == [("a", 102)]
    assert tracker.finished("a", 101, passed("a")) == [TaskFinished(task=task("a"), result=passed("a"))]


def test_a_file_with_only_rejected_results_is_lost() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a")])

    for number in range(1, MAX_REJECTED_RESULTS):
        [(path, delivery)] = sent(tracker.next_messages(slots=SLOTS))
        assert (path, delivery) == ("a", 100 + number)
        tracker.result_rejected(path, delivery, "w9", "wrong signature")
    tracker.next_messages(slots=SLOTS)

    _, end = tracker.result_rejected("a", 100 + MAX_REJECTED_RESULTS, "w9", "wrong signature")
    assert isinstance(end, TaskFinished)
    assert end.result.status is Status.LOST
    assert tracker.deliveries() == {}


def test_a_bound_task_goes_to_its_worker_and_to_all_once_that_is_gone() -> None:
    tracker = DeliveryTracker()
    bound = task("a", wanted_worker="w1")
    tracker.submit([bound, task("b")], urgent=True)

    assert [message.worker for message in tracker.next_messages(slots=SLOTS)] == ["w1", ""]
    assert tracker.unbind({"w1", "w2"}, now_s=100) == []
    assert tracker.unbind({"w2"}, now_s=101) == [Message(task=bound, delivery=101, is_urgent=True)]
    assert tracker.unbind({"w2"}, now_s=102) == []


def test_a_bound_task_goes_to_all_after_a_timeout() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a", wanted_worker="w1")])
    tracker.next_messages(slots=SLOTS)

    assert tracker.unbind({"w1"}, now_s=100) == []
    assert tracker.unbind({"w1"}, now_s=100 + WANTED_WORKER_S - 1) == []
    assert [message.worker for message in tracker.unbind({"w1"}, now_s=100 + WANTED_WORKER_S)] == [""]


def test_a_running_bound_task_stays_with_its_worker() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a", wanted_worker="w1")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")

    assert tracker.unbind({"w1"}, now_s=100) == []
    assert tracker.unbind(set(), now_s=1000) == []


def test_a_bound_task_goes_to_all_after_its_worker_died_or_returned_it() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a", wanted_worker="w1"), task("b", wanted_worker="w1")])
    tracker.next_messages(slots=SLOTS)
    tracker.started("a", 101, "w1")
    tracker.started("b", 101, "w1")

    tracker.lease_expired("a", 101, "w1")
    tracker.returned("b", 101)

    assert [message.worker for message in tracker.next_messages(slots=SLOTS)] == ["", ""]


def test_the_message_of_a_bound_task_is_not_taken_for_lost() -> None:
    tracker = DeliveryTracker()
    tracker.submit([task("a", wanted_worker="w1")])
    tracker.next_messages(slots=SLOTS)

    assert tracker.lost_messages({"a": ("Q", 101)}) == []
    tracker.unbind(set(), now_s=100)
    assert sent(tracker.lost_messages({"a": ("Q", 101)})) == [("a", 101)]


def test_a_resumed_task_stays_bound_to_its_worker() -> None:
    tracker = DeliveryTracker()
    tracker.load_states({"a": ("Q", 101)})
    tracker.submit([task("a", wanted_worker="w1")])

    assert [message.worker for message in tracker.next_messages(slots=SLOTS)] == ["w1"]
