"""The backend over a broker in memory: what it does when workers, messages or the broker are lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import structs

from dispatcher.engine.backend import BackendEvent, TaskFinished, TaskStarted
from dispatcher.queue.backend import AWAY_S, LAST_RESULTS_S, LOST_MESSAGE_S, TICK_S, QueueBackend
from dispatcher.queue.delivery_tracker import MIN_PUBLISHED
from dispatcher.queue.worker_registry import WorkerRegistry
from passmuster.model.errors import InfrastructureError
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask
from passmuster.wire.broker_keys import HEARTBEAT_S, LEASE_S
from passmuster.wire.broker_messages import Lease, RunningFileStatus
from tests.unit.dispatcher.queue.scripted_broker import (
    TIMEOUT_S,
    UNAVAILABLE,
    AwayError,
    Broker,
    FakeDecoder,
    card,
    notices,
)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def backend(broker: Broker) -> QueueBackend:
    return QueueBackend(
        broker,
        broker.publish,
        FakeDecoder(),
        WorkerRegistry(version="1", timeout_s=TIMEOUT_S, now_s=broker.now),
        lambda: list(broker.cards),
        spec="spec",
        unavailable=(AwayError,),
        clock=lambda: broker.now,
        pause=broker.pause,
    )


def task(path: str) -> TestTask:
    return TestTask(run_id="run", file_path=path)


def statuses(events: Sequence[BackendEvent]) -> list[Status]:
    return [event.result.status for event in events if isinstance(event, TaskFinished)]


def test_a_file_is_published_started_and_ended(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    broker.end_file("a", 101)

    events = backend.poll(5)

    assert len(events) == 2
    assert statuses(events) == [Status.PASS]
    assert backend.poll(1) == ()


def test_a_dead_workers_file_goes_again(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)
    broker.dead.append(Lease(path="a", delivery=101, worker="w1"))

    assert notices(backend.poll(2 * TICK_S)) == [
        "worker w1 disappeared while it ran a; the file reruns exclusively"
    ]
    broker.start("a", 102)
    broker.end_file("a", 102)

    assert statuses(backend.poll(5)) == [Status.PASS]


def test_what_waited_alone_at_a_dead_worker_goes_again_although_others_wait(
    broker: Broker, backend: QueueBackend
) -> None:
    broker.cards = [card("w1"), card("w2")]
    backend.submit([task("beside"), task("other")])
    broker.start("beside", 101)
    backend.poll(1)
    broker.dead.append(Lease(path="beside", delivery=101, worker="w1"))
    backend.poll(2 * TICK_S)
    broker.queue.remove(("beside", 102))  # The other worker took it, to run it once it is alone.
    backend.poll(2 * TICK_S)
    assert broker.queue == [("other", 101)]

    broker.cards = [card("w1")]
    backend.poll(2 * TICK_S)

    assert sorted(broker.queue) == [("beside", 102), ("other", 101)]


def test_a_file_that_was_given_back_is_published_again(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    broker.state["a"] = ("Q", 101)
    broker.tell("released", "a", 101)

    backend.poll(1)

    assert broker.queue == [("a", 101)]


def test_who_does_not_take_part_is_named_and_nobody_is_waited_for_without_end(
    broker: Broker, backend: QueueBackend
) -> None:
    backend.submit([task("a")])
    broker.tell("refused", "", 0, "another tree")

    assert notices(backend.poll(1)) == ["worker w1 refuses the run: another tree"]
    with pytest.raises(InfrastructureError, match="no worker can serve this run: w1: another tree"):
        backend.poll(TIMEOUT_S + 2 * TICK_S)
    assert backend.poll(1) == ()


def test_a_worker_that_comes_late_is_waited_for(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    backend.poll(TICK_S)
    broker.cards = []
    assert notices(backend.poll(TIMEOUT_S / 2)) == [
        "worker w1 is gone",
        "no worker is left; waiting for another one",
    ]
    broker.cards = [card("w2")]

    assert backend.poll(TIMEOUT_S * 2) == ()
    assert [worker.name for worker in backend.usage().workers] == ["w2"]


def test_what_is_too_big_for_every_worker_is_said_at_once(broker: Broker, backend: QueueBackend) -> None:
    backend.poll(2 * TICK_S)
    backend.submit([structs.replace(task("a"), predicted_bytes=2 << 30)])

    [text] = notices(backend.poll(0))
    assert text.startswith("a needed 2 GiB when it last ran, and the largest worker has 1 GiB")


def test_a_file_is_not_forgotten_when_the_answer_to_its_loss_is(
    broker: Broker, backend: QueueBackend
) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)
    broker.dead.append(Lease(path="a", delivery=101, worker="w1"))
    broker.loses_the_answer = True

    assert notices(backend.poll(TICK_S)) == [UNAVAILABLE]
    assert notices(backend.poll(4 * TICK_S)) == ["the broker is available again"]

    assert broker.queue == [("a", 102)]


def test_a_broker_that_came_back_empty_is_told_again(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a"), task("b")])
    broker.start("a", 101)
    backend.poll(1)
    broker.state, broker.queue, broker.word = {}, [], None

    backend.poll(2 * TICK_S)

    assert broker.state == {"a": ("Q", 102), "b": ("Q", 102)}
    assert broker.queue == [("a", 102), ("b", 102)]
    # The worker that still runs it delivers under the number that it knows.
    broker.end_file("a", 101)
    assert statuses(backend.poll(1)) == [Status.PASS]


def test_a_swallowed_message_is_sent_once_more(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.queue.clear()

    backend.poll(LOST_MESSAGE_S + 3 * TICK_S)

    assert broker.queue == [("a", 101)]


def test_leases_are_not_judged_until_workers_could_renew_them(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)
    broker.is_away = True
    backend.poll(TICK_S)
    backend.poll(LEASE_S * 2)
    broker.is_away = False
    backend.poll(TICK_S)
    broker.dead.append(Lease(path="a", delivery=101, worker="w1"))

    backend.poll(HEARTBEAT_S)
    assert broker.state["a"] == ("R", 101)
    backend.poll(LEASE_S + HEARTBEAT_S)
    assert broker.state["a"] == ("Q", 102)


def test_what_was_submitted_while_the_broker_was_away_is_sent_later(
    broker: Broker, backend: QueueBackend
) -> None:
    broker.is_away = True
    backend.submit([task("a")])
    broker.is_away = False

    backend.poll(1)

    assert broker.queue == [("a", 101)]


def test_a_broker_that_stays_away_is_told_once(broker: Broker, backend: QueueBackend) -> None:
    broker.is_away = True
    backend.submit([task("a")])
    assert notices(backend.poll(1)) == [UNAVAILABLE]

    with pytest.raises(
        InfrastructureError, match=r"the broker has been unavailable for 12\d s.*: gone; check"
    ):
        backend.poll(AWAY_S + 1)
    assert backend.poll(1) == ()


def test_a_broker_that_only_gives_answers_is_of_no_use(broker: Broker, backend: QueueBackend) -> None:
    broker.is_full = True
    backend.submit([task("a")])
    assert notices(backend.poll(1)) == [UNAVAILABLE]
    backend.poll(AWAY_S / 2)
    broker.is_full = False

    assert notices(backend.poll(1)) == ["the broker is available again"]
    assert broker.queue == [("a", 101)]
    broker.is_full = True
    assert notices(backend.poll(2 * TICK_S)) == [UNAVAILABLE]
    with pytest.raises(InfrastructureError, match="the broker has been unavailable"):
        backend.poll(AWAY_S + 1)


def test_what_waits_is_withdrawn_and_what_runs_is_not(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a"), task("b")])
    broker.start("a", 101)
    backend.submit([task("s")], best_effort=True)

    assert [one.file_path for one in backend.withdraw()] == ["b", "s"]
    assert backend.withdraw() == ()
    assert broker.state == {"a": ("R", 101)}


def test_a_stopped_file_without_a_result_gets_one(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)

    backend.stop(StopReason.CANCELLED, grace_s=1)

    assert broker.is_cancelled
    assert backend.poll(1) == ()
    assert statuses(backend.poll(LAST_RESULTS_S + 1)) == [Status.CANCELLED]


def test_a_wake_ends_a_wait(broker: Broker, backend: QueueBackend) -> None:
    backend.wake()

    assert backend.poll(60) == ()
    assert broker.now < 101


def test_closing_leaves_nothing_on_the_broker(broker: Broker, backend: QueueBackend) -> None:
    backend.close()

    assert broker.word is None


def test_what_a_file_uses_comes_from_its_worker_s_card(backend: QueueBackend, broker: Broker) -> None:
    backend.submit([task("a")])
    backend.poll(TICK_S)
    broker.start("a", 101)
    file = RunningFileStatus(run_id="run", path="a", seconds=4.0, used_bytes=50)
    broker.cards = [card("w1", busy=1, used_bytes=60, files=(file,))]

    [started] = backend.poll(2 * TICK_S)
    backend.poll(2 * TICK_S)

    assert started == TaskStarted(task=task("a"), worker="w1")
    usage = backend.usage()
    assert [(one.file_path, one.seconds, one.used_bytes, one.worker) for one in usage.files] == [
        ("a", 4.0, 50, "w1")
    ]
    assert (usage.used_bytes, usage.peak_bytes) == (60, 60)


def test_the_broker_is_told_how_many_files_are_kept_back(backend: QueueBackend, broker: Broker) -> None:
    backend.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 7)])

    backend.poll(TICK_S)
    backend.poll(2 * TICK_S)

    assert broker.kept == 7


def test_a_file_wanted_on_a_worker_that_is_gone_is_published_for_all(
    broker: Broker, backend: QueueBackend
) -> None:
    broker.cards = [card("w1"), card("w2")]
    backend.submit([structs.replace(task("a"), wanted_worker="w2")])
    backend.poll(3 * TICK_S)
    assert broker.queue == []
    assert broker.of_workers == [("a", 101, "w2")]

    broker.cards.pop()
    backend.poll(3 * TICK_S)

    broker.start("a", 101)
    broker.end_file("a", 101)
    assert statuses(backend.poll(5)) == [Status.PASS]
