"""The books of the memory governor."""

from __future__ import annotations

from msgspec.structs import replace

from passmuster.host.host_budget_policy import HeldResources
from passmuster.model.executor import FreeCapacity
from passmuster.model.status import StopReason
from passmuster.model.task import Limits, TestTask
from worker.budget.cpu_watch import MachineLoad
from worker.budget.memory_ledger import MATURE_AFTER_S, MemoryLedger, Reservation
from worker.budget.memory_policy import UNKNOWN_FEW, Breach
from worker.budget.memory_probe import TreeMemory, TreeProbe


def _task(
    name: str, need: int | None = None, *, limit: int | None = None, exclusive: bool = False
) -> TestTask:
    return TestTask(
        run_id="r",
        file_path=name,
        predicted_bytes=need,
        exclusive=exclusive,
        limits=Limits(memory_bytes=limit),
    )


def _add(ledger: MemoryLedger, task: TestTask) -> Reservation:
    assert ledger.fits(task)
    return ledger.add(task, probe=TreeProbe(), now_s=0.0)


def _memory(used: int, *, is_settled: bool = True) -> TreeMemory:
    return TreeMemory(
        used_bytes=used,
        upper_bytes=used,
        file_bytes=0,
        processes=1,
        is_exact=True,
        is_due=False,
        is_settled=is_settled,
    )


def _breach(reason: StopReason) -> Breach:
    return Breach(
        attempt_id="r:a#1", reason=reason, used_bytes=600, limit_bytes=500, total_bytes=600, detail=""
    )


def _ledger(*, slots: int = 4, limit: int | None = None, cpus: int | None = None) -> MemoryLedger:
    return MemoryLedger(slots=slots, budget_bytes=1000, limit_bytes=limit, cpus=cpus)


def test_an_unknown_file_gets_a_fair_share_and_a_known_one_its_prediction() -> None:
    ledger = _ledger()
    assert ledger.free_capacity() == FreeCapacity(slots=4, free_bytes=1000, unknown_bytes=250, is_idle=True)
    _add(ledger, _task("a"))
    _add(ledger, _task("b", 600))
    assert ledger.free_capacity() == FreeCapacity(slots=2, free_bytes=150, unknown_bytes=250, is_idle=False)
    assert not ledger.fits(_task("c"))
    assert ledger.fits(_task("d", 150))


def test_the_lowest_free_slot_is_given() -> None:
    ledger = _ledger(slots=3)
    names = [_task(name, 1) for name in "abc"]
    assert [_add(ledger, task).slot for task in names] == [0, 1, 2]
    assert not ledger.fits(_task("d", 1))
    ledger.remove(names[1].attempt_id)
    assert _add(ledger, _task("d", 1)).slot == 1


def test_what_a_file_really_takes_counts_when_it_is_more_than_was_predicted() -> None:
    ledger = _ledger()
    entry = _add(ledger, _task("a", 100))
    entry.record(_memory(700), now_s=1)
    assert (ledger.reserved_bytes, ledger.predicted_bytes, ledger.used_bytes) == (700, 100, 700)
    entry.record(_memory(50), now_s=2)
    assert ledger.reserved_bytes == 100
    assert entry.peak_bytes == 700


def test_when_nothing_runs_a_file_of_any_size_may_start() -> None:
    ledger = _ledger()
    assert _add(ledger, _task("huge", 5000)).predicted_bytes == 1000


def test_a_file_reserves_no_more_than_it_may_use() -> None:
    assert _ledger(limit=300).need_bytes(_task("a", 900)) == 300
    assert _ledger(limit=300).need_bytes(_task("a", 900, limit=400)) == 400


def test_a_file_to_run_alone_has_nothing_beside_it() -> None:
    ledger = _ledger()
    alone = _task("alone", 1, exclusive=True)
    entry = _add(ledger, alone)
    assert ledger.free_capacity().slots == 0
    assert not ledger.fits(_task("a", 1))
    assert entry.was_alone
    ledger.remove(alone.attempt_id)
    other = _add(ledger, _task("a", 1))
    assert not ledger.fits(alone)
    _add(ledger, _task("b", 1))
    assert not other.was_alone


def test_a_file_knows_that_it_started_beyond_the_usual_number() -> None:
    ledger = MemoryLedger(slots=2, budget_bytes=1000, limit_bytes=None, cpus=4)

    entries = [_add(ledger, _task(name, 1)) for name in "abc"]

    assert [entry.was_extra for entry in entries] == [False, False, True]


def test_unknown_files_are_predicted_by_what_was_seen_and_not_by_who_was_guilty() -> None:
    ledger = _ledger()
    ledger.learn(400)
    assert ledger.unknown_bytes() == 460
    entry = _add(ledger, _task("a", 10))
    entry.record(_memory(600), now_s=1)
    assert ledger.unknown_bytes() == 690
    entry.breach = _breach(StopReason.MEMORY_BUDGET)
    assert ledger.unknown_bytes() == 690
    entry.breach = _breach(StopReason.MEMORY_LIMIT)
    assert ledger.unknown_bytes() == 460


def test_growth_is_what_two_looks_in_a_row_saw_and_a_correction_is_no_growth() -> None:
    entry = _add(_ledger(), _task("a", 10))
    entry.attached_at_s = 1.0
    entry.record(_memory(100), now_s=2.0)
    assert entry.growth_bytes_per_s == 0
    entry.record(_memory(400), now_s=3.0)
    assert entry.growth_bytes_per_s == 100
    entry.record(_memory(700), now_s=4.0)
    assert entry.growth_bytes_per_s == 300
    entry.record(_memory(600), now_s=4.0, replaces_last=True)
    assert entry.growth_bytes_per_s == 200
    entry.record(_memory(600), now_s=5.0)
    assert entry.growth_bytes_per_s == 0


def test_an_unsettled_estimate_is_no_peak_of_the_run() -> None:
    ledger = _ledger()
    entry = _add(ledger, _task("a", 10))
    entry.record(_memory(100), now_s=1.0)
    ledger.note_peak()
    entry.record(replace(_memory(900), is_settled=False), now_s=2.0)
    ledger.note_peak()

    assert ledger.peak_bytes == 100


def test_what_grows_in_steps_grows_between_the_steps_too() -> None:
    entry = _add(_ledger(), _task("a", 10))
    entry.attached_at_s = 1.0
    for look in range(1, 31):
        # A look each 10 ms, a step of 30 bytes each 30 ms.
        entry.record(_memory(look // 3 * 30), now_s=1.0 + look * 0.01)
        if look > 10:
            assert 500 < entry.growth_bytes_per_s < 2000


def test_one_large_step_is_no_growth() -> None:
    entry = _add(_ledger(), _task("a", 10))
    entry.attached_at_s = 1.0
    for look in range(1, 31):
        entry.record(_memory(500 if look > 10 else 0), now_s=1.0 + look * 0.01)
        assert entry.growth_bytes_per_s == 0


def test_an_unsettled_estimate_is_no_peak() -> None:
    entry = _add(_ledger(), _task("a", 10))
    entry.record(_memory(900, is_settled=False), now_s=1)
    assert (entry.peak_bytes, entry.used_bytes) == (None, 900)


def test_usage_lists_the_files_and_remembers_the_peak_of_all() -> None:
    ledger = _ledger()
    first, second = _add(ledger, _task("a", 1)), _add(ledger, _task("b", 1))
    first.record(_memory(300), now_s=1)
    second.record(_memory(400), now_s=1)
    ledger.note_peak()
    ledger.remove("r:a#1")
    usage = ledger.usage(now_s=5)
    assert (usage.slots, usage.budget_bytes, usage.used_bytes, usage.peak_bytes) == (4, 1000, 400, 700)
    (file,) = usage.files
    assert (file.attempt_id, file.file_path, file.slot, file.seconds) == ("r:b#1", "b", 1, 5)


def test_what_does_not_run_cannot_be_removed_or_found() -> None:
    ledger = _ledger()
    assert ledger.remove("r:a#1") is None
    assert ledger.find("r:a#1") is None
    assert ledger.entries == ()


def test_what_is_learned_holds_for_unknown_files_that_already_run() -> None:
    ledger = _ledger(slots=2)
    entry = _add(ledger, _task("a"))
    _add(ledger, _task("b", 100))
    assert (entry.predicted_bytes, ledger.reserved_bytes) == (500, 600)
    for _ in range(UNKNOWN_FEW):
        ledger.learn(100)
    assert ledger.reserved_bytes == 115 + 100
    entry.record(_memory(300), now_s=1)
    assert ledger.reserved_bytes == 300 + 100


def test_an_unknown_file_reserves_no_more_than_its_limit_whatever_is_learned() -> None:
    ledger = _ledger()
    _add(ledger, _task("a", limit=50))
    ledger.learn(400)
    assert ledger.reserved_bytes == 50


def _use(entry: Reservation, cpus: float) -> None:
    entry.cpu.record(0.0, now_s=0.0)
    entry.cpu.record(cpus, now_s=1.0)


def test_further_files_start_while_processors_are_idle_and_slots_stay_the_lowest_free() -> None:
    ledger = _ledger(slots=2, cpus=2)
    first, second = (_add(ledger, _task(name, 1)) for name in "ab")
    assert not ledger.fits(_task("c", 1))
    _use(first, 0.1)
    assert ledger.fits(_task("c", 1))
    assert ledger.usage(now_s=0).slots == 3
    assert _add(ledger, _task("c", 1)).slot == 2
    assert not ledger.fits(_task("d", 1))  # The new file may need what was idle.
    ledger.remove("r:b#1")
    assert _add(ledger, _task("d", 1)).slot == second.slot == 1


def test_memory_bounds_further_files_too() -> None:
    ledger = _ledger(slots=1, cpus=2)
    _use(_add(ledger, _task("a", 700)), 0.0)
    assert ledger.fits(_task("b", 300))
    assert not ledger.fits(_task("b", 301))


def test_files_that_mostly_wait_start_at_once_up_to_twice_and_then_up_to_four_times_as_many() -> None:
    ledger = _ledger(slots=2, cpus=2)
    waiting = [replace(_task(str(number), 1), predicted_s=10.0, predicted_cpu_s=1.0) for number in range(9)]
    for task in waiting[:4]:
        _add(ledger, task)
    assert not ledger.fits(waiting[4])
    ledger.load = MachineLoad(is_saturated=True)
    assert not ledger.fits(waiting[4])
    ledger.load = MachineLoad()
    assert not ledger.fits(_task("works", 1))
    for task in waiting[4:8]:
        _add(ledger, task)
    assert not ledger.fits(waiting[8])


def test_nothing_starts_beside_a_file_that_runs_alone_however_idle_it_leaves_the_machine() -> None:
    ledger = _ledger(slots=2, cpus=2)
    _use(_add(ledger, _task("a", 1, exclusive=True)), 0.0)
    assert not ledger.fits(_task("b", 1))


def test_what_else_keeps_processors_busy_keeps_further_files_away() -> None:
    ledger = _ledger(slots=1, cpus=2)
    _use(_add(ledger, _task("a", 1)), 1.0)
    assert ledger.fits(_task("b", 1))
    ledger.load = MachineLoad(other_cpus=0.6)
    assert not ledger.fits(_task("b", 1))


def test_what_is_held_counts_a_file_that_has_run_for_a_while_as_what_it_uses() -> None:
    ledger = _ledger()
    assert ledger.held_resources(now_s=0) == HeldResources()
    ledger.server_bytes = 10
    _add(ledger, _task("a", 400)).record(_memory(100), now_s=1)
    early, late = ledger.held_resources(now_s=1), ledger.held_resources(now_s=MATURE_AFTER_S + 1)
    assert (early.files, early.reserved_bytes, early.firm_bytes, early.used_bytes) == (1, 410, 410, 110)
    assert (late.reserved_bytes, late.firm_bytes) == (410, 10 + 114)


def test_no_more_is_held_than_the_budget() -> None:
    ledger = _ledger()
    unknown = _add(ledger, _task("a"))
    _add(ledger, _task("b", 1))
    unknown.record(_memory(900), now_s=1)
    assert ledger.held_resources(now_s=1).reserved_bytes == 1000


def test_on_saturated_processors_a_file_that_works_holds_a_whole_one() -> None:
    ledger = _ledger(cpus=2)
    for name, cpus in (("a", 0.4), ("b", 0.05)):
        _use(_add(ledger, _task(name, 1)), cpus)
    assert ledger.held_resources(now_s=1).cpus == 0.4 + 0.05
    ledger.load = MachineLoad(is_saturated=True)
    assert ledger.held_resources(now_s=1).cpus == 1.05


def test_an_unknown_file_is_taken_for_what_known_files_of_the_project_need() -> None:
    ledger = _ledger(slots=2)
    ledger.expect([_task("a", 20), _task("b")])
    assert ledger.unknown_bytes() == 500
    ledger.expect([_task(str(number), 20) for number in range(9)] + [_task("big", 900)])
    assert ledger.unknown_bytes() == 20
