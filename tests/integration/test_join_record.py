"""What the broker keeps of a run that machines join, on a real one: one leads, and who led does no harm."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.broker_keys import DELIVERIES_PER_ATTEMPT, JOIN_TTL_S, LEADER_LEASE_MS, PREFIX, join_key
from passmuster.wire.join_messages import EnterReply
from passmuster.wire.join_store import JoinStore, LeaderLease, NotLeadingError
from passmuster.wire.run_store import RunStore, connect


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[Any]:
    with connect(server.url, timeout_s=5.0) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"run {secrets.token_hex(4)}"


def let_the_claim_run_out(client: Any, name: str) -> None:
    assert 0 < client.pttl(join_key(name, "lease")) <= LEADER_LEASE_MS
    client.delete(join_key(name, "lease"))


def keys(client: Any, name: str) -> list[str]:
    return [key for key in client.keys("*") if key.startswith(join_key(name, ""))]


def test_the_first_terms_hold(client: Any, name: str) -> None:
    assert JoinStore(client, name, spec="first").propose_spec() == "first"
    assert JoinStore(client, name, spec="second").propose_spec() == "first"
    assert JoinStore(client, f"{name}!", spec="second").propose_spec() == "second"


def test_a_machine_is_seen_once_in_each_round(client: Any, name: str) -> None:
    record = JoinStore(client, name, attempt=4)

    assert record.enter("host a") == EnterReply(1, False, 4, False)
    assert record.enter("host a") == EnterReply(1, False, 4, True)
    assert JoinStore(client, name, attempt=9).enter("host b") == EnterReply(1, False, 4, False)


def test_one_leads_until_it_is_silent(client: Any, name: str) -> None:
    record, first, second = JoinStore(client, name), LeaderLease("a", 1), LeaderLease("b", 1)
    record.enter("x")
    assert record.claim(first)
    assert not record.claim(second)
    assert record.status(1) == (1, True, "a", False)

    let_the_claim_run_out(client, name)
    assert record.status(1).is_led is False
    assert record.renew(first)  # Nobody took it meanwhile.
    let_the_claim_run_out(client, name)
    assert record.claim(second)

    assert not record.renew(first)
    with pytest.raises(NotLeadingError):
        record.append(first, ["late"])
    with pytest.raises(NotLeadingError):
        record.finish_round(first, "late", is_green=True)
    record.give_up(first)
    assert record.status(1) == (1, True, "b", False)
    assert list(record.entries()) == []


def test_who_gives_up_lets_another_one_lead_at_once(client: Any, name: str) -> None:
    record, first, second = JoinStore(client, name), LeaderLease("a", 1), LeaderLease("b", 1)
    record.enter("x")
    record.claim(first)

    record.give_up(first)

    assert not record.renew(first)
    assert record.claim(second)


def test_a_round_ends_once_and_another_one_begins_once(client: Any, name: str) -> None:
    record, claim = JoinStore(client, name, attempt=1), LeaderLease("a", 1)
    record.enter("x")
    record.claim(claim)
    record.append(claim, ["one", "two"])
    assert not record.start_round(1, "x", "too early")

    record.finish_round(claim, "outcome of 1", is_green=False)
    assert record.status(1).has_outcome
    assert not record.claim(LeaderLease("b", 1))
    assert record.enter("x") == EnterReply(1, True, 1, True)

    again = JoinStore(client, name, attempt=2)
    assert again.start_round(1, "x", "second round")
    assert not again.start_round(1, "y", "second round")
    assert again.enter("x") == EnterReply(2, False, 2, True)
    assert record.claim(LeaderLease("b", 2))
    assert record.status(1).has_outcome
    assert not record.status(2).has_outcome
    assert record.outcome(1) == "outcome of 1"
    assert list(record.entries()) == [("result", "one"), ("result", "two"), ("round", "second round")]


def test_a_round_that_passed_needs_no_journal(client: Any, name: str) -> None:
    record, claim = JoinStore(client, name), LeaderLease("a", 1)
    record.enter("x")
    record.claim(claim)
    record.append(claim, ["one"])

    record.finish_round(claim, "outcome", is_green=True)

    assert list(record.entries()) == []
    assert record.outcome(1) == "outcome"


def test_a_broker_that_forgot_is_told_again_by_who_leads(client: Any, name: str) -> None:
    record, claim = JoinStore(client, name, attempt=3, spec="terms"), LeaderLease("a", 2)
    record.propose_spec()
    record.enter("x", 2)
    record.claim(claim)
    client.flushdb()

    record.append(claim, ["result"])

    assert record.status(2) == (2, True, "a", False)
    assert JoinStore(client, name, spec="others").propose_spec() == "terms"
    assert list(record.entries()) == [("result", "result")]

    client.flushdb()
    record.enter("y", 2)
    assert record.claim(LeaderLease("b", 2))
    with pytest.raises(NotLeadingError):
        record.append(claim, ["late"])


def test_all_of_it_expires(client: Any, name: str) -> None:
    record, claim = JoinStore(client, name, spec="terms"), LeaderLease("a", 1)
    record.propose_spec()
    record.enter("x")
    record.heartbeat("a")
    record.claim(claim)
    record.append(claim, ["result"])
    record.put_chunk(1, "run.record", 0, "part")
    left = {key: client.ttl(key) for key in keys(client, name)}
    record.finish_round(claim, "outcome", is_green=False)
    left |= {key: client.ttl(key) for key in keys(client, name)}

    assert len(left) == 9
    assert all(key.startswith(PREFIX) and 0 < ttl <= 7 * JOIN_TTL_S for key, ttl in left.items()), left


def test_machines_know_of_each_other(client: Any, name: str) -> None:
    record = JoinStore(client, name)
    assert record.heartbeat("a") == 0
    assert record.heartbeat("b") == 1
    record.leave("a")
    assert record.heartbeat("b") == 0

    record.heartbeat("a")
    client.hset(join_key(name, "members"), "a", "1")
    assert record.heartbeat("b") == 0


def test_who_was_overtaken_changes_nothing_in_the_run(client: Any, name: str) -> None:
    record, first = JoinStore(client, name), LeaderLease("a", 1)
    record.enter("x")
    record.claim(first)
    old = RunStore(client, name, lambda: record.transaction(client, first))
    old.seed({"a.py": DELIVERIES_PER_ATTEMPT + 1}, epoch="e")
    old.claim("a.py", DELIVERIES_PER_ATTEMPT + 1, "w")
    let_the_claim_run_out(client, name)
    old.heartbeat()  # Silent for long, and yet nobody has taken over.
    assert record.claim(LeaderLease("b", 1))
    new = RunStore(client, name)
    entries = new.read("0", block_s=0)

    for change in (
        lambda: old.seed({}, epoch="other"),
        lambda: old.add({"b.py": DELIVERIES_PER_ATTEMPT + 1}),
        lambda: old.withdraw("a.py", DELIVERIES_PER_ATTEMPT + 1),
        old.heartbeat,
        old.cancel,
        old.end,
        lambda: old.discard([entries[-1].entry_id]),
    ):
        with pytest.raises(NotLeadingError):
            change()

    assert new.epoch() == "e"
    assert new.load_states() == ("e", {"a.py": ("R", DELIVERIES_PER_ATTEMPT + 1)})
    assert new.read("0", block_s=0) == entries
    new.end()


def test_a_renewal_in_between_does_not_disturb(client: Any, name: str) -> None:
    record, claim = JoinStore(client, name), LeaderLease("a", 1)
    record.enter("x")
    record.claim(claim)

    with record.transaction(client, claim) as pipeline:
        record.renew(claim)
        pipeline.set(join_key(name, "try"), "1", ex=9)
        pipeline.execute()

    def write_too_late() -> None:
        with record.transaction(client, claim) as pipeline:
            let_the_claim_run_out(client, name)
            record.claim(LeaderLease("b", 1))
            pipeline.set(join_key(name, "try"), "2")
            pipeline.execute()

    with pytest.raises(NotLeadingError):
        write_too_late()

    assert client.get(join_key(name, "try")) == "1"
