"""A prediction is the play of the run, never below what bounds it, and says what would change it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from dispatcher.cli.insight import make_plan_report
from dispatcher.insight.plan_report import PlanReport, plan_json, plan_lines
from dispatcher.insight.prediction import (
    LowerBoundKind,
    Prediction,
    alternatives,
    fill_in,
    median_time,
    predict,
)
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.planning.simulation import simulate_run
from passmuster.host.capacity import Capacity
from passmuster.model.task import TestTask
from passmuster.model.test_selection import FilePart

MIB = 1024**2
MACHINE = Capacity(slots=2, budget_bytes=1000 * MIB, total_bytes=1000 * MIB, limits=(), cpus=2)


def task(name: str, seconds: float | None, *, cpu_s: float | None = 0.0, mib: int = 1) -> TestTask:
    return TestTask(
        run_id="r",
        file_path=name,
        predicted_s=seconds,
        predicted_cpu_s=cpu_s,
        predicted_bytes=mib * MIB,
    )


def predicted(
    *tasks: TestTask, machine: Capacity = MACHINE, groups: Mapping[str, int] | None = None
) -> Prediction:
    return predict(tasks, machine, groups=groups or {})


@pytest.mark.parametrize(
    ("tasks", "groups", "kind", "wall_s"),
    [
        ([task("long", 9.0), task("a", 1.0)], {}, LowerBoundKind.FILE, 9.0),
        ([task(name, 1.0, cpu_s=4.0) for name in "abcd"], {}, LowerBoundKind.CPUS, 8.0),
        ([task(name, 2.0, mib=900) for name in "abc"], {}, LowerBoundKind.MEMORY, 6.0),
        ([replace(task(name, 2.0), group="db") for name in "abc"], {"db": 1}, LowerBoundKind.GROUP, 6.0),
        ([task(name, 2.0) for name in "abcd"], {}, LowerBoundKind.JOBS, 4.0),
        ([replace(task(name, 2.0), predicted_bytes=None) for name in "abcd"], {}, LowerBoundKind.MEMORY, 4.0),
        ([replace(task(name, 2.0), exclusive=True) for name in "abc"], {}, LowerBoundKind.MEMORY, 6.0),
    ],
    ids=["the longest file", "CPUs", "memory", "a group", "jobs", "unknown memory", "exclusive files"],
)
def test_what_bounds_a_run_is_found(
    tasks: list[TestTask], groups: Mapping[str, int], kind: LowerBoundKind, wall_s: float
) -> None:
    found = predicted(*tasks, groups=groups)

    assert (found.bounds[0].kind, found.wall_s) == (kind, wall_s)
    assert found.wall_s >= found.bounds[0].lower_bound_s
    assert [bound.lower_bound_s for bound in found.bounds] == sorted(
        (bound.lower_bound_s for bound in found.bounds), reverse=True
    )


def test_the_longest_file_and_the_group_are_named() -> None:
    tasks = [replace(task("a", 3.0), group="db"), task("b", 5.0)]

    named = {bound.kind: bound.name for bound in predicted(*tasks, groups={"db": 1, "idle": 1}).bounds}

    assert (named[LowerBoundKind.FILE], named[LowerBoundKind.GROUP]) == ("b", "db")


def test_it_is_the_play_of_the_forecast() -> None:
    tasks = [task(str(number), 1.0 + number % 5, mib=100 * (number % 7)) for number in range(40)]
    play = simulate_run(tasks, slots=2, budget_bytes=MACHINE.budget_bytes)

    found = predicted(*tasks)

    assert (found.wall_s, found.peak_bytes) == (play.wall_s, play.peak_bytes)


def test_an_unknown_number_of_cpus_is_no_bound() -> None:
    found = predicted(task("a", 1.0, cpu_s=90.0), machine=replace(MACHINE, cpus=None))

    assert found.wall_s == 1.0
    assert LowerBoundKind.CPUS not in {bound.kind for bound in found.bounds}


def test_a_file_of_unknown_processor_time_is_taken_to_use_one_throughout() -> None:
    tasks = [task(name, 3.0, cpu_s=None) for name in "abcd"]

    found = predicted(*tasks, machine=replace(MACHINE, slots=4))

    assert found.wall_s == 6.0


def test_files_that_never_ran_take_the_median() -> None:
    tasks = [task("a", 1.0), task("b", None), task("c", 5.0), task("d", 2.0)]
    assumed_s = median_time(tasks)

    assert assumed_s is not None
    assert [one.predicted_s for one in fill_in(tasks, assumed_s)] == [1.0, 2.0, 5.0, 2.0]
    assert median_time([task("a", None)]) is None


def test_with_more_machines_a_run_is_quicker_until_one_file_takes_as_long() -> None:
    tasks = [task("long", 10.0), *(task(str(number), 2.0) for number in range(30))]

    asked = predicted(*tasks)
    others = alternatives(tasks, asked, groups={})

    nodes = [other.nodes for other in others if other.nodes > 1]
    walls = [other.wall_s for other in others if other.nodes > 1]
    assert nodes == [2, 3, 4, 6, 8][: len(nodes)]
    assert len(nodes) >= 2
    assert asked.wall_s > walls[0] > walls[-1]
    assert walls[-1] == pytest.approx(10.0, rel=0.05)
    assert all(wall_s > 10.5 for wall_s in walls[:-1])


def test_more_machines_than_files_are_no_trouble() -> None:
    assert predict([task("a", 1.0)], MACHINE, nodes=5, groups={}).wall_s == 1.0


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_parts_of_a_file_are_predicted_as_tasks_of_their_own(nodes: int) -> None:
    parts = tuple(FilePart(number=number, total=2, share=0.5) for number in (1, 2))

    found = predict(replace(task("a", 4.0), parts=parts).as_parts, MACHINE, nodes=nodes, groups={})

    assert (found.wall_s, found.longest.lower_bound_s) == (2.0, 2.0)


def test_other_jobs_and_other_memory_are_tried() -> None:
    tasks = [task(str(number), 1.0, mib=400) for number in range(8)]
    asked = predicted(*tasks)

    tried = {
        (other.machine.slots, other.machine.budget_bytes // MIB): other.wall_s
        for other in alternatives(tasks, asked, groups={})
        if other.nodes == 1
    }

    assert tried == {(1, 1000): 8.0, (4, 1000): 4.0, (2, 500): 8.0, (2, 2000): 4.0}


def plan_of(*tasks: TestTask, groups: tuple[tuple[str, int], ...] = ()) -> RunPlan:
    files = [PlannedFile(file=TestFile(path=one.file_path, label=one.file_path), task=one) for one in tasks]
    return RunPlan(run_id="r", files=tuple(files), groups=groups)


CAPACITY = Capacity(slots=2, budget_bytes=1000 * MIB, total_bytes=4000 * MIB, limits=(), cpus=2)


def test_bounds_and_alternatives_are_printed_as_lines() -> None:
    tasks = [
        task("tests/test_long.py", 10.0),
        *(task(f"tests/test_{number}.py", 2.0) for number in range(15)),
    ]
    unknown = task("tests/test_new.py", None)

    lines = plan_lines(make_plan_report(plan_of(*tasks, unknown), CAPACITY))

    assert lines[:8] == [
        "17 test file(s) (2 at once): 22.0s, at most 2 MiB of 1000 MiB reserved",
        "1 of 17 never ran and are assumed to take the median (2.0s)",
        "",
        "Lower bound                             at least",
        "  jobs: 2 at once                          21.0s",
        "  the longest file: tests/test_long.py     10.0s",
        "  memory: 1000 MiB for all                 0.04s",
        "  CPUs: 0.00s of CPU time on 2             0.00s",
    ]
    assert lines[9:15] == [
        "Alternative         time",
        "  --jobs 1         42.0s",
        "  --jobs 4         12.0s",
        "  --memory 500MiB  22.0s",
        "  --memory 2.0GiB  22.0s",
        "  2 machines       12.0s",
    ]
    assert lines[-2:] == [
        "It would help: --jobs 4 (12.0s), or 2 machines (12.0s).",
        "More than 3 machines would not help: tests/test_long.py alone takes 10.0s.",
    ]


def test_a_run_without_a_better_alternative_says_none_would_help() -> None:
    lines = plan_lines(make_plan_report(plan_of(task("a", 9.0), task("b", 1.0)), CAPACITY))

    assert lines[-1] == "More machines would not help: a alone takes 9.0s."


def test_where_nothing_ever_ran_nothing_is_predicted() -> None:
    answer = make_plan_report(plan_of(task("a", None)), CAPACITY)

    assert plan_lines(answer) == ["1 test file(s), of which none ever ran: nothing can be predicted"]
    assert answer == PlanReport(files=1, unknown=1)
    assert b'"requested":null' in plan_json(answer)


def test_a_group_and_oversubscription_are_printed() -> None:
    tasks = [replace(task(name, 2.0), group="db") for name in "abc"]
    plan = plan_of(*tasks, groups=(("db", 1),))

    lines = plan_lines(make_plan_report(plan, replace(CAPACITY, idle_cpus=2), nodes=2))

    assert lines[0].startswith(
        "3 test file(s) on 2 machines like this one (2 at once, more while CPUs are idle):"
    )
    assert lines[2].startswith("Lower bound of the slowest machine")
    assert "  group db: 1 at once" in "\n".join(lines)
    assert "  jobs: 2 at once, up to 8 while CPUs are idle" in "\n".join(lines)
