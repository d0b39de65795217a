"""When more files than usual may run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.model.oversubscription import (
    MAX_TIMES,
    MAX_WAITING_TIMES,
    FreeSlots,
    free_slots,
    max_slots,
)
from passmuster.model.task import IO_BOUND_CPU_SHARE, TestTask

_uses = st.lists(st.floats(0, 2), max_size=40)
_cpus = st.one_of(st.none(), st.integers(1, 16))


def places(
    *used_cpus: float, cpus: int | None = 2, other_cpus: float = 0.0, is_saturated: bool = False
) -> FreeSlots:
    return free_slots(
        slots=2, cpus=cpus, used_cpus=used_cpus, other_cpus=other_cpus, is_saturated=is_saturated
    )


def test_the_usual_number_may_run_however_busy_the_machine_is() -> None:
    assert places(5.0, other_cpus=9.0, is_saturated=True) == FreeSlots(slots=1, io_bound_slots=0)


@pytest.mark.parametrize(
    ("used_cpus", "slots"), [((1.0, 1.0), 0), ((1.0, 0.6), 0), ((1.0, 0.5), 1), ((0.0, 0.0), 1)]
)
def test_one_more_may_start_for_half_an_idle_processor(used_cpus: tuple[float, ...], slots: int) -> None:
    assert places(*used_cpus).slots == slots
    assert places(*used_cpus, cpus=None).slots == 0


def test_what_shares_a_processor_is_not_followed_by_as_many_again() -> None:
    # Four files that work on two processors use half of one each; one of them has just ended.
    assert places(0.5, 0.5, 0.5, is_saturated=True).slots == 0
    assert places(0.5, 0.5, 0.2, is_saturated=False).slots == 1


def test_up_to_twice_as_many_work_and_up_to_four_times_with_those_that_wait() -> None:
    assert places(*[0.5] * 3, cpus=8) == FreeSlots(slots=1, io_bound_slots=0)
    assert places(*[0.5] * 4, cpus=8) == FreeSlots(slots=0, io_bound_slots=1)
    assert places(*[0.5] * 4, *[0.0] * 3, cpus=8) == FreeSlots(slots=0, io_bound_slots=1)
    assert places(*[0.5] * 4, *[0.0] * 4, cpus=8) == FreeSlots(slots=0, io_bound_slots=0)


def test_files_that_wait_take_no_slot_from_one_that_works() -> None:
    assert places(*[0.0] * 7) == FreeSlots(slots=1, io_bound_slots=0)
    assert places(*[0.0] * 8) == FreeSlots(slots=0, io_bound_slots=0)


def test_before_a_measurement_files_that_seem_to_wait_count_as_well() -> None:
    found = free_slots(slots=2, cpus=2, used_cpus=[0.0] * 4, is_measured=False)
    assert found == FreeSlots(slots=0, io_bound_slots=0)


def test_what_something_else_uses_is_not_idle() -> None:
    assert places(0.5, 0.5, other_cpus=0.8).slots == 0


@given(slots=st.integers(1, 16), cpus=_cpus, used=_uses, other=st.floats(0, 4), is_saturated=st.booleans())
def test_the_promises_hold_whatever_runs(
    slots: int, cpus: int | None, used: list[float], other: float, *, is_saturated: bool
) -> None:
    found = free_slots(slots=slots, cpus=cpus, used_cpus=used, other_cpus=other, is_saturated=is_saturated)
    running, working = len(used), sum(cpus_used >= IO_BOUND_CPU_SHARE for cpus_used in used)
    assert found.slots >= max(0, slots - running)
    assert found.io_bound_slots >= 0
    if found.slots > 0:
        assert working + found.slots <= slots * MAX_TIMES
    if found.slots + found.io_bound_slots > 0:
        assert running + found.slots + found.io_bound_slots <= max_slots(slots, cpus=cpus)
    is_beyond = running >= slots and found.slots + found.io_bound_slots > 0
    if is_beyond:
        assert cpus is not None
        assert sum(used) + other < cpus
    if cpus is not None and running >= slots and sum(used) + other >= cpus:
        assert found == FreeSlots(slots=0, io_bound_slots=0)


@given(slots=st.integers(1, 16), cpus=st.integers(1, 16))
def test_files_that_keep_a_processor_each_never_exceed_both_slots_and_processors(
    slots: int, cpus: int
) -> None:
    running = 0
    while free_slots(slots=slots, cpus=cpus, used_cpus=[1.0] * running).slots:
        running += 1
    assert running == max(slots, min(cpus, slots * MAX_TIMES))


@given(slots=st.integers(1, 8), cpus=st.integers(1, 8))
def test_files_that_do_nothing_are_started_until_their_bound(slots: int, cpus: int) -> None:
    running = 0
    while sum_of(free_slots(slots=slots, cpus=cpus, used_cpus=[0.0] * running)):
        running += 1
    assert running == slots * MAX_WAITING_TIMES == max_slots(slots, cpus=cpus)
    assert max_slots(slots, cpus=None) == slots


def sum_of(found: FreeSlots) -> int:
    return found.slots + found.io_bound_slots


@pytest.mark.parametrize(
    ("seconds", "cpu_s", "expected"),
    [
        (None, None, 1.0),
        (10.0, None, 1.0),
        (None, 1.0, 1.0),
        (0.0, 0.0, 1.0),
        (10.0, 1.0, 0.1),
        (10.0, 5.0, 1.0),
    ],
)
def test_a_file_mostly_waits_only_where_its_history_is_clear(
    seconds: float | None, cpu_s: float | None, expected: float
) -> None:
    task = TestTask(run_id="r", file_path="a", predicted_s=seconds, predicted_cpu_s=cpu_s)
    assert task.predicted_cpus == expected
    assert task.is_io_bound == (expected < 1.0)
