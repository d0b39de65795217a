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
    assert ledger.free_capacity() == FreeCapacity(slots=4, free_bytes=1000, unknown_bytes=250, running=0)
    _add(ledger, _task("a"))
    _add(ledger, _task("b", 600))
    assert ledger.free_capacity() == FreeCapacity(slots=2, free_bytes=150, unknown_bytes=250, running=2)
    assert not ledger.fits(_task("c"))
    assert ledger.fits(_task("d", 150))


def test_the_lowest_free_slot_is_given() -> None:
    ledger = _ledger(slots=3)
    names = [_task(name, 1) for name in "abc"]
    assert [_add(ledger, task).slot for task in names] == [0, 1, 2]
    assert not ledger.fits(_task("d", 1))
    ledger.remove(names[1].attempt_id)
    assert _add(ledger, _task("d", 1)).slot == 1


def test_measured_use_counts_if_it_exceeds_the_prediction() -> None:
    ledger = _ledger()
    entry = _add(ledger, _task("a", 100))
    entry.record(_memory(700), now_s=1)
    assert (ledger.reserved_bytes, ledger.predicted_bytes, ledger.used_bytes) == (700, 100, 700)
    entry.record(_memory(50), now_s=2)
    assert ledger.reserved_bytes == 100
    assert entry.peak_bytes == 700


def test_on_an_idle_machine_a_file_of_any_size_may_start() -> None:
    ledger = _ledger()
    assert _add(ledger, _task("huge", 5000)).predicted_bytes == 1000


def test_a_file_reserves_no_more_than_its_limit() -> None:
    assert _ledger(limit=300).need_bytes(_task("a", 900)) == 300
    assert _ledger(limit=300).need_bytes(_task("a", 900, limit=400)) == 400


def test_no_file_runs_at_the_same_time_as_an_exclusive_file() -> None:
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


def test_a_file_that_started_beyond_the_slots_is_marked() -> None:
    ledger = MemoryLedger(slots=2, budget_bytes=1000, limit_bytes=None, cpus=4)

    entries = [_add(ledger, _task(name, 1)) for name in "abc"]

    assert [entry.was_extra for entry in entries] == [False, False, True]


def test_unknown_files_are_predicted_from_peaks_except_of_files_over_their_limit() -> None:
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


def test_growth_needs_two_windows_and_a_correction_is_no_growth() -> None:
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


def test_growth_in_steps_counts_between_the_steps() -> None:
    entry = _add(_ledger(), _task("a", 10))
    entry.attached_at_s = 1.0
    for look in range(1, 31):
        # A look each 10 ms, a step of 30 bytes each 30 ms.
        entry.record(_memory(look // 3 * 30), now_s=1.0 + look * 0.01)
        if look > 10:
            assert 500 < entry.growth_bytes_per_s < 2000


def test_a_single_step_is_no_growth() -> None:
    entry = _add(_ledger(), _task("a", 10))
    entry.attached_at_s = 1.0
    for look in range(1, 31):
        entry.record(_memory(500 if look > 10 else 0), now_s=1.0 + look * 0.01)
        assert entry.growth_bytes_per_s == 0


def test_an_unsettled_estimate_is_no_peak() -> None:
    entry = _add(_ledger(), _task("a", 10))
    entry.record(_memory(900, is_settled=False), now_s=1)
    assert (entry.peak_bytes, entry.used_bytes) == (None, 900)


def test_usage_lists_the_files_and_the_peak_of_all_together() -> None:
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


def test_a_file_that_does_not_run_is_neither_found_nor_removed() -> None:
    ledger = _ledger()
    assert ledger.remove("r:a#1") is None
    assert ledger.find("r:a#1") is None
    assert ledger.entries == ()


def test_new_peaks_change_the_reservations_of_running_unknown_files() -> None:
    ledger = _ledger(slots=2)
    entry = _add(ledger, _task("a"))
    _add(ledger, _task("b", 100))
    assert (entry.predicted_bytes, ledger.reserved_bytes) == (500, 600)
    for _ in range(UNKNOWN_FEW):
        ledger.learn(100)
    assert ledger.reserved_bytes == 115 + 100
    entry.record(_memory(300), now_s=1)
    assert ledger.reserved_bytes == 300 + 100


def test_an_unknown_file_never_reserves_more_than_its_limit() -> None:
    ledger = _ledger()
    _add(ledger, _task("a", limit=50))
    ledger.learn(400)
    assert ledger.reserved_bytes == 50


def _use(entry: Reservation, cpus: float) -> None:
    entry.cpu.record(0.0, now_s=0.0)
    entry.cpu.record(cpus, now_s=1.0)


def test_extra_files_start_while_cpus_are_idle_in_the_lowest_free_slots() -> None:
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


def test_memory_bounds_extra_files_too() -> None:
    ledger = _ledger(slots=1, cpus=2)
    _use(_add(ledger, _task("a", 700)), 0.0)
    assert ledger.fits(_task("b", 300))
    assert not ledger.fits(_task("b", 301))


def test_io_bound_files_start_up_to_twice_and_then_four_times_the_slots() -> None:
    ledger = _ledger(slots=2, cpus=2)
    waiting = [replace(_task(str(number), 1), predicted_s=10.0, predicted_cpu_s=1.0) for number in range(9)]
    for task in waiting[:4]:
        _add(ledger, task)
    assert not ledger.fits(waiting[4])
    ledger.load = MachineLoad(is_saturated=True)
    assert not ledger.fits(waiting[4])
    ledger.load = MachineLoad()
    assert ledger.fits(_task("works", 1))
    for task in waiting[4:8]:
        _add(ledger, task)
    assert not ledger.fits(waiting[8])
    assert not ledger.fits(_task("works", 1))


def test_no_extra_file_starts_while_an_exclusive_file_runs() -> None:
    ledger = _ledger(slots=2, cpus=2)
    _use(_add(ledger, _task("a", 1, exclusive=True)), 0.0)
    assert not ledger.fits(_task("b", 1))


def test_other_load_on_the_cpus_prevents_extra_files() -> None:
    ledger = _ledger(slots=1, cpus=2)
    _use(_add(ledger, _task("a", 1)), 1.0)
    assert ledger.fits(_task("b", 1))
    ledger.load = MachineLoad(other_cpus=0.6)
    assert not ledger.fits(_task("b", 1))


def test_an_older_file_counts_with_its_use_for_other_runs() -> None:
    ledger = _ledger()
    assert ledger.held_resources(now_s=0) == HeldResources()
    ledger.server_bytes = 10
    _add(ledger, _task("a", 400)).record(_memory(100), now_s=1)
    early, late = ledger.held_resources(now_s=1), ledger.held_resources(now_s=MATURE_AFTER_S + 1)
    assert (early.files, early.reserved_bytes, early.firm_bytes, early.used_bytes) == (1, 410, 410, 110)
    assert (late.reserved_bytes, late.firm_bytes) == (410, 10 + 114)


def test_a_run_never_holds_more_than_its_budget() -> None:
    ledger = _ledger()
    unknown = _add(ledger, _task("a"))
    _add(ledger, _task("b", 1))
    unknown.record(_memory(900), now_s=1)
    assert ledger.held_resources(now_s=1).reserved_bytes == 1000


def test_on_saturated_cpus_a_busy_file_holds_a_whole_one() -> None:
    ledger = _ledger(cpus=2)
    for name, cpus in (("a", 0.4), ("b", 0.05)):
        _use(_add(ledger, _task(name, 1)), cpus)
    assert ledger.held_resources(now_s=1).cpus == 0.4 + 0.05
    ledger.load = MachineLoad(is_saturated=True)
    assert ledger.held_resources(now_s=1).cpus == 1.05


def test_an_unknown_file_is_predicted_from_the_known_files_of_the_project() -> None:
    ledger = _ledger(slots=2)
    ledger.expect([_task("a", 20), _task("b")])
    assert ledger.unknown_bytes() == 500
    ledger.expect([_task(str(number), 20) for number in range(9)] + [_task("big", 900)])
    assert ledger.unknown_bytes() == 20
