"""Parts of long files: which files are cut, where, and into how many parts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dispatcher.config.choices import FileGroup, Override, Split
from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.history.test_times import TimedTest, write_tests
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.parts import balance, with_parts
from dispatcher.planning.planner import make_plan
from passmuster.model.status import Isolation, RunnerKind, Status
from passmuster.model.test_selection import TestSelection

AUTO = TestConfig(split=Split.AUTO)


def timed(*seconds: float, name: str = "test_") -> list[TimedTest]:
    return [TimedTest(name=f"{name}{number}", seconds=each) for number, each in enumerate(seconds)]


def known(path: str, tests: list[TimedTest], *, start_s: float = 0.1) -> FileHistory:
    duration_s = start_s + math.fsum(test.seconds for test in tests)
    return FileHistory(
        path=path,
        size_bytes=10,
        spawned=UsageStats(duration_s=duration_s, runs=1, peak_bytes=100),
        test_times=write_tests(tests, skipped=2),
    )


def plan_of(
    history: Mapping[str, FileHistory], config: TestConfig = AUTO, *, slots: int = 4
) -> dict[str, PlannedFile]:
    files = [TestFile(path=path, label=path, size_bytes=10) for path in history]
    return planned(files, history, config, slots=slots)


def planned(
    files: list[TestFile], history: Mapping[str, FileHistory], config: TestConfig = AUTO, *, slots: int = 4
) -> dict[str, PlannedFile]:
    plan: RunPlan = make_plan(files, history, config, run_id="r", slots=slots, budget_bytes=1000)
    return {
        one.file.path: one for one in with_parts(plan, history, config, slots=slots, budget_bytes=1000).files
    }


LONG = known("long.py", timed(*[1.0] * 12))


def test_a_file_that_takes_longer_than_all_others_on_all_slots_is_cut_evenly() -> None:
    long = plan_of({"long.py": LONG, "short.py": known("short.py", timed(0.1, 0.1))})

    task = long["long.py"].task
    assert [(part.number, part.total, part.first, part.until) for part in task.parts] == [
        (1, 4, "", "test_3"),
        (2, 4, "test_3", "test_6"),
        (3, 4, "test_6", "test_9"),
        (4, 4, "test_9", ""),
    ]
    assert long["short.py"].task.parts == ()
    predicted_s = [part.predicted_s or 0.0 for part in task.as_parts]
    assert predicted_s == pytest.approx([3.1] * 4)
    assert len({part.attempt_id for part in task.as_parts}) == 4
    assert {part.predicted_bytes for part in task.as_parts} == {task.predicted_bytes}


def test_each_part_knows_how_many_tests_the_whole_file_skipped() -> None:
    by_older_program = replace(LONG, test_times=LONG.test_times.partition("\n")[2])

    assert {part.skipped for part in plan_of({"long.py": LONG})["long.py"].task.parts} == {2}
    assert plan_of({"long.py": by_older_program})["long.py"].task.parts == ()


def test_a_file_that_others_outlast_is_not_cut() -> None:
    others = {f"other_{number}.py": known(f"other_{number}.py", timed(4.0, 4.0)) for number in range(6)}

    assert not any(one.task.parts for one in plan_of({"long.py": LONG, **others}).values())


def test_two_files_that_bound_the_run_together_are_both_cut() -> None:
    both = {path: replace(LONG, path=path) for path in ("a.py", "b.py")}

    assert [len(one.task.parts) for one in plan_of(both).values()] == [2, 2]


def test_nothing_is_cut_while_another_file_that_cannot_be_cut_takes_as_long() -> None:
    script = replace(LONG, path="script.py", test_times="")

    assert not any(one.task.parts for one in plan_of({"long.py": LONG, "script.py": script}).values())


def test_nothing_is_cut_while_cutting_another_long_file_costs_more_than_it_saves() -> None:
    slow_start = known("slow.py", timed(*[1.0] * 6), start_s=6.0)

    assert not any(one.task.parts for one in plan_of({"long.py": LONG, "slow.py": slow_start}).values())


def test_a_split_that_costs_more_than_it_saves_is_not_made() -> None:
    slow_start = known("long.py", timed(*[1.0] * 4), start_s=20.0)
    medium_start = known("long.py", timed(*[1.0] * 12), start_s=5.0)

    assert plan_of({"long.py": slow_start})["long.py"].task.parts == ()
    assert len(plan_of({"long.py": medium_start})["long.py"].task.parts) == 2


def test_no_more_parts_are_made_than_help() -> None:
    one_long_test = known("long.py", timed(1.0, 9.0, 1.0, 1.0))

    parts = plan_of({"long.py": one_long_test}, slots=16)["long.py"].task.parts

    assert [(part.first, part.until) for part in parts] == [
        ("", "test_1"),
        ("test_1", "test_2"),
        ("test_2", ""),
    ]


def test_no_more_parts_are_made_than_fit_into_the_memory_at_once() -> None:
    large = replace(LONG, spawned=replace(LONG.spawned, peak_bytes=400))

    assert len(plan_of({"long.py": large})["long.py"].task.parts) == 2


def test_a_class_is_never_cut() -> None:
    tests = [*timed(1.0, 1.0, 1.0, name="A::test_"), *timed(1.0, 1.0, 1.0, name="B::test_")]

    parts = plan_of({"long.py": known("long.py", tests)})["long.py"].task.parts

    assert [(part.first, part.until) for part in parts] == [("", "B::test_0"), ("B::test_0", "")]


@pytest.mark.parametrize(
    "change",
    [
        {"last_status": Status.FAIL},
        {"is_indivisible": True},
        {"size_bytes": 11},
        {"test_times": ""},
        {"test_times": "9.0 test_0"},
        {"fails_in_parallel": True},
    ],
)
@pytest.mark.parametrize("split", [Split.AUTO, Split.FORCE])
def test_only_a_file_that_passed_as_it_is_can_be_cut(change: dict[str, object], split: Split) -> None:
    (long,) = plan_of({"long.py": replace(LONG, **change)}, TestConfig(split=split)).values()

    assert long.task.parts == ()


@pytest.mark.parametrize(
    "selection",
    [TestSelection(keyword="a"), TestSelection(tests=("test_1",)), TestSelection(seed="1")],
)
def test_a_file_of_which_some_tests_run_or_in_a_random_order_is_not_cut(selection: TestSelection) -> None:
    file = TestFile(path="long.py", label="long.py", size_bytes=10, selection=selection)

    assert planned([file], {"long.py": LONG})["long.py"].task.parts == ()


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (TestConfig(split=Split.OFF), 0),
        (TestConfig(split=Split.FORCE, verify_isolation=True), 0),
        (TestConfig(split=Split.FORCE, runner=RunnerKind.SCRIPT), 0),
        (TestConfig(split=Split.FORCE, overrides=(Override(files=("long.py",), split=Split.OFF),)), 0),
        (TestConfig(split=Split.OFF, overrides=(Override(files=("long.py",), split=Split.FORCE),)), 4),
        (
            TestConfig(
                split=Split.FORCE,
                overrides=(Override(files=("long.py",), group="db"),),
                groups=(FileGroup(name="db", max_files=2),),
            ),
            0,
        ),
    ],
)
def test_settings_decide_for_all_files_or_for_some(config: TestConfig, parts: int) -> None:
    assert len(plan_of({"long.py": LONG}, config)["long.py"].task.parts) == parts


def test_force_cuts_a_file_that_is_short() -> None:
    short = known("short.py", timed(0.01, 0.01, 0.01), start_s=1.0)

    assert len(plan_of({"short.py": short}, TestConfig(split=Split.FORCE))["short.py"].task.parts) == 3


@pytest.mark.parametrize("seconds", [(0.0, 0.0, 0.0), (5.0, 0.0), (0.0, 5.0)])
def test_force_cuts_a_file_whose_tests_take_no_measurable_time(seconds: tuple[float, ...]) -> None:
    quick = known("quick.py", timed(*seconds))

    parts = plan_of({"quick.py": quick}, TestConfig(split=Split.FORCE))["quick.py"].task.parts

    assert len(parts) == len(seconds)


def test_parts_are_forked_only_if_that_is_known_to_change_nothing() -> None:
    verified = replace(LONG, forking=ForkObservation.CONFIRMED)

    assert plan_of({"long.py": LONG})["long.py"].task.isolation is Isolation.SPAWN
    assert plan_of({"long.py": verified})["long.py"].task.isolation is Isolation.AUTO


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(1, 10))
def test_parts_are_all_tests_once_in_their_order_and_balanced(seconds: list[float], count: int) -> None:
    pieces = timed(*seconds)

    parts = balance(pieces, count)

    assert [piece for part in parts for piece in part] == pieces
    assert len(parts) <= count
    longest_s = max(math.fsum(piece.seconds for piece in part) for part in parts)
    assert longest_s <= math.fsum(seconds) / count + max(seconds) + 1e-6
