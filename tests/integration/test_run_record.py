"""What the broker keeps of a run, on a real one: each file is one worker's, and one result counts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from dispatcher.queue.delivery_tracker import Message
from dispatcher.queue.embedded_server import EmbeddedServer
from dispatcher.queue.publisher import Publisher
from passmuster.model.executor import SlotRange
from passmuster.model.task import TestTask
from passmuster.wire.broker_keys import (
    DELIVERIES_PER_ATTEMPT,
    DISPATCHER_TIMEOUT_S,
    PREFIX,
    RUN_TTL_S,
    RUNS_KEY,
    lease_key,
    meta_key,
    queue_keys,
    results_key,
    state_key,
)
from passmuster.wire.broker_messages import ClaimReply, Lease, RenewReply
from passmuster.wire.envelope import Envelope
from passmuster.wire.run_store import RunStore, connect
from tests.support.queue_worker import waiting

FIRST, AGAIN, RETRY = DELIVERIES_PER_ATTEMPT + 1, DELIVERIES_PER_ATTEMPT + 2, 2 * DELIVERIES_PER_ATTEMPT + 1
"""The first take of a file, the one after its worker was lost, and the first of the run's second attempt."""


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Any]:
    with connect(server.url, timeout_s=5.0) as client:
        yield client


@pytest.fixture
def record(client: Any) -> Iterator[RunStore]:
    record = RunStore(client, secrets.token_hex(8))
    record.seed({"a.py": FIRST, "b.py": FIRST}, epoch="e1")
    yield record
    record.end()


def run_of(record: RunStore) -> str:
    return record._run_id


def let_time_pass(client: Any, record: RunStore) -> None:
    """Make every lease of the run old."""
    key = lease_key(run_of(record))
    for member in client.zrange(key, 0, -1):
        client.zadd(key, {member: 1})


def kinds(record: RunStore) -> list[tuple[str, str, int, str, str]]:
    return [entry[1:] for entry in record.read("0", block_s=0)]


def test_a_file_goes_from_waiting_to_running_to_done(record: RunStore) -> None:
    assert waiting(record, ["a.py", "b.py"]) == {"a.py": FIRST, "b.py": FIRST}
    assert record.claim("a.py", FIRST, "w1") is ClaimReply.OK
    assert waiting(record, ["a.py", "b.py"]) == {"b.py": FIRST}
    assert not record.is_settled()
    assert record.renew("a.py", FIRST, "w1") is RenewReply.HELD
    assert record.finish("a.py", FIRST, "w1", "body")
    assert record.is_settled()
    assert kinds(record) == [
        ("started", "a.py", FIRST, "w1", ""),
        ("finished", "a.py", FIRST, "w1", "body"),
    ]


def test_no_two_workers_of_a_run_get_the_same_slots(record: RunStore) -> None:
    assert record.assign_slots("w1", 4) == SlotRange(first=0, total=4)
    assert record.assign_slots("w2", 2) == SlotRange(first=4, total=6)
    assert record.assign_slots("w1", 4) == SlotRange(first=0, total=6)
    assert record.assign_slots("w1", 3) == SlotRange(first=6, total=9), "it was started anew with others"


def test_a_broker_that_lost_its_memory_gives_each_worker_the_slots_it_had(record: RunStore) -> None:
    first, second = record.assign_slots("w1", 2), record.assign_slots("w2", 2)
    record.seed({"a.py": FIRST}, epoch="e2")

    assert record.assign_slots("w2", 2, second) == SlotRange(first=2, total=4)
    assert record.assign_slots("w3", 1) == SlotRange(first=4, total=5)
    assert record.assign_slots("w1", 2, first) == SlotRange(first=0, total=5)
    assert record.assign_slots("w4", 2, second) == SlotRange(first=5, total=7), "others have these"


def test_a_run_that_has_ended_gives_no_slots(record: RunStore) -> None:
    record.end()

    assert record.assign_slots("w1", 2) is None


def test_a_second_copy_of_a_message_gets_nothing(record: RunStore) -> None:
    assert record.claim("a.py", FIRST, "w1") is ClaimReply.OK

    assert record.claim("a.py", FIRST, "w2") is ClaimReply.GONE
    assert record.claim("a.py", FIRST, "w1") is ClaimReply.GONE
    record.finish("a.py", FIRST, "w1", "")
    assert record.claim("a.py", FIRST, "w2") is ClaimReply.GONE


@pytest.mark.parametrize(("path", "take"), [("a.py", AGAIN), ("a.py", 1), ("c.py", FIRST)])
def test_what_does_not_wait_cannot_be_claimed(record: RunStore, path: str, take: int) -> None:
    assert record.claim(path, take, "w1") is ClaimReply.GONE


def test_the_first_result_counts_and_only_once(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")

    assert record.finish("a.py", FIRST, "w1", "one")
    assert not record.finish("a.py", FIRST, "w1", "one")
    assert not record.finish("a.py", FIRST, "w2", "two")
    assert [entry.body for entry in record.read("0", block_s=0) if entry.kind == "finished"] == ["one"]


def test_a_lost_worker_s_file_is_freed_and_goes_to_another(client: Any, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    lease = Lease(path="a.py", delivery=FIRST, worker="w1")
    assert record.expired() == []
    assert not record.expire(lease)

    let_time_pass(client, record)

    assert record.expired() == [lease]
    assert record.expire(lease)
    assert not record.expire(lease)
    assert record.renew("a.py", FIRST, "w1") is RenewReply.LOST
    record.add({"a.py": AGAIN})
    assert record.claim("a.py", AGAIN, "w2") is ClaimReply.OK
    assert record.renew("a.py", FIRST, "w1") is RenewReply.LOST


def test_a_renewal_between_look_and_expiry_saves_the_file(client: Any, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    let_time_pass(client, record)
    [lease] = record.expired()
    record.renew("a.py", FIRST, "w1")

    assert not record.expire(lease)
    assert record.renew("a.py", FIRST, "w1") is RenewReply.HELD


def test_a_worker_that_returns_takes_its_waiting_file_back(client: Any, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    let_time_pass(client, record)
    record.expire(record.expired()[0])
    record.add({"a.py": AGAIN})

    assert record.renew("a.py", FIRST, "w1") is RenewReply.HELD
    assert record.claim("a.py", AGAIN, "w2") is ClaimReply.GONE
    assert record.finish("a.py", FIRST, "w1", "body")


def test_the_faster_of_two_workers_counts_and_the_other_loses(client: Any, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    let_time_pass(client, record)
    record.expire(record.expired()[0])
    record.add({"a.py": AGAIN})
    record.claim("a.py", AGAIN, "w2")

    assert record.finish("a.py", FIRST, "w1", "body")
    assert record.is_settled()
    assert record.renew("a.py", AGAIN, "w2") is RenewReply.LOST
    assert not record.finish("a.py", AGAIN, "w2", "late")


def test_what_is_left_of_an_attempt_neither_takes_nor_answers_the_next_one(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    record.finish("a.py", FIRST, "w1", "failed")
    record.add({"a.py": RETRY})

    assert record.renew("a.py", AGAIN, "w2") is RenewReply.LOST
    assert not record.finish("a.py", AGAIN, "w2", "late")
    assert waiting(record, ["a.py"])["a.py"] == RETRY
    assert record.claim("a.py", RETRY, "w1") is ClaimReply.OK


def test_a_running_file_is_not_made_to_wait(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    record.add({"a.py": AGAIN})

    assert "a.py" not in waiting(record, ["a.py"])
    assert record.renew("a.py", FIRST, "w1") is RenewReply.HELD


def test_only_what_waits_can_be_withdrawn(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")

    assert not record.withdraw("a.py", FIRST)
    assert not record.withdraw("b.py", AGAIN)
    assert record.withdraw("b.py", FIRST)
    assert not record.withdraw("b.py", FIRST)
    assert record.claim("b.py", FIRST, "w1") is ClaimReply.GONE


def test_a_file_that_is_given_back_waits_again_with_the_same_take(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")

    record.release("a.py", FIRST, "w1")
    record.release("a.py", FIRST, "w1")
    record.release("b.py", FIRST, "w1")

    assert record.is_settled()
    assert record.expired() == []
    assert waiting(record, ["a.py", "b.py"]) == {"a.py": FIRST, "b.py": FIRST}
    assert kinds(record)[1:] == [("released", "a.py", FIRST, "w1", "")]
    assert record.claim("a.py", FIRST, "w2") is ClaimReply.OK


def test_only_who_has_a_file_can_give_it_back(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w2")
    record.claim("b.py", FIRST, "w1")
    record.finish("b.py", FIRST, "w1", "body")

    record.release("a.py", FIRST, "w1")
    record.release("b.py", FIRST, "w1")

    assert record.renew("a.py", FIRST, "w2") is RenewReply.HELD
    assert waiting(record, ["a.py", "b.py"]) == {}
    assert "released" not in [kind for kind, *_ in kinds(record)]


def test_a_message_is_wanted_while_its_file_waits_with_its_take(record: RunStore) -> None:
    record.claim("b.py", FIRST, "w1")

    assert record.is_queued("a.py", FIRST)
    assert not record.is_queued("a.py", AGAIN)
    assert not record.is_queued("b.py", FIRST)
    record.cancel()
    assert not record.is_queued("a.py", FIRST)


def test_terms_are_kept_as_they_came(record: RunStore) -> None:
    assert record.spec() == ""
    record.seed({}, epoch="e2", spec="sealed")
    assert record.spec() == "sealed"
    record.end()
    assert record.spec() is None


def test_a_refusal_is_told_while_there_is_a_run(client: Any, record: RunStore) -> None:
    record.refuse("w1", "sealed")

    assert kinds(record) == [("refused", "", 0, "w1", "sealed")]
    record.end()
    record.refuse("w1", "sealed")
    assert client.exists(results_key(run_of(record))) == 0


def test_a_run_whose_dispatcher_is_silent_is_not_active_until_it_speaks(
    client: Any, record: RunStore
) -> None:
    seconds, _ = client.time()
    client.hset(meta_key(run_of(record)), "heartbeat", (seconds - DISPATCHER_TIMEOUT_S - 1) * 1000)
    assert run_of(record) not in RunStore.active_runs(client)

    record.heartbeat()

    assert run_of(record) in RunStore.active_runs(client)


def test_what_an_expired_run_left_is_removed(client: Any, record: RunStore) -> None:
    for key in queue_keys(run_of(record)):
        client.lpush(key, "message")
    client.delete(meta_key(run_of(record)))

    assert run_of(record) not in RunStore.active_runs(client)

    assert not client.sismember(RUNS_KEY, run_of(record))
    assert client.exists(*queue_keys(run_of(record))) == 0


def test_a_cancelled_run_starts_nothing_and_still_takes_results(client: Any, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    for key in queue_keys(run_of(record)):
        client.lpush(key, "message")

    record.cancel()

    assert record.claim("b.py", FIRST, "w1") is ClaimReply.GONE
    assert record.renew("a.py", FIRST, "w1") is RenewReply.CANCELLED
    assert run_of(record) not in RunStore.active_runs(client)
    assert client.exists(*queue_keys(run_of(record))) == 0
    assert record.finish("a.py", FIRST, "w1", "cancelled")
    assert record.is_settled()


def test_a_broker_that_forgot_is_told_again_and_the_running_file_goes_on(
    client: Any, record: RunStore
) -> None:
    record.claim("a.py", FIRST, "w1")
    client.delete(*client.keys(f"{PREFIX}*"))

    assert record.epoch() is None
    assert record.renew("a.py", FIRST, "w1") is RenewReply.UNKNOWN
    assert record.claim("b.py", FIRST, "w1") is ClaimReply.GONE
    assert not record.finish("a.py", FIRST, "w1", "body")
    record.heartbeat()
    assert record.epoch() is None

    record.seed({"a.py": AGAIN, "b.py": AGAIN}, epoch="e2")

    assert record.epoch() == "e2"
    assert record.renew("a.py", FIRST, "w1") is RenewReply.HELD
    assert record.finish("a.py", FIRST, "w1", "body")


def test_a_seed_forgets_what_was_before(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")

    record.seed({}, epoch="e2")

    assert waiting(record, ["a.py", "b.py"]) == {}
    assert record.is_settled()
    assert record.read("0", block_s=0) == []


def test_nothing_of_an_ended_run_is_left(client: Any, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    client.lpush(queue_keys(run_of(record))[0], "message")

    record.end()

    assert client.keys(f"*{run_of(record)}*") == []
    assert not client.sismember(RUNS_KEY, run_of(record))


def test_every_key_of_a_run_that_nobody_ends_expires(client: Any, record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    for key in queue_keys(run_of(record)):
        client.lpush(key, "message")
    record.heartbeat()

    for key in (*client.keys(f"*{run_of(record)}*"), RUNS_KEY):
        assert RUN_TTL_S - 60 < client.ttl(key) <= RUN_TTL_S, key


def test_what_a_dispatcher_writes_before_its_next_beat_expires(client: Any, server: EmbeddedServer) -> None:
    record = RunStore(client, secrets.token_hex(8))
    run_id = run_of(record)
    record.seed({}, epoch="e1")
    messages = [
        Message(
            task=TestTask(run_id=run_id, file_path="a.py"), delivery=FIRST, is_urgent=is_first, worker=worker
        )
        for is_first, worker in ((True, ""), (False, ""), (True, "w1"), (False, "w1"))
    ]

    record.add({"a.py": FIRST})
    with closing(Publisher(server.url, run_id, Envelope("secret"), lambda task: task)) as publisher:
        publisher.publish(messages)

    keys = client.keys(f"*{run_id}*")
    assert set(queue_keys(run_id)) | {state_key(run_id)} <= set(keys)
    assert all(0 < client.ttl(key) <= RUN_TTL_S for key in keys), keys
    record.end()


def test_what_workers_write_after_the_dispatcher_was_killed_expires(client: Any, record: RunStore) -> None:
    assert client.exists(lease_key(run_of(record)), results_key(run_of(record))) == 0

    record.claim("a.py", FIRST, "w1")

    for key in (lease_key, results_key):
        assert RUN_TTL_S - 60 < client.ttl(key(run_of(record))) <= RUN_TTL_S, key


def test_reading_goes_on_after_the_last_entry_and_entries_are_discarded_by_id(record: RunStore) -> None:
    record.claim("a.py", FIRST, "w1")
    [started] = record.read("0", block_s=0)
    record.finish("a.py", FIRST, "w1", "body")

    [finished] = record.read(started.entry_id, block_s=0.01)
    assert finished.kind == "finished"
    assert record.read(finished.entry_id, block_s=0.01) == []
    record.discard([started.entry_id])
    assert record.read("0", block_s=0) == [finished]
    record.discard([finished.entry_id])
    assert record.read("0", block_s=0) == []


def test_a_run_that_is_written_again_leases_running_files_and_returns_unread_entries(
    record: RunStore,
) -> None:
    record.claim("a.py", FIRST, "w1")
    [started] = record.read("0", block_s=0)
    record.claim("b.py", FIRST, "w2")
    running = Lease(path="a.py", delivery=FIRST, worker="w1")

    [unread] = record.seed({"b.py": FIRST + 1}, epoch="e2", running=[running], after=started.entry_id)

    assert (unread.kind, unread.path, unread.worker) == ("started", "b.py", "w2")
    assert record.read("0", block_s=0) == []
    assert record.renew("a.py", FIRST, "w1") is RenewReply.HELD
    assert record.claim("a.py", FIRST, "w3") is ClaimReply.GONE
    assert record.finish("a.py", FIRST, "w1", "body")
    assert record.states(["b.py"]) == {"b.py": ("Q", FIRST + 1)}
    assert record.replication_id() == record.replication_id() != ""


def test_two_runs_do_not_see_each_other(client: Any, record: RunStore) -> None:
    other = RunStore(client, secrets.token_hex(8))
    other.seed({"a.py": FIRST}, epoch="e")

    assert record.claim("a.py", FIRST, "w1") is ClaimReply.OK
    assert other.claim("a.py", FIRST, "w1") is ClaimReply.OK
    assert {run_of(record), run_of(other)} <= RunStore.active_runs(client)
    other.end()
    assert record.epoch() == "e1"


@pytest.mark.parametrize("path", ["a|b:c.py", "a\nb.py", "ü.py", "a\udcff.py", "{x}.py"])
def test_any_name_of_a_file_survives(client: Any, record: RunStore, path: str) -> None:
    record.add({path: FIRST})
    assert record.claim(path, FIRST, "w:1|x") is ClaimReply.OK
    let_time_pass(client, record)
    lease = Lease(path=path, delivery=FIRST, worker="w:1|x")
    assert record.expired() == [lease]
    assert record.finish(path, FIRST, "w:1|x", "body")
    assert record.is_settled()
    assert record.read("0", block_s=0)[-1].path == path


def test_a_wrong_password_is_refused(server: EmbeddedServer) -> None:
    with (
        connect(server.url.replace("redis://:", "redis://:x"), timeout_s=5.0) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
