"""Whole runs in simulated time: how near they come to what no schedule can beat, and what they never do."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulation.recorded_suite import (
    MB,
    Recorded,
    bound_s,
    mixed_suite,
    recorded_suite,
    remembered,
    waiting_suite,
)
from tests.simulation.simulated_run import Outcome, SimulatedRun, simulate

BUDGET = 4 * 1024**3
SEEDS = range(8)


def known_run(seed: int, *, slots: int) -> Outcome:
    files = recorded_suite(seed)
    return simulate(files, remembered(files), slots=slots, budget_bytes=BUDGET)


@pytest.mark.parametrize("slots", [2, 8, 32])
def test_with_history_a_run_takes_little_more_than_it_must(slots: int) -> None:
    for seed in SEEDS:
        outcome = known_run(seed, slots=slots)

        assert outcome.seconds <= 1.10 * bound_s(recorded_suite(seed), slots=slots, budget_bytes=BUDGET)
        assert outcome.evictions == 0
        assert outcome.most_bytes <= BUDGET


@pytest.mark.parametrize("overcommit", [False, True])
def test_a_first_run_on_two_processors_takes_little_more_than_one_with_history(*, overcommit: bool) -> None:
    for seed in SEEDS:
        files = recorded_suite(seed)
        first = simulate(files, slots=2, budget_bytes=BUDGET, overcommit=overcommit)
        known = simulate(files, remembered(files), slots=2, budget_bytes=BUDGET, overcommit=overcommit)

        assert first.seconds <= 1.15 * known.seconds
        assert first.evictions == 0
        assert first.most_bytes <= BUDGET


@pytest.mark.parametrize(("slots", "factor"), [(8, 1.10), (32, 1.35)])
def test_in_a_first_run_on_more_processors_memory_costs_little_beyond_the_luck_of_the_order(
    slots: int, factor: float
) -> None:
    # Nothing tells which file is the longest. It may start last, which no rule about memory can change.
    firsts = [simulate(recorded_suite(seed), slots=slots, budget_bytes=BUDGET) for seed in SEEDS]
    unlimited = [simulate(recorded_suite(seed), slots=slots, budget_bytes=100 * BUDGET) for seed in SEEDS]

    ratios = [one.seconds / other.seconds for one, other in zip(firsts, unlimited, strict=True)]
    assert median(ratios) <= factor
    assert all(one.most_bytes <= BUDGET for one in firsts)
    assert sum(one.evictions for one in firsts) <= len(SEEDS)


def test_files_that_wait_leave_no_processor_idle() -> None:
    files = waiting_suite(80)
    usual = simulate(files, slots=2, budget_bytes=BUDGET)
    first = simulate(files, slots=2, budget_bytes=BUDGET, overcommit=True)
    known = simulate(files, remembered(files), slots=2, budget_bytes=BUDGET, overcommit=True)

    assert usual.seconds == pytest.approx(40.0, abs=0.1)
    assert (first.most_files, known.most_files) == (8, 8)
    assert first.seconds <= 0.4 * usual.seconds
    assert known.seconds <= 0.35 * usual.seconds


@pytest.mark.parametrize(("is_known", "factor"), [(True, 1.2), (False, 1.25)])
def test_files_that_wait_long_leave_the_processors_to_those_that_work(
    factor: float, *, is_known: bool
) -> None:
    for seed in SEEDS:
        files = mixed_suite(seed)
        history = remembered(files) if is_known else {}
        outcome = simulate(files, history, slots=2, budget_bytes=BUDGET, overcommit=True)

        working_s = sum(file.cpu_s for file in files) / 2
        assert outcome.seconds <= factor * max(working_s, *(file.seconds for file in files))
        assert outcome.most_files <= 8


@pytest.mark.parametrize("is_known", [False, True])
def test_files_that_work_are_not_slowed_by_more_company(*, is_known: bool) -> None:
    files = tuple(
        Recorded(path=str(number), cpu_s=1.0 + number / 20, wait_s=0.0, peak_bytes=60 * MB)
        for number in range(20)
    )
    outcome = simulate(
        files, remembered(files) if is_known else {}, slots=2, budget_bytes=BUDGET, overcommit=True
    )

    assert outcome.most_files == 2


_files = st.lists(
    st.tuples(st.floats(0.05, 5.0), st.floats(0.0, 5.0), st.integers(1, 100)), min_size=1, max_size=25
)


@settings(max_examples=60)
@given(
    figures=_files,
    slots=st.integers(1, 6),
    overcommit=st.booleans(),
    known_share=st.sampled_from([0, 1, 2, 3]),
    groups=st.booleans(),
)
def test_every_file_runs_within_the_budget_and_its_group_whatever_files_there_are(
    figures: list[tuple[float, float, int]], slots: int, known_share: int, *, overcommit: bool, groups: bool
) -> None:
    budget_bytes = 100 * MB
    files = tuple(
        Recorded(path=str(number), cpu_s=cpu_s, wait_s=wait_s, peak_bytes=int(share * 0.7 * MB))
        for number, (cpu_s, wait_s, share) in enumerate(figures)
    )
    history = {path: known for path, known in remembered(files).items() if int(path) % 3 < known_share}
    outcome = SimulatedRun(
        files,
        history,
        slots=slots,
        budget_bytes=budget_bytes,
        overcommit=overcommit,
        groups={"db": 1},
        group_of={file.path: "db" for file in files[::2]} if groups else {},
    ).run()

    assert outcome.ended == {file.path: 1 for file in files}
    assert outcome.together["db"] <= 1
    if known_share == 3:
        assert outcome.evictions == 0
        assert outcome.most_bytes <= budget_bytes
    if not overcommit:
        assert outcome.most_files <= slots
    if known_share == 3 and not groups and not overcommit:
        # Any greedy schedule stays below the sum of the bounds; see Garey and Graham, 1975.
        work_s = sum(file.seconds for file in files) / slots
        area_s = sum(file.seconds * file.peak_bytes * 1.15 for file in files) / budget_bytes
        longest_s = max(file.seconds for file in files)
        assert outcome.seconds <= work_s + 2 * area_s + longest_s
