"""Tests which workers serve a run, and what the user is told if none does."""

from __future__ import annotations

from msgspec import structs

from dispatcher.queue.worker_registry import LATE_S, WorkerRegistry
from passmuster.model.executor import FileUsage
from passmuster.model.task import TestTask
from passmuster.wire.broker_messages import RunningFileStatus, WorkerStatus


def worker_status(name: str, **changes: object) -> WorkerStatus:
    plain = WorkerStatus(name=name, host="h", slots=2, busy=1, budget_bytes=1 << 30, version="1")
    return structs.replace(plain, **changes)


def test_only_workers_of_the_same_version_that_do_not_refuse_count() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    registry.update(
        [worker_status("a"), worker_status("b", budget_bytes=3 << 30), worker_status("old", version="0.9")],
        now_s=0,
    )

    assert (registry.slots, registry.budget_bytes, registry.largest_budget_bytes) == (4, 4 << 30, 3 << 30)
    assert registry.refused("b", "another tree") == ["worker b refuses the run: another tree"]
    assert registry.refused("b", "another tree") == []
    assert (registry.slots, registry.largest_budget_bytes) == (2, 1 << 30)


def test_the_usage_of_a_file_is_what_its_worker_reported_for_this_run() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    reported = [
        RunningFileStatus(run_id=run_id, path="a.py", seconds=seconds, used_bytes=used)
        for run_id, seconds, used in (("other", 9.0, 90), ("r", 2.5, 70))
    ]
    registry.update([worker_status("w1"), worker_status("w2", files=tuple(reported))], now_s=0)
    tasks = [TestTask(run_id="r", file_path=path) for path in ("a.py", "new.py")]

    known, new = registry.file_usage([(task, "w2") for task in tasks])

    assert known == FileUsage(
        attempt_id=tasks[0].attempt_id, file_path="a.py", slot=0, seconds=2.5, used_bytes=70, worker="w2"
    )
    assert (new.file_path, new.seconds, new.used_bytes, new.worker) == ("new.py", 0.0, 0, "w2")


def test_a_worker_with_free_slots_that_fetches_nothing_is_named_once() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")
    statuses = [
        worker_status("deaf", runs=("r",), accepted=1),
        worker_status("full", runs=("r",), accepted=2),
        worker_status("other", runs=("x",)),
    ]

    warnings = [
        [text for text in registry.update(statuses, now_s=now_s, has_waiting=True) if "free slots" in text]
        for now_s in (0.0, LATE_S - 1, LATE_S, LATE_S + 1)
    ]

    line = "worker deaf has free slots but fetches none of the waiting files: check its log, and whether it"
    assert warnings == [[], [], [f"{line} can reach the broker"], []]


def test_a_worker_is_not_idle_while_the_queue_is_empty_now_and_then() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")

    for second in range(60):
        statuses = [worker_status("w", runs=("r",), accepted=0)]
        assert registry.update(statuses, now_s=second, has_waiting=second % 5 != 0) == []


def test_workers_whose_interpreters_differ_are_named_once_for_each_mixture() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")
    old, new = "CPython 3.9.2, packages aa", "CPython 3.13.0, packages bb"
    same = [
        worker_status("a", runs=("r",), python=old),
        worker_status("b", runs=("r",), python=old),
        worker_status("c", python=new),
    ]
    mixed = [*same[:2], worker_status("c", runs=("r",), python=new)]

    assert registry.update(same, now_s=0) == []
    line = "the workers differ, so a file's result may depend on where it runs"
    assert registry.update(mixed, now_s=1) == [f"{line}: a has {old}, c has {new}"]
    assert registry.update(mixed, now_s=2) == []


def test_different_workers_end_the_run_if_the_user_wants_it() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r", refuses_mixture=True)
    statuses = [worker_status(name, runs=("r",), python=f"CPython 3.{name}") for name in ("11", "12")]

    assert registry.update(statuses, now_s=0) == []
    problem = registry.mixture_problem()
    assert problem is not None
    assert "11 has CPython 3.11, 12 has CPython 3.12; make them the same" in problem
    assert registry.mixture_problem() is None


def test_a_worker_that_refused_and_came_back_counts_again() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    registry.update([worker_status("a"), worker_status("b")], now_s=0)
    registry.refused("b", "another tree")

    assert registry.update([worker_status("a")], now_s=1) == []
    assert registry.update([worker_status("a"), worker_status("b")], now_s=2) == []
    assert registry.slots == 4


def test_a_missing_worker_is_reported_once_after_the_timeout_with_every_reason() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    registry.update([worker_status("a"), worker_status("old", version="0.9")], now_s=0)
    registry.refused("a", "another tree")
    registry.update([worker_status("a"), worker_status("old", version="0.9")], now_s=10)

    assert registry.no_worker_problem(now_s=69) is None
    reason = registry.no_worker_problem(now_s=70)
    assert reason is not None
    assert reason.startswith("no worker can serve this run: a: another tree; old: it has version 0.9")
    assert registry.no_worker_problem(now_s=200) is None


def test_many_reasons_are_not_all_named() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    registry.update([worker_status(f"w{number}") for number in range(5)], now_s=0)
    for number in range(5):
        registry.refused(f"w{number}", "full disk")

    assert registry.no_worker_message(waited_s=60).endswith("w2: full disk; and 2 more")


def test_without_any_worker_the_message_says_how_to_start_one() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    registry.update([], now_s=0)

    problem = registry.no_worker_problem(now_s=60)
    assert problem is not None
    assert "no worker was there for 60 s: start one with run-tests-worker" in problem


def test_a_worker_that_does_not_fetch_files_yet_is_named_once() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="x")
    statuses = [
        worker_status("a"),
        worker_status("b", runs=("x",)),
        worker_status("c"),
        worker_status("old", version="0.9"),
    ]
    assert registry.update(statuses, now_s=0) == []
    registry.refused("c", "another tree")
    assert registry.update(statuses, now_s=9) == []

    notice = "worker a has not fetched a file of this run yet: it serves another run, or prepares the files"
    assert registry.update(statuses, now_s=10) == [notice]
    assert registry.update(statuses, now_s=100) == []
    assert registry.update([worker_status("a", runs=("x",)), *statuses[1:]], now_s=101) == []
    assert registry.update(statuses, now_s=102) == []
    assert registry.update(statuses, now_s=112) == [notice]


def test_without_a_run_no_worker_is_late() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    registry.update([worker_status("a")], now_s=0)

    assert registry.update([worker_status("a")], now_s=1000) == []


def test_a_worker_reserved_for_another_run_does_not_count() -> None:
    ours = WorkerRegistry(version="1", timeout_s=60, now_s=0, run_id="r")
    plain = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    statuses = [
        worker_status("a"),
        worker_status("ours", only_run="r", runs=("r",)),
        worker_status("other", only_run="s", slots=50),
    ]

    assert ours.update(statuses, now_s=0) == plain.update(statuses, now_s=0) == []
    assert (ours.slots, plain.slots) == (4, 2)
    assert [usage.name for usage in ours.usage()] == ["a", "ours"]


def test_a_file_that_fits_no_worker_is_named_if_its_need_is_known() -> None:
    registry = WorkerRegistry(version="1", timeout_s=60, now_s=0)
    before = registry.oversized_warning("a.py", 2 << 30)
    registry.update([worker_status("small"), worker_status("big", budget_bytes=3 << 30)], now_s=0)

    assert before is None
    assert registry.oversized_warning("a.py", None) is None
    assert registry.oversized_warning("a.py", 3 << 30) is None
    warning = registry.oversized_warning("a.py", 4 << 30)
    assert warning is not None
    assert warning.startswith("a.py needed 4 GiB when it last ran, and the largest worker has 3 GiB")
