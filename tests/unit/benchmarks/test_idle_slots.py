"""Tests how idle slots of a run are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.idle_slots import IdleSlots, find_idle_slots


def test_idle_slots_are_counted_at_the_start_in_between_and_at_the_end() -> None:
    files = [(1.0, 5.0), (2.0, 4.0), (4.5, 6.0)]

    # Of 2 x 8 slot seconds: one each in 1-2, two in 0-1; half a second in 4-4.5; 5-6 one, 6-8 two.
    assert find_idle_slots(files, slots=2, run_s=8.0) == IdleSlots(
        start=3.0 / 16, middle=0.5 / 16, end=5.0 / 16
    )


def test_a_run_that_never_takes_all_slots_has_only_a_start() -> None:
    assert find_idle_slots([(0.0, 1.0)], slots=2, run_s=1.0) == IdleSlots(start=0.5, middle=0.0, end=0.0)
    assert find_idle_slots([], slots=2, run_s=0.0) == IdleSlots(start=0.0, middle=0.0, end=0.0)


@given(
    files=st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)).map(lambda one: (min(one), max(one)))),
    slots=st.integers(1, 4),
)
def test_all_parts_together_are_what_the_files_leave(files: list[tuple[float, float]], slots: int) -> None:
    found = find_idle_slots(files, slots=slots, run_s=50.0)

    step_s = 0.05
    looks = [step_s * (number + 0.5) for number in range(int(50 / step_s))]
    idle = [max(0, slots - sum(start <= at_s < end for start, end in files)) for at_s in looks]
    assert found.start + found.middle + found.end == pytest.approx(
        sum(idle) / len(looks) / slots, abs=step_s * (len(files) + 1) / 50
    )
