"""The plan carries what the user asked for to every task."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dispatcher.config.choices import Override
from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.model.plan import PlannedFile, TestFile
from dispatcher.model.shard_option import Shard
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.isolation_policy import choose_verified
from dispatcher.planning.planner import make_plan
from passmuster.model.status import Isolation, RunnerKind, Status
from passmuster.model.task import CoverageRequest, Limits
from passmuster.model.test_selection import TestSelection
from passmuster.model.units import parse_amount

FILES = [TestFile(path=path, label=path) for path in ("a.py", "b.py", "c.py")]


def test_every_file_has_one_task_with_the_wanted_limits() -> None:
    config = TestConfig(timeout_s=7, grace_period_s=2, output_limit_bytes=9, runner=RunnerKind.PYTEST)

    plan = make_plan(FILES, {}, config, run_id="r1", slots=2, budget_bytes=1000)

    assert plan.run_id == "r1"
    assert sorted(planned.file.path for planned in plan.files) == ["a.py", "b.py", "c.py"]
    for planned in plan.files:
        task = planned.task
        assert task.attempt_id == f"r1:{planned.file.path}#1"
        assert task.limits == Limits(timeout_s=7, grace_s=2, output_bytes=9)
        assert (task.runner, task.coverage, task.predicted_bytes) == (RunnerKind.PYTEST, None, None)
        assert planned.order_reason


def test_the_history_gives_order_and_predictions() -> None:
    remembered = {
        path: FileHistory(path=path, spawned=UsageStats(duration_s=seconds, peak_bytes=100, runs=1))
        for path, seconds in (("a.py", 1.0), ("b.py", 3.0), ("c.py", 2.0))
    }

    plan = make_plan(FILES, remembered, TestConfig(), run_id="r", slots=1, budget_bytes=1000)

    assert [planned.file.path for planned in plan.files] == ["b.py", "c.py", "a.py"]
    assert [planned.task.predicted_s for planned in plan.files] == [3.0, 2.0, 1.0]
    assert all((planned.task.predicted_bytes or 0) >= 100 for planned in plan.files)


def test_coverage_is_asked_for_with_its_sources() -> None:
    config = TestConfig(enable_coverage=True, coverage_source=("src",))

    plan = make_plan(FILES, {}, config, run_id="r", slots=1, budget_bytes=1000)

    assert {planned.task.coverage for planned in plan.files} == {CoverageRequest(source=("src",))}


def test_an_override_changes_the_tasks_of_its_files_alone() -> None:
    override = Override(
        files=("b.py",),
        isolation=Isolation.SPAWN,
        runner=RunnerKind.SCRIPT,
        timeout_s=9,
        memory=parse_amount("50%"),
        retries=4,
        group="db",
    )
    config = TestConfig(overrides=(override,), isolation=Isolation.FORK, timeout_s=7)

    plan = make_plan(FILES, {}, config, run_id="r", slots=1, budget_bytes=1000)

    tasks = {planned.file.path: planned.task for planned in plan.files}
    assert (tasks["a.py"].isolation, tasks["a.py"].group, tasks["a.py"].retries) == (
        Isolation.FORK,
        "",
        None,
    )
    assert tasks["a.py"].limits == Limits(timeout_s=7)
    changed = tasks["b.py"]
    assert (changed.isolation, changed.runner, changed.group, changed.retries) == (
        Isolation.SPAWN,
        RunnerKind.SCRIPT,
        "db",
        4,
    )
    assert changed.limits == Limits(timeout_s=9, memory_bytes=500)


def test_no_file_is_allowed_more_than_the_budget() -> None:
    config = TestConfig(overrides=(Override(files=("a.py",), memory=parse_amount("1GiB")),))

    plan = make_plan(FILES[:1], {}, config, run_id="r", slots=1, budget_bytes=1000)

    assert plan.files[0].task.limits.memory_bytes == 1000


def planned_after(known: FileHistory, config: TestConfig | None = None) -> PlannedFile:
    """Return how a file is planned of which so much is known."""
    plan = make_plan(
        FILES[:1], {"a.py": known}, config or TestConfig(), run_id="r", slots=1, budget_bytes=1000
    )
    return plan.files[0]


def test_a_file_that_forking_harms_is_spawned_unless_the_user_demands_forks() -> None:
    harmed = FileHistory(
        path="a.py", spawned=UsageStats(duration_s=1.0, runs=1), forking=ForkObservation.HARMFUL
    )
    changed = replace(harmed, size_bytes=77)
    override = Override(files=("a.py",), isolation=Isolation.FORK)

    assert planned_after(harmed).task.isolation is Isolation.SPAWN
    assert planned_after(harmed, TestConfig(verify_isolation=True)).task.isolation is Isolation.AUTO
    assert planned_after(changed).task.isolation is Isolation.AUTO
    assert planned_after(harmed, TestConfig(isolation=Isolation.FORK)).task.isolation is Isolation.FORK
    assert planned_after(harmed, TestConfig(overrides=(override,))).task.isolation is Isolation.FORK


def test_a_file_that_fails_in_parallel_runs_exclusively_until_it_changes() -> None:
    crowded = FileHistory(path="a.py", spawned=UsageStats(duration_s=1.0, runs=1), fails_in_parallel=True)

    assert planned_after(crowded).task.exclusive
    assert not planned_after(replace(crowded, mtime_ns=5)).task.exclusive


def test_a_plan_contains_what_the_history_knows_of_each_file() -> None:
    known = FileHistory(
        path="a.py",
        spawned=UsageStats(duration_s=4.0, peak_bytes=1000, runs=1),
        last_status=Status.FAIL,
        forking=ForkObservation.CONFIRMED,
        forked=UsageStats(duration_s=1.0, peak_bytes=100, runs=1),
    )

    planned = planned_after(known)

    assert (planned.failed_before, planned.is_fork_verified, planned.spawned_bytes) == (True, True, 1150)
    # It failed, so it is spawned; one that passed is forked.
    assert (planned.task.isolation, planned.task.predicted_s) == (Isolation.SPAWN, 4.0)
    forked = planned_after(replace(known, last_status=Status.PASS))
    assert (forked.task.predicted_s, forked.task.predicted_bytes) == (1.0, 115)
    assert planned_after(known, TestConfig(isolation=Isolation.SPAWN)).task.predicted_s == 4.0


FORKS = FileHistory(
    path="a.py",
    spawned=UsageStats(duration_s=9.0, cpu_s=8.0, peak_bytes=900, runs=1),
    forked=UsageStats(duration_s=1.0, cpu_s=0.5, peak_bytes=100, runs=4),
    last_run_id="r1",
)


def fork_baseline(known: FileHistory, *paths: str, config: TestConfig | None = None) -> UsageStats:
    """Return what a forked `a.py` is compared with in a run of some files that all ran together before."""
    remembered = {path: replace(known, path=path) for path in ("a.py", "b.py", "c.py")}
    files = [file for file in FILES if file.path in paths]
    plan = make_plan(files, remembered, config or TestConfig(), run_id="r2", slots=1, budget_bytes=1000)
    (baseline,) = [planned.baseline for planned in plan.files if planned.file.path == "a.py"]
    assert baseline is not None
    assert baseline.spawned == known.spawned
    return baseline.forked


def test_a_fork_is_compared_with_forks_if_the_same_peers_run() -> None:
    assert fork_baseline(FORKS, "a.py", "b.py", "c.py") == FORKS.forked


def test_a_fork_that_may_have_to_import_all_by_itself_is_compared_with_what_that_takes() -> None:
    larger = fork_baseline(FORKS, "a.py")

    assert (larger.duration_s, larger.cpu_s, larger.peak_bytes, larger.runs) == (9.0, 8.0, 900, 4)
    assert fork_baseline(replace(FORKS, spawned=UsageStats()), "a.py") == UsageStats()


def test_a_fork_in_a_shard_is_compared_with_forks() -> None:
    config = TestConfig(shard=Shard(number=1, total=3))

    assert fork_baseline(FORKS, "a.py", config=config) == FORKS.forked


ONLY_FORKED = FileHistory(
    path="a.py",
    forked=UsageStats(duration_s=100.0, cpu_s=100.0, peak_bytes=100, runs=1),
    forking=ForkObservation.UNVERIFIED,
)


def test_a_file_that_was_only_forked_is_spawned_once_to_verify_it() -> None:
    planned = planned_after(ONLY_FORKED)

    # Its memory is unknown, because it will share none.
    assert (planned.task.isolation, planned.task.predicted_bytes) == (Isolation.SPAWN, None)
    assert planned.task.predicted_s == 100.0


@pytest.mark.parametrize(
    "known",
    [
        replace(ONLY_FORKED, forking=ForkObservation.CONFIRMED),
        replace(ONLY_FORKED, forking=ForkObservation.UNKNOWN),
        replace(ONLY_FORKED, size_bytes=77),
    ],
)
def test_a_file_that_cannot_be_verified_is_forked(known: FileHistory) -> None:
    assert planned_after(known).task.isolation is Isolation.AUTO


def test_an_explicit_start_method_and_a_verification_of_all_files_come_before_verifying_one() -> None:
    for isolation in (Isolation.FORK, Isolation.SPAWN):
        assert planned_after(ONLY_FORKED, TestConfig(isolation=isolation)).task.isolation is isolation
    assert planned_after(ONLY_FORKED, TestConfig(verify_isolation=True)).task.isolation is Isolation.AUTO


def test_only_whole_files_are_spawned_to_verify_them() -> None:
    some_tests = replace(FILES[0], selection=TestSelection(keyword="quick"))

    (planned,) = make_plan(
        [some_tests], {"a.py": ONLY_FORKED}, TestConfig(), run_id="r", slots=1, budget_bytes=1000
    ).files

    assert planned.task.isolation is Isolation.AUTO


def _only_forked(path: str, *, mtime_ns: int, cpu_s: float = 1.0) -> FileHistory:
    forked = UsageStats(duration_s=cpu_s, cpu_s=cpu_s, runs=1)
    return replace(ONLY_FORKED, path=path, mtime_ns=mtime_ns, forked=forked)


def test_as_many_files_are_verified_as_the_share_allows_the_oldest_first() -> None:
    # Two seconds may be spent, and each file takes one second longer when spawned.
    known = [_only_forked(str(number), mtime_ns=100 - number) for number in range(100)]

    assert choose_verified(known, known, run_id="r") == {"99", "98"}
    assert choose_verified(known[:1], known, run_id="r") == {"0"}
    assert choose_verified([], known, run_id="r") == frozenset()


def test_what_spawning_costs_is_learned_from_the_files_that_were_spawned() -> None:
    known = [_only_forked(str(number), mtime_ns=number) for number in range(99)]
    both = replace(ONLY_FORKED, forked=UsageStats(cpu_s=1.0, runs=1), spawned=UsageStats(cpu_s=1.5, runs=1))

    assert choose_verified(known, [*known, *[both] * 3], run_id="r") == {"0", "1", "2", "3"}


def test_one_file_that_was_no_slower_spawned_says_little_about_the_others() -> None:
    known = [_only_forked(str(number), mtime_ns=number) for number in range(50)]
    long = replace(ONLY_FORKED, forked=UsageStats(cpu_s=4.3, runs=4), spawned=UsageStats(cpu_s=4.2, runs=1))

    assert choose_verified(known, [*known, long], run_id="r") == {"0"}
    changed = replace(long, path="changed", mtime_ns=-1)
    assert choose_verified([changed, *known], [*known, long], run_id="r") == {"changed"}


def test_in_short_runs_a_file_is_verified_in_some_of_them() -> None:
    # A share of 0.2 s, and one second for each file: one run of five verifies one.
    known = [_only_forked(str(number), mtime_ns=number) for number in range(10)]

    chosen = [choose_verified(known, known, run_id=f"run-{number}") for number in range(1000)]

    assert set(chosen) == {frozenset(), frozenset("0")}
    assert 150 < sum(map(len, chosen)) < 250


def test_a_file_whose_verification_would_be_noticed_is_left_to_idle_time() -> None:
    known = [_only_forked(str(number), mtime_ns=number) for number in range(4)]

    assert not any(choose_verified(known, known, run_id=f"run-{number}") for number in range(1000))
    costly = replace(known[0], mtime_ns=0, spawned=UsageStats(cpu_s=90.0, runs=1))
    many = [_only_forked(str(number), mtime_ns=number) for number in range(1, 60)]
    verified = [replace(one, spawned=UsageStats(cpu_s=2.0, runs=1)) for one in many[:2]]
    assert choose_verified([costly, *many[2:]], [costly, *verified, *many[2:]], run_id="r") == {"3"}
