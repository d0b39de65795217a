"""The book of a run on a queue, against a broker that loses workers, messages and its memory."""

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


def test_tasks_are_published_in_their_order_and_told_once() -> None:
    book = DeliveryTracker()
    book.submit([task("a"), task("b")])

    assert sent(book.next_messages(slots=SLOTS)) == [("a", 101), ("b", 101)]
    assert book.next_messages(slots=SLOTS) == []
    assert book.started("a", 101, "w1") == [TaskStarted(task=task("a"), worker="w1")]
    assert book.started("a", 101, "w1") == []
    assert book.finished("a", 101, passed("a")) == [TaskFinished(task=task("a"), result=passed("a"))]
    assert book.finished("a", 101, passed("a")) == []


def test_what_a_full_group_does_not_allow_is_kept_back() -> None:
    book = DeliveryTracker({"db": 1})
    book.submit([task("a", group="db"), task("b", group="db"), task("c")])

    assert sent(book.next_messages(slots=SLOTS)) == [("a", 101), ("c", 101)]
    book.finished("a", 101, passed("a"))
    assert sent(book.next_messages(slots=SLOTS)) == [("b", 101)]


def test_a_lost_file_goes_again_before_the_others_and_alone_and_the_user_is_told() -> None:
    book = DeliveryTracker()
    book.submit([task("a")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")

    assert book.lease_expired("a", 101, "w1") == [
        BackendNotice(text="worker w1 disappeared while it ran a; the file reruns exclusively")
    ]
    alone = structs.replace(task("a"), exclusive=True)
    assert book.next_messages(slots=SLOTS) == [Message(task=alone, delivery=102, is_urgent=True)]
    assert book.started("a", 102, "w1") == []


def test_a_file_that_kills_its_workers_is_a_crash() -> None:
    book = DeliveryTracker()
    book.submit([task("a")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")
    events: list[BackendEvent] = []
    for loss in range(MAX_WORKER_DEATHS):
        events += book.lease_expired("a", 101 + loss, f"w{loss}")

    *notices, finished = events
    assert len(notices) == MAX_WORKER_DEATHS - 1
    assert isinstance(finished, TaskFinished)
    assert finished.result.status is Status.CRASH
    assert finished.result.error == (
        "3 workers disappeared while it ran, the last 2 while it ran exclusively: w0, w1, w2"
    )
    assert finished.task == task("a")


def test_a_file_that_was_given_back_goes_again_with_its_take_and_no_blame() -> None:
    book = DeliveryTracker()
    book.submit([task("a"), task("b")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")

    book.returned("a", 101)
    book.returned("a", 99)
    book.returned("gone", 101)

    assert book.next_messages(slots=SLOTS) == [Message(task=task("a"), delivery=101, is_urgent=True)]
    assert book.next_messages(slots=SLOTS) == []


def test_only_so_many_files_wait_on_the_queue() -> None:
    book = DeliveryTracker()
    book.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 5)])

    assert len(book.next_messages(slots=2)) == MIN_PUBLISHED
    assert book.next_messages(slots=2) == []
    book.started("f1", 101, "w1")
    book.started("f0", 101, "w1")
    book.finished("f0", 101, passed("f0"))
    assert [message.task.file_path for message in book.next_messages(slots=2)] == ["f1000", "f1001"]
    assert len(book.next_messages(slots=MIN_PUBLISHED)) == 3


def test_a_file_that_is_put_back_takes_a_place_on_the_queue_once() -> None:
    book = DeliveryTracker()
    book.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 5)])
    book.next_messages(slots=2)
    book.started("f0", 101, "w1")

    book.returned("f0", 101)
    book.returned("f0", 101)

    assert sent(book.next_messages(slots=2)) == [("f0", 101)]
    assert book.next_messages(slots=2) == []
    book.started("f0", 101, "w2")
    assert sent(book.next_messages(slots=2)) == [(f"f{MIN_PUBLISHED}", 101)]


def test_a_republished_file_counts_once_among_the_files_on_the_queue() -> None:
    book = DeliveryTracker()
    book.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 1)])
    book.next_messages(slots=2)
    book.started("f0", 101, "w1")
    book.started("f1", 101, "w1")

    book.returned("f0", 101)

    assert sent(book.next_messages(slots=2)) == [("f0", 101), (f"f{MIN_PUBLISHED}", 101)]


def test_the_result_of_a_worker_that_was_only_thought_dead_counts() -> None:
    book = DeliveryTracker()
    book.submit([task("a")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")
    book.lease_expired("a", 101, "w1")

    assert len(book.finished("a", 101, passed("a"))) == 1
    assert book.next_messages(slots=SLOTS) == []


def test_a_result_of_an_earlier_attempt_answers_for_no_later_one() -> None:
    book = DeliveryTracker()
    book.submit([task("a", attempt=2)])
    book.next_messages(slots=SLOTS)

    assert book.finished("a", 101, passed("a")) == []
    assert book.finished("a", 202, passed("a")) == []


def test_spare_tasks_take_only_slots_that_are_free_while_others_run() -> None:
    book = DeliveryTracker()
    book.submit([task("s1"), task("s2"), task("s3")], best_effort=True)
    assert book.next_messages(slots=SLOTS) == []
    book.submit([task("a")])

    assert sent(book.next_messages(slots=SLOTS)) == [("a", 101)]
    book.started("a", 101, "w1")
    assert sent(book.next_messages(slots=SLOTS)) == [("s1", 101), ("s2", 101)]
    assert book.withdraw_backlog() == (task("s3"),)


def test_only_what_the_run_has_not_heard_of_can_be_withdrawn() -> None:
    book = DeliveryTracker()
    book.submit([task("a"), task("b")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")
    book.lease_expired("a", 101, "w1")

    assert book.withdraw("b") == task("b")
    assert book.withdraw("a") is None
    [finished] = book.abandon("a", StopReason.CANCELLED)
    assert isinstance(finished, TaskFinished)
    assert finished.result.status is Status.CANCELLED


def test_what_nobody_runs_is_sent_once_more_and_under_a_new_number_where_a_word_was_lost() -> None:
    book = DeliveryTracker()
    book.submit([task(name) for name in "abcde"])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")
    book.started("e", 101, "w1")

    states = {"a": ("R", 101), "b": ("Q", 101), "c": ("Q", 100), "e": ("D", 101), "strange": ("Q", 101)}
    assert sent(book.lost_messages(states)) == [("b", 101)]
    assert sent(book.next_messages(slots=SLOTS)) == [("c", 102), ("d", 102), ("e", 102)]


def test_a_file_that_was_given_back_under_an_older_number_goes_again() -> None:
    book = DeliveryTracker()
    book.submit([task("a")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")
    book.republish_all()  # Its worker goes on with what it knows, and the broker lets it.
    assert sent(book.next_messages(slots=SLOTS)) == [("a", 102)]

    book.returned("a", 101)

    assert sent(book.next_messages(slots=SLOTS)) == [("a", 103)]


@given(st.data())
def test_every_task_ends_once_whatever_the_broker_says(data: st.DataObject) -> None:
    book = DeliveryTracker({"g": 1})
    # The same file twice: the broker knows only its path.
    tasks = [
        TestTask(run_id=str(number), file_path=path, group=group)
        for number, (path, group) in enumerate(
            data.draw(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "g"])), max_size=8))
        )
    ]
    book.submit(tasks)
    seen: set[tuple[str, int]] = set()
    events: list[BackendEvent] = []
    for step in range(200):
        for message in book.next_messages(slots=SLOTS):
            assert (message.task.file_path, message.delivery) not in seen
            seen.add((message.task.file_path, message.delivery))
        on_queue = book.deliveries()
        if not on_queue:
            break
        path = data.draw(st.sampled_from(sorted(on_queue)))
        # Towards the end everything succeeds.
        kinds = ["start", "finish", "lose", "forget"] if step < 100 else ["finish"]
        match data.draw(st.sampled_from(kinds)):
            case "start":
                events += book.started(path, on_queue[path], "w1")
            case "finish":
                events += book.finished(path, on_queue[path], passed(path))
            case "lose":
                events += book.lease_expired(path, on_queue[path], "w")
            case "forget":
                book.republish_all()

    for kind in (TaskStarted, TaskFinished):
        told = Counter(event.task.attempt_id for event in events if isinstance(event, kind))
        assert told == Counter(one.attempt_id for one in tasks)


def test_a_forged_result_is_dropped_and_the_one_of_whoever_runs_the_file_counts() -> None:
    book = DeliveryTracker()
    book.submit([task("a")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")

    [notice] = book.result_rejected("a", 101, "w9", "wrong signature")

    assert isinstance(notice, BackendNotice)
    assert "rejected a result of a that names worker w9: wrong signature" in notice.text
    assert sent(book.next_messages(slots=SLOTS)) == [("a", 102)]
    assert book.finished("a", 101, passed("a")) == [TaskFinished(task=task("a"), result=passed("a"))]


def test_a_file_with_nothing_but_forged_results_is_lost_in_the_end() -> None:
    book = DeliveryTracker()
    book.submit([task("a")])

    for number in range(1, MAX_REJECTED_RESULTS):
        [(path, take)] = sent(book.next_messages(slots=SLOTS))
        assert (path, take) == ("a", 100 + number)
        book.result_rejected(path, take, "w9", "wrong signature")
    book.next_messages(slots=SLOTS)

    _, end = book.result_rejected("a", 100 + MAX_REJECTED_RESULTS, "w9", "wrong signature")
    assert isinstance(end, TaskFinished)
    assert end.result.status is Status.LOST
    assert book.deliveries() == {}


def test_what_one_worker_is_to_run_goes_to_that_one_and_to_all_when_it_is_gone() -> None:
    book = DeliveryTracker()
    bound = task("a", wanted_worker="w1")
    book.submit([bound, task("b")], urgent=True)

    assert [message.worker for message in book.next_messages(slots=SLOTS)] == ["w1", ""]
    assert book.unbind({"w1", "w2"}, now_s=100) == []
    assert book.unbind({"w2"}, now_s=101) == [Message(task=bound, delivery=101, is_urgent=True)]
    assert book.unbind({"w2"}, now_s=102) == []


def test_what_one_worker_does_not_take_in_time_goes_to_all() -> None:
    book = DeliveryTracker()
    book.submit([task("a", wanted_worker="w1")])
    book.next_messages(slots=SLOTS)

    assert book.unbind({"w1"}, now_s=100) == []
    assert book.unbind({"w1"}, now_s=100 + WANTED_WORKER_S - 1) == []
    assert [message.worker for message in book.unbind({"w1"}, now_s=100 + WANTED_WORKER_S)] == [""]


def test_what_its_worker_runs_is_not_given_to_others_however_long_it_takes() -> None:
    book = DeliveryTracker()
    book.submit([task("a", wanted_worker="w1")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")

    assert book.unbind({"w1"}, now_s=100) == []
    assert book.unbind(set(), now_s=1000) == []


def test_what_its_worker_died_with_or_gave_back_goes_to_all() -> None:
    book = DeliveryTracker()
    book.submit([task("a", wanted_worker="w1"), task("b", wanted_worker="w1")])
    book.next_messages(slots=SLOTS)
    book.started("a", 101, "w1")
    book.started("b", 101, "w1")

    book.lease_expired("a", 101, "w1")
    book.returned("b", 101)

    assert [message.worker for message in book.next_messages(slots=SLOTS)] == ["", ""]


def test_the_message_for_one_worker_is_no_lost_one() -> None:
    book = DeliveryTracker()
    book.submit([task("a", wanted_worker="w1")])
    book.next_messages(slots=SLOTS)

    assert book.lost_messages({"a": ("Q", 101)}) == []
    book.unbind(set(), now_s=100)
    assert sent(book.lost_messages({"a": ("Q", 101)})) == [("a", 101)]


def test_a_resumed_run_still_wants_the_worker() -> None:
    book = DeliveryTracker()
    book.load_states({"a": ("Q", 101)})
    book.submit([task("a", wanted_worker="w1")])

    assert [message.worker for message in book.next_messages(slots=SLOTS)] == ["w1"]
