"""Tests the journal of a joined run: the next leader resumes from it, and earlier passes stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from dispatcher.join.broker_journal import BrokerJournal
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from passmuster.model.errors import InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.task import TestTask
from passmuster.wire.envelope import Envelope, EnvelopeError
from passmuster.wire.join_messages import JoinCodec, NewRound
from passmuster.wire.join_store import LeaderLease, NotLeadingError
from tests.unit.dispatcher.join.join_fakes import CODEC, FakeStore, joined_run


def plan(*paths: str, isolation: Isolation = Isolation.AUTO, failed_before: bool = False) -> RunPlan:
    files = tuple(
        PlannedFile(
            file=TestFile(path=path, label=path),
            task=TestTask(run_id="r", file_path=path, isolation=isolation),
            failed_before=failed_before,
        )
        for path in paths
    )
    return RunPlan(run_id="r", files=files)


def held(store: FakeStore, number: int = 1) -> BrokerJournal:
    return BrokerJournal(joined_run(store), LeaderLease("m", number), run_id="r")


def result(path: str, status: Status = Status.PASS, **changes: object) -> TestResult:
    return TestResult(file_path=path, status=status, **changes)  # type: ignore[arg-type]  # Fields by name.


def test_the_next_leader_finds_every_attempt() -> None:
    store = FakeStore()
    first = held(store)
    first.add([result("a.py", output="out"), result("b.py", Status.FAIL)])
    first.add([result("b.py", attempt=2)])

    same_plan, (_, ended, notice) = held(store).open(plan("a.py", "b.py"), None)
    assert notice == "resuming run r: 2 of 2 files have already run"

    assert same_plan == plan("a.py", "b.py")
    assert ended == {
        ("a.py", 1): result("a.py", output="out"),
        ("b.py", 1): result("b.py", Status.FAIL),
        ("b.py", 2): result("b.py", attempt=2),
    }


def test_a_round_drops_what_it_reruns_and_investigates_nothing_else() -> None:
    store = FakeStore()
    held(store).add([result("a.py"), result("b.py", Status.FAIL), result("c.py", Status.FAIL)])
    store.journal.append(("round", CODEC.encode_round(NewRound(number=2, paths=("b.py", "c.py")))))
    held(store, 2).add([result("b.py")])
    # It arrives late, of the round before: it is none of this one.
    held(store, 1).add([result("c.py", Status.FAIL, attempt=2)])

    changed, (_, ended, _) = held(store, 2).open(plan("a.py", "b.py", "c.py", failed_before=True), None)

    assert set(ended) == {("a.py", 1), ("b.py", 1)}
    assert ended["b.py", 1].status is Status.PASS
    assert [item.is_fork_verified for item in changed.files] == [True, False, False]
    assert [item.failed_before for item in changed.files] == [False, True, True]


def test_a_forked_result_counts_only_where_the_file_may_be_forked() -> None:
    store = FakeStore()
    held(store).add(
        [result("forked.py", isolation=Isolation.FORK), result("spawned.py", isolation=Isolation.SPAWN)]
    )

    _, (_, ended, _) = held(store).open(plan("forked.py", "spawned.py", isolation=Isolation.SPAWN), None)
    assert set(ended) == {("spawned.py", 1)}

    changed, (_, ended, _) = held(store, 2).open(plan("forked.py", isolation=Isolation.SPAWN), None)
    assert set(ended) == {("forked.py", 1), ("spawned.py", 1)}
    assert changed.files[0].task.isolation is Isolation.AUTO


def test_coverage_data_is_part_of_the_journal(tmp_path: Path) -> None:
    store = FakeStore()
    data = tmp_path / ".coverage.1"
    data.write_bytes(b"\0data\xff")
    held(store).add([result("a.py", coverage_files=(str(data),), coverage_root="/there")])
    data.unlink()

    _, (_, with_data, _) = held(store).open(plan("a.py"), tmp_path / "coverage")
    _, (_, without, _) = held(store).open(plan("a.py"), None)

    (path,) = with_data["a.py", 1].coverage_files
    assert Path(path).parent == tmp_path / "coverage"
    assert Path(path).read_bytes() == b"\0data\xff"
    assert with_data["a.py", 1].coverage_root == "/there"
    assert without["a.py", 1].coverage_files == ()


def test_a_member_that_lost_the_lease_writes_nothing() -> None:
    store = FakeStore()
    store.holder = LeaderLease("another", 1)

    with pytest.raises(NotLeadingError):
        held(store).add([result("a.py")])

    assert store.journal == []


def test_writing_is_retried_while_the_broker_is_unavailable() -> None:
    store = FakeStore()
    store.breaks = [redis.ConnectionError("away")] * 3
    held(store).add([result("a.py")])
    assert len(store.journal) == 1

    store.breaks = [redis.ConnectionError("away")] * 1000
    with pytest.raises(InfrastructureError, match="unavailable for 120 s: away"):
        held(store).add([result("b.py")])


def test_entries_signed_for_another_run_or_secret_are_refused() -> None:
    for forger in (JoinCodec(Envelope("guessed"), "run"), JoinCodec(Envelope("secret"), "another run")):
        store = FakeStore()
        BrokerJournal(joined_run(store, forger), LeaderLease("m", 1), run_id="r").add([result("a.py")])

        with pytest.raises(EnvelopeError):
            held(store).open(plan("a.py"), None)
