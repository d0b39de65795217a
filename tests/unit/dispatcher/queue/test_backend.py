"""Tests the backend over a broker in memory, when workers, messages or the broker are lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import structs

from dispatcher.engine.backend import BackendEvent, TaskFinished, TaskStarted
from dispatcher.queue.backend import LAST_RESULTS_S, LOST_MESSAGE_S, TICK_S, QueueBackend
from dispatcher.queue.delivery_tracker import MIN_PUBLISHED
from dispatcher.queue.worker_registry import WorkerRegistry
from passmuster.model.errors import InfrastructureError
from passmuster.model.status import Status, StopReason
from passmuster.model.task import TestTask
from passmuster.wire.broker_keys import HEARTBEAT_S, LEASE_S, OUTAGE_S
from passmuster.wire.broker_messages import Lease, RunningFileStatus, StreamEntry
from tests.unit.dispatcher.queue.scripted_broker import (
    TIMEOUT_S,
    UNAVAILABLE,
    Broker,
    FakeDecoder,
    UnavailableError,
    notices,
    worker_status,
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
        lambda: list(broker.statuses),
        broker.report_demand,
        spec="spec",
        unavailable=(UnavailableError,),
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


def test_the_demand_is_what_waits_or_runs(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task(f"f{number}") for number in range(2 * MIN_PUBLISHED)])
    broker.start("f0", 101)
    backend.poll(2 * TICK_S)
    while_it_runs = broker.demand
    broker.end_file("f0", 101)
    backend.poll(1)
    backend.poll(2 * TICK_S)
    after_it = broker.demand
    backend.stop(StopReason.CANCELLED, grace_s=1)
    backend.poll(2 * TICK_S)
    after_the_stop, broker.demand = broker.demand, -1
    backend.close()

    assert while_it_runs == 2 * MIN_PUBLISHED
    assert after_it == while_it_runs - 1
    assert after_the_stop == broker.demand == 0


def test_the_file_of_a_dead_worker_is_redelivered(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)
    broker.expired_leases.append(Lease(path="a", delivery=101, worker="w1"))

    assert notices(backend.poll(2 * TICK_S)) == [
        "worker w1 disappeared while it ran a; the file reruns exclusively"
    ]
    broker.start("a", 102)
    broker.end_file("a", 102)

    assert statuses(backend.poll(5)) == [Status.PASS]
    assert backend.usage().lost_workers == 1


def test_an_exclusive_file_that_waited_at_a_dead_worker_is_published_once_more(
    broker: Broker, backend: QueueBackend
) -> None:
    broker.statuses = [worker_status("w1"), worker_status("w2")]
    backend.submit([task("beside"), task("other")])
    broker.start("beside", 101)
    backend.poll(1)
    broker.expired_leases.append(Lease(path="beside", delivery=101, worker="w1"))
    backend.poll(2 * TICK_S)
    broker.queue.remove(("beside", 102))  # The other worker took it, to run it once it is alone.
    backend.poll(2 * TICK_S)
    assert broker.queue == [("other", 101)]

    broker.statuses = [worker_status("w1")]
    backend.poll(2 * TICK_S)

    assert sorted(broker.queue) == [("beside", 102), ("other", 101)]


def test_a_returned_file_is_published_again(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    broker.state["a"] = ("Q", 101)
    broker.add_entry("released", "a", 101)

    backend.poll(1)

    assert broker.queue == [("a", 101)]


def test_a_worker_that_refuses_is_named_and_the_run_fails_without_another_one(
    broker: Broker, backend: QueueBackend
) -> None:
    backend.submit([task("a")])
    broker.add_entry("refused", "", 0, "another tree")

    assert notices(backend.poll(1)) == ["worker w1 refuses the run: another tree"]
    with pytest.raises(InfrastructureError, match="no worker can serve this run: w1: another tree"):
        backend.poll(TIMEOUT_S + 2 * TICK_S)
    assert backend.poll(1) == ()


def test_the_run_waits_for_a_worker_that_comes_late(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    backend.poll(TICK_S)
    broker.statuses = []
    assert notices(backend.poll(TIMEOUT_S / 2)) == [
        "worker w1 is gone",
        "no worker is left; waiting for another one",
    ]
    broker.statuses = [worker_status("w2")]

    assert backend.poll(TIMEOUT_S * 2) == ()
    assert [worker.name for worker in backend.usage().workers] == ["w2"]


def test_a_file_too_large_for_every_worker_is_reported_at_once(broker: Broker, backend: QueueBackend) -> None:
    backend.poll(2 * TICK_S)
    backend.submit([structs.replace(task("a"), predicted_bytes=2 << 30)])

    [text] = notices(backend.poll(0))
    assert text.startswith("a needed 2 GiB when it last ran, and the largest worker has 1 GiB")


def test_a_file_survives_a_lost_reply_about_its_expired_lease(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)
    broker.expired_leases.append(Lease(path="a", delivery=101, worker="w1"))
    broker.loses_reply = True

    assert notices(backend.poll(TICK_S)) == [UNAVAILABLE]
    assert notices(backend.poll(4 * TICK_S)) == ["the broker is available again"]
    assert broker.state == {"a": ("R", 101)}  # As far as is known: its lease expires once more.

    broker.expired_leases.append(Lease(path="a", delivery=101, worker="w1"))
    assert notices(backend.poll(LEASE_S + HEARTBEAT_S + TICK_S)) == [
        "worker w1 disappeared while it ran a; the file reruns exclusively"
    ]
    assert broker.queue == [("a", 102)]


def test_the_run_is_recreated_on_a_broker_that_restarted_empty(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a"), task("b")])
    broker.start("a", 101)
    backend.poll(1)
    broker.state, broker.queue, broker.run_epoch, broker.entries = {}, [], None, []

    backend.poll(2 * TICK_S)

    # The file that runs is not offered to another worker.
    assert broker.state == {"a": ("R", 101), "b": ("Q", 102)}
    assert broker.queue == [("b", 102)]
    broker.end_file("a", 101)
    assert statuses(backend.poll(1)) == [Status.PASS]


def test_a_replica_that_became_the_master_gets_the_run_again_and_loses_no_result(
    broker: Broker, backend: QueueBackend
) -> None:
    backend.submit([task("read"), task("unread"), task("late"), task("runs"), task("waits")])
    for name in ("read", "unread", "late", "runs"):
        broker.start(name, 101)
    backend.poll(1)
    broker.end_file("read", 101)
    assert statuses(backend.poll(1)) == [Status.PASS]
    # The replica has the first result again, one that was not read, and gets another one at the last moment.
    broker.end_file("unread", 101, "FAIL")
    broker.late_entries = [StreamEntry("100", "finished", "late", 101, "w1", "PASS")]
    broker.server = "second"

    events = [*backend.poll(2 * TICK_S), *backend.poll(2 * TICK_S)]

    assert statuses(events) == [Status.FAIL, Status.PASS]
    assert notices(events) == []
    assert {name: broker.state[name] for name in ("runs", "waits")} == {
        "runs": ("R", 101),
        "waits": ("Q", 102),
    }
    assert broker.queue == [("waits", 102)]
    broker.end_file("runs", 101)
    broker.start("waits", 102)
    broker.end_file("waits", 102)
    assert statuses(backend.poll(1)) == [Status.PASS, Status.PASS]


def test_a_file_that_the_broker_started_twice_is_named(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)
    broker.entries.append(StreamEntry("50", "started", "a", 101, "w2", ""))

    [text] = notices(backend.poll(1))

    assert text.startswith("the broker lost the start of a on worker w1, so it also started on worker w2;")


def test_a_lost_message_is_republished(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.queue.clear()

    backend.poll(LOST_MESSAGE_S + 3 * TICK_S)

    assert broker.queue == [("a", 101)]


def test_leases_do_not_expire_until_workers_could_renew_them(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)
    broker.is_unavailable = True
    backend.poll(TICK_S)
    backend.poll(LEASE_S * 2)
    broker.is_unavailable = False
    backend.poll(TICK_S)
    broker.expired_leases.append(Lease(path="a", delivery=101, worker="w1"))

    backend.poll(HEARTBEAT_S)
    assert broker.state["a"] == ("R", 101)
    backend.poll(LEASE_S + HEARTBEAT_S)
    assert broker.state["a"] == ("Q", 102)


def test_tasks_submitted_while_the_broker_is_unavailable_are_published_later(
    broker: Broker, backend: QueueBackend
) -> None:
    broker.is_unavailable = True
    backend.submit([task("a")])
    broker.is_unavailable = False

    backend.poll(1)

    assert broker.queue == [("a", 101)]


def test_a_broker_that_stays_unavailable_is_reported_once(broker: Broker, backend: QueueBackend) -> None:
    broker.is_unavailable = True
    backend.submit([task("a")])
    assert notices(backend.poll(1)) == [UNAVAILABLE]

    with pytest.raises(
        InfrastructureError, match=r"the broker has been unavailable for 12\d s.*: gone; check"
    ):
        backend.poll(OUTAGE_S + 1)
    assert backend.poll(1) == ()


def test_a_broker_that_accepts_no_writes_is_unavailable(broker: Broker, backend: QueueBackend) -> None:
    broker.is_full = True
    backend.submit([task("a")])
    assert notices(backend.poll(1)) == [UNAVAILABLE]
    backend.poll(OUTAGE_S / 2)
    broker.is_full = False

    assert notices(backend.poll(1)) == ["the broker is available again"]
    assert broker.queue == [("a", 101)]
    broker.is_full = True
    assert notices(backend.poll(2 * TICK_S)) == [UNAVAILABLE]
    with pytest.raises(InfrastructureError, match="the broker has been unavailable"):
        backend.poll(OUTAGE_S + 1)


def test_a_broker_that_returned_after_a_long_outage_fails_no_run(
    broker: Broker, backend: QueueBackend
) -> None:
    broker.is_unavailable = True
    backend.submit([task("a")])
    broker.pause(OUTAGE_S + 1)
    assert notices(backend.poll(0)) == [UNAVAILABLE]

    broker.is_unavailable = False

    assert notices(backend.poll(1)) == ["the broker is available again"]
    assert backend.poll(1) == ()


def test_waiting_tasks_are_withdrawn_and_running_ones_are_not(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a"), task("b")])
    broker.start("a", 101)
    backend.submit([task("s")], best_effort=True)

    assert [one.file_path for one in backend.withdraw()] == ["b", "s"]
    assert backend.withdraw() == ()
    assert broker.state == {"a": ("R", 101)}


def test_a_stopped_file_without_a_result_is_cancelled(broker: Broker, backend: QueueBackend) -> None:
    backend.submit([task("a")])
    broker.start("a", 101)
    backend.poll(1)

    backend.stop(StopReason.CANCELLED, grace_s=1)

    assert broker.is_cancelled
    assert backend.poll(1) == ()
    assert statuses(backend.poll(LAST_RESULTS_S + 1)) == [Status.CANCELLED]


def test_wake_ends_a_poll(broker: Broker, backend: QueueBackend) -> None:
    backend.wake()

    assert backend.poll(60) == ()
    assert broker.now < 101


def test_closing_leaves_nothing_on_the_broker(broker: Broker, backend: QueueBackend) -> None:
    backend.close()

    assert broker.run_epoch is None


def test_the_usage_of_a_file_comes_from_its_workers_status(backend: QueueBackend, broker: Broker) -> None:
    backend.submit([task("a")])
    backend.poll(TICK_S)
    broker.start("a", 101)
    file = RunningFileStatus(run_id="run", path="a", seconds=4.0, used_bytes=50)
    broker.statuses = [worker_status("w1", busy=1, used_bytes=60, files=(file,))]

    [started] = backend.poll(2 * TICK_S)
    backend.poll(2 * TICK_S)

    assert started == TaskStarted(task=task("a"), worker="w1")
    usage = backend.usage()
    assert [(one.file_path, one.seconds, one.used_bytes, one.worker) for one in usage.files] == [
        ("a", 4.0, 50, "w1")
    ]
    assert (usage.used_bytes, usage.peak_bytes) == (60, 60)


def test_the_heartbeat_carries_the_length_of_the_backlog(backend: QueueBackend, broker: Broker) -> None:
    backend.submit([task(f"f{number}") for number in range(MIN_PUBLISHED + 7)])

    backend.poll(TICK_S)
    backend.poll(2 * TICK_S)

    assert broker.backlog == 7


def test_a_file_bound_to_a_worker_that_is_gone_is_published_for_all(
    broker: Broker, backend: QueueBackend
) -> None:
    broker.statuses = [worker_status("w1"), worker_status("w2")]
    backend.submit([structs.replace(task("a"), wanted_worker="w2")])
    backend.poll(3 * TICK_S)
    assert broker.queue == []
    assert broker.worker_queues == [("a", 101, "w2")]

    broker.statuses.pop()
    backend.poll(3 * TICK_S)

    broker.start("a", 101)
    broker.end_file("a", 101)
    assert statuses(backend.poll(5)) == [Status.PASS]
