"""What a run will probably take."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dispatcher.planning.ready_queue import MAX_STARTS_BEFORE_EXCLUSIVE
from dispatcher.planning.simulation import SimulatedRun, simulate_run
from passmuster.model.task import TestTask


def _tasks(*predictions: tuple[float | None, int | None], cpu_share: float = 1.0) -> list[TestTask]:
    return [
        TestTask(
            run_id="r",
            file_path=str(number),
            predicted_s=seconds,
            predicted_bytes=need_bytes,
            predicted_cpu_s=None if seconds is None else seconds * cpu_share,
        )
        for number, (seconds, need_bytes) in enumerate(predictions)
    ]


def _forecast(*predictions: tuple[float | None, int | None], slots: int = 2) -> SimulatedRun:
    return simulate_run(_tasks(*predictions), slots=slots, budget_bytes=100)


def test_slots_bound_what_runs_together() -> None:
    forecast = _forecast((4.0, 10), (3.0, 10), (2.0, 10), (1.0, 10))
    assert forecast == SimulatedRun(wall_s=5.0, peak_bytes=20, unknown=0)


def test_memory_bounds_what_runs_together() -> None:
    assert _forecast((4.0, 60), (3.0, 60)) == SimulatedRun(wall_s=7.0, peak_bytes=60, unknown=0)


def test_a_small_file_runs_while_a_large_one_runs() -> None:
    assert _forecast((4.0, 60), (3.0, 60), (2.0, 40)).wall_s == 7.0


def test_a_file_over_the_budget_runs_by_itself() -> None:
    assert _forecast((4.0, 500), (1.0, 1)) == SimulatedRun(wall_s=5.0, peak_bytes=500, unknown=0)


def test_unknown_files_take_the_median_time() -> None:
    assert _forecast((1.0, 10), (3.0, 10), (2.0, 10), (None, None), slots=1) == SimulatedRun(
        wall_s=8.0, peak_bytes=100, unknown=1
    )


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [((), SimulatedRun(wall_s=0.0, peak_bytes=0, unknown=0)), (((None, None),), None)],
)
def test_nothing_is_claimed_about_a_run_of_unknown_files(
    predictions: tuple[tuple[float | None, int | None], ...], expected: SimulatedRun | None
) -> None:
    forecast = _forecast(*predictions)
    if expected is None:
        assert forecast.wall_s is None
        assert forecast.unknown == 1
    else:
        assert forecast == expected


def test_io_bound_files_run_in_addition_if_oversubscription_is_on() -> None:
    tasks = _tasks(*[(1.0, 1)] * 8, cpu_share=0.1)

    assert simulate_run(tasks, slots=2, budget_bytes=100).wall_s == 4.0
    assert simulate_run(tasks, slots=2, budget_bytes=100, idle_cpus=2).wall_s == 1.0


def test_cpu_bound_files_never_exceed_the_processors() -> None:
    tasks = _tasks(*[(1.0, 1)] * 8)

    assert simulate_run(tasks, slots=2, budget_bytes=100, idle_cpus=2).wall_s == 4.0


def test_files_of_a_group_run_as_few_at_a_time_as_it_allows() -> None:
    tasks = [replace(task, group="db") for task in _tasks(*[(1.0, 1)] * 4)]

    assert simulate_run(tasks, slots=4, budget_bytes=100, groups={"db": 1}).wall_s == 4.0


def test_no_file_runs_beside_an_exclusive_one() -> None:
    alone, *others = _tasks(*[(1.0, 1)] * (MAX_STARTS_BEFORE_EXCLUSIVE + 4))
    tasks = [replace(alone, exclusive=True), *others]

    # It runs before the last three files, which take two seconds on two slots.
    expected_s = MAX_STARTS_BEFORE_EXCLUSIVE / 2 + 1 + 2
    assert simulate_run(tasks, slots=2, budget_bytes=100).wall_s == expected_s
