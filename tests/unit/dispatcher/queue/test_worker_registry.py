"""Who runs a run's files, and what is said when nobody does."""

from __future__ import annotations

from msgspec import structs

from dispatcher.queue.worker_registry import LATE_S, WorkerRegistry
from passmuster.model.executor import FileUsage
from passmuster.model.task import TestTask
from passmuster.wire.broker_messages import RunningFileStatus, WorkerStatus


def card(name: str, **changes: object) -> WorkerStatus:
    plain = WorkerStatus(name=name, host="h", slots=2, busy=1, budget_bytes=1 << 30, version="1")
    return structs.replace(plain, **changes)


def test_only_those_of_the_same_version_that_take_part_count() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    crew.update([card("a"), card("b", budget_bytes=3 << 30), card("old", version="0.9")], now_s=0)

    assert (crew.slots, crew.budget_bytes, crew.largest_budget_bytes) == (4, 4 << 30, 3 << 30)
    assert crew.refused("b", "another tree") == ["worker b refuses the run: another tree"]
    assert crew.refused("b", "another tree") == []
    assert (crew.slots, crew.largest_budget_bytes) == (2, 1 << 30)


def test_what_a_file_uses_is_what_its_worker_said_of_this_run() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    told = [
        RunningFileStatus(run_id=run_id, path="a.py", seconds=seconds, used_bytes=used)
        for run_id, seconds, used in (("other", 9.0, 90), ("r", 2.5, 70))
    ]
    crew.update([card("w1"), card("w2", files=tuple(told))], now_s=0)
    tasks = [TestTask(run_id="r", file_path=path) for path in ("a.py", "new.py")]

    known, new = crew.file_usage([(task, "w2") for task in tasks])

    assert known == FileUsage(
        attempt_id=tasks[0].attempt_id, file_path="a.py", slot=0, seconds=2.5, used_bytes=70, worker="w2"
    )
    assert (new.file_path, new.seconds, new.used_bytes, new.worker) == ("new.py", 0.0, 0, "w2")


def test_a_worker_that_leaves_messages_lying_although_it_has_free_slots_is_named_once() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")
    cards = [
        card("deaf", runs=("r",), accepted=1),
        card("full", runs=("r",), accepted=2),
        card("other", runs=("x",)),
    ]

    said = [
        [text for text in crew.update(cards, now_s=now_s, has_waiting=True) if "free slots" in text]
        for now_s in (0.0, LATE_S - 1, LATE_S, LATE_S + 1)
    ]

    line = "worker deaf has free slots but fetches none of the waiting files: check its log, and whether it"
    assert said == [[], [], [f"{line} can reach the broker"], []]


def test_a_worker_is_not_called_idle_when_messages_wait_only_now_and_then() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")

    for second in range(60):
        cards = [card("w", runs=("r",), accepted=0)]
        assert crew.update(cards, now_s=second, has_waiting=second % 5 != 0) == []


def test_workers_whose_interpreters_differ_are_named_once_for_each_mixture() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")
    old, new = "CPython 3.9.2, packages aa", "CPython 3.13.0, packages bb"
    same = [card("a", runs=("r",), python=old), card("b", runs=("r",), python=old), card("c", python=new)]
    mixed = [*same[:2], card("c", runs=("r",), python=new)]

    assert crew.update(same, now_s=0) == []
    line = "the workers differ, so a file's result may depend on where it runs"
    assert crew.update(mixed, now_s=1) == [f"{line}: a has {old}, c has {new}"]
    assert crew.update(mixed, now_s=2) == []


def test_workers_that_differ_are_refused_once_where_the_user_says_so() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r", refuses_mixture=True)
    cards = [card(name, runs=("r",), python=f"CPython 3.{name}") for name in ("11", "12")]

    assert crew.update(cards, now_s=0) == []
    assert "11 has CPython 3.11, 12 has CPython 3.12; make them the same" in crew.mixture_problem()
    assert crew.mixture_problem() == ""


def test_a_worker_that_went_and_came_back_counts_again() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    crew.update([card("a"), card("b")], now_s=0)
    crew.refused("b", "another tree")

    assert crew.update([card("a")], now_s=1) == []
    assert crew.update([card("a"), card("b")], now_s=2) == []
    assert crew.slots == 4


def test_nobody_is_said_once_after_the_patience_with_every_reason() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    crew.update([card("a"), card("old", version="0.9")], now_s=0)
    crew.refused("a", "another tree")
    crew.update([card("a"), card("old", version="0.9")], now_s=10)

    assert crew.no_worker_problem(now_s=69) == ""
    reason = crew.no_worker_problem(now_s=70)
    assert reason.startswith("no worker can serve this run: a: another tree; old: it has version 0.9")
    assert crew.no_worker_problem(now_s=200) == ""


def test_many_reasons_are_not_all_named() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    crew.update([card(f"w{number}") for number in range(5)], now_s=0)
    for number in range(5):
        crew.refused(f"w{number}", "full disk")

    assert crew.no_worker_message(waited_s=60).endswith("w2: full disk; and 2 more")


def test_without_any_worker_it_is_said_how_to_start_one() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    crew.update([], now_s=0)

    assert "no worker was there for 60 s: start one with run-tests-worker" in crew.no_worker_problem(now_s=60)


def test_a_worker_that_does_not_take_files_yet_is_named_once() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="x")
    cards = [card("a"), card("b", runs=("x",)), card("c"), card("old", version="0.9")]
    assert crew.update(cards, now_s=0) == []
    crew.refused("c", "another tree")
    assert crew.update(cards, now_s=9) == []

    notice = "worker a has not fetched a file of this run yet: it serves another run, or prepares the files"
    assert crew.update(cards, now_s=10) == [notice]
    assert crew.update(cards, now_s=100) == []
    assert crew.update([card("a", runs=("x",)), *cards[1:]], now_s=101) == []
    assert crew.update(cards, now_s=102) == []
    assert crew.update(cards, now_s=112) == [notice]


def test_before_there_is_a_run_nobody_is_late() -> None:
    crew = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    crew.update([card("a")], now_s=0)

    assert crew.update([card("a")], now_s=1000) == []


def test_a_worker_that_is_there_for_another_run_does_not_count() -> None:
    ours = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")
    plain = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    cards = [card("a"), card("ours", only_run="r", runs=("r",)), card("other", only_run="s", slots=50)]

    assert ours.update(cards, now_s=0) == plain.update(cards, now_s=0) == []
    assert (ours.slots, plain.slots) == (4, 2)
    assert [usage.name for usage in ours.usage()] == ["a", "ours"]


def test_a_file_that_fits_no_worker_is_named_if_its_need_is_known() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    before = registry.oversized_warning("a.py", 2 << 30)
    registry.update([card("small"), card("big", budget_bytes=3 << 30)], now_s=0)

    assert (
        before
        == registry.oversized_warning("a.py", None)
        == registry.oversized_warning("a.py", 3 << 30)
        == ""
    )
    warning = registry.oversized_warning("a.py", 4 << 30)
    assert warning.startswith("a.py needed 4 GiB when it last ran, and the largest worker has 3 GiB")
