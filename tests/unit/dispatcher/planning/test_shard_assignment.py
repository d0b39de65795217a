"""The split of a run: each file once, the same for everybody, balanced, and steady."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dispatcher.history.file_history import FileHistory
from dispatcher.model.plan import TestFile
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.order import MEMORY_MARGIN, order_files
from dispatcher.planning.shard_assignment import assign_shards
from dispatcher.planning.simulation import simulate_run
from passmuster.model.task import TestTask
from tests.simulation.recorded_suite import recorded_suite

GIB = 1024**3
SLOTS, BUDGET_BYTES = 4, 4 * GIB


def task(path: str, seconds: float | None = None, size_bytes: int | None = None, group: str = "") -> TestTask:
    return TestTask(run_id="", file_path=path, predicted_s=seconds, predicted_bytes=size_bytes, group=group)


def split_here(
    tasks: Sequence[TestTask], total: int, groups: Mapping[str, int] | None = None
) -> dict[str, int]:
    return assign_shards(tasks, total, slots=SLOTS, budget_bytes=BUDGET_BYTES, groups=groups)


def unevenness(tasks: Sequence[TestTask], shards: Mapping[str, int], total: int, **groups: int) -> float:
    """Return when the slowest shard is done, by the play of a run, against the mean or the longest file."""
    usual = [replace(item, predicted_s=1.0) if item.predicted_s is None else item for item in tasks]
    finish = [
        simulate_run(
            as_ordered([item for item in usual if shards[item.file_path] == number]),
            slots=SLOTS,
            budget_bytes=BUDGET_BYTES,
            groups=groups,
        ).wall_s
        or 0.0
        for number in range(1, total + 1)
    ]
    return max(finish) / max(fmean(finish), *(item.predicted_s or 0.0 for item in usual))


def as_ordered(tasks: Sequence[TestTask]) -> list[TestTask]:
    """Return the files of one machine in the order in which a run starts them."""
    by_path = {item.file_path: item for item in tasks}
    history = {
        path: FileHistory(
            path=path,
            spawned=UsageStats(
                duration_s=item.predicted_s or 0.0,
                peak_bytes=int((item.predicted_bytes or 0) / MEMORY_MARGIN),
                runs=1,
            ),
        )
        for path, item in by_path.items()
    }
    files = [TestFile(path=path, label=path) for path in by_path]
    return [
        by_path[item.file.path]
        for item in order_files(files, history, slots=SLOTS, budget_bytes=BUDGET_BYTES)
    ]


def ordinary(seed: int, count: int) -> list[TestTask]:
    """Most files take a second and 150 MB, some ten times that."""
    chance = random.Random(seed)
    return [
        task(f"tests/p{number % 7}/test_{number}.py", chance.lognormvariate(0, 0.7), size(chance, 18.6, 0.8))
        for number in range(count)
    ]


def large(seed: int, count: int) -> list[TestTask]:
    """Many files need so much memory that few run at once."""
    chance = random.Random(seed)
    shares = (0.05, 0.1, 0.3, 0.6, 0.9)
    return [
        task(
            f"tests/test_{number}.py", chance.lognormvariate(0, 1), int(chance.choice(shares) * BUDGET_BYTES)
        )
        for number in range(count)
    ]


def recorded(seed: int, _: int) -> list[TestTask]:
    return [task(item.path, item.seconds, int(item.peak_bytes * 1.15)) for item in recorded_suite(seed)]


def unknown(_: int, count: int) -> list[TestTask]:
    return [task(f"tests/test_{number}.py") for number in range(count)]


def size(chance: random.Random, mean: float, spread: float) -> int:
    return int(min(BUDGET_BYTES / 2, chance.lognormvariate(mean, spread)))


def by_longest_first(tasks: Sequence[TestTask], total: int) -> dict[str, int]:
    loads, found = [0.0] * total, {}
    for item in sorted(tasks, key=lambda item: (-(item.predicted_s or 1.0), item.file_path)):
        number = loads.index(min(loads))
        loads[number] += item.predicted_s or 1.0
        found[item.file_path] = number + 1
    return found


def by_count(tasks: Sequence[TestTask], total: int) -> dict[str, int]:
    paths = sorted(item.file_path for item in tasks)
    return {path: 1 + index * total // len(paths) for index, path in enumerate(paths)}


def by_hash(tasks: Sequence[TestTask], total: int) -> dict[str, int]:
    return {
        item.file_path: 1 + int(hashlib.sha256(item.file_path.encode()).hexdigest(), 16) % total
        for item in tasks
    }


Suite = Callable[[int, int], list[TestTask]]
SUITES = [(ordinary, 60, 4), (ordinary, 200, 8), (large, 60, 4), (large, 200, 8), (recorded, 60, 4)]


@pytest.mark.parametrize(("suite", "count", "total"), [*SUITES, (unknown, 200, 8), (ordinary, 1500, 16)])
def test_the_slowest_shard_takes_at_most_a_tenth_longer_than_the_mean(
    suite: Suite, count: int, total: int
) -> None:
    for seed in range(6 if count < 1000 else 1):
        tasks = suite(seed, count)
        assert unevenness(tasks, split_here(tasks, total), total) <= 1.1, seed


@pytest.mark.parametrize(("suite", "count", "total"), SUITES)
def test_no_plainer_split_is_more_even_on_the_whole(suite: Suite, count: int, total: int) -> None:
    suites = [suite(seed, count) for seed in range(6)]

    def mean(way: Callable[[Sequence[TestTask], int], dict[str, int]]) -> float:
        return fmean(unevenness(tasks, way(tasks, total), total) for tasks in suites)

    ours = mean(split_here)

    assert ours <= mean(by_count)
    assert ours <= mean(by_hash)
    assert ours <= mean(by_longest_first) + 0.05  # Which is as even by time alone, and moves everything.


@pytest.mark.parametrize(
    ("suite", "total", "most"), [(unknown, 8, 8), (ordinary, 4, 20), (ordinary, 8, 34), (large, 8, 50)]
)
def test_a_file_more_or_less_among_200_moves_few_others(suite: Suite, total: int, most: int) -> None:
    moved = []
    for seed in range(6):
        tasks = suite(seed, 200)
        before = split_here(tasks, total)
        for changed in ([*tasks, task("tests/test_new.py")], tasks[1:], tasks[:-1]):
            after = split_here(changed, total)
            moved.append(sum(before[path] != number for path, number in after.items() if path in before))

    assert max(moved) <= most
    assert fmean(moved) <= most / 2
    everything = by_longest_first(tasks, total), by_longest_first(tasks[1:], total)
    assert sum(everything[0][path] != number for path, number in everything[1].items()) > most


def test_what_moves_from_run_to_run_moves_few_files() -> None:
    chance = random.Random(3)
    tasks = ordinary(3, 200)
    later = [
        replace(item, predicted_s=(item.predicted_s or 0) * chance.uniform(0.97, 1.03)) for item in tasks
    ]
    before, after = split_here(tasks, 4), split_here(later, 4)
    assert sum(before[path] != number for path, number in after.items()) <= 25


def test_a_group_is_spread_where_it_would_hold_up_one_machine() -> None:
    tasks = [task(f"db/test_{number}.py", 1.0, group="db") for number in range(16)]
    tasks += [task(f"tests/test_{number}.py", 1.0) for number in range(48)]

    shards = split_here(tasks, 4, {"db": 1})

    assert [list(shards.values()).count(number) for number in (1, 2, 3, 4)] == [16] * 4
    assert unevenness(tasks, shards, 4, db=1) <= 1.1
    of_group = [number for path, number in shards.items() if path.startswith("db/")]
    assert max(of_group.count(number) for number in (1, 2, 3, 4)) <= 5


def test_files_that_fill_a_machine_do_not_meet() -> None:
    tasks = [task(f"test_{number}.py", 10.0, BUDGET_BYTES) for number in range(4)]
    tasks += [task(f"test_alone_{number}.py", 10.0) for number in range(4)]
    tasks = [replace(item, exclusive="alone" in item.file_path) for item in tasks]

    shards = split_here(tasks, 8)

    assert sorted(shards.values()) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_what_never_ran_counts_as_an_ordinary_file() -> None:
    tasks = [task(f"test_{number}.py", 2.0) for number in range(20)]
    tasks += [task(f"test_new_{number}.py") for number in range(20)]

    shards = split_here(tasks, 4)

    assert [list(shards.values()).count(number) for number in (1, 2, 3, 4)] == [10] * 4


predictions = st.one_of(st.none(), st.floats(0, 1e9), st.just(float("inf")))
sizes = st.one_of(st.none(), st.integers(0, 10**12))
suites = st.lists(
    st.builds(
        lambda path, seconds, size_bytes, group, alone: replace(
            task(path, seconds, size_bytes, group), exclusive=alone
        ),
        st.text(min_size=1, max_size=6),
        predictions,
        sizes,
        st.sampled_from(["", "db", "unbounded"]),
        st.booleans(),
    ),
    max_size=24,
    unique_by=lambda item: item.file_path,
)


@settings(max_examples=150)
@given(suites, st.integers(1, 9), st.randoms(use_true_random=False))
def test_every_file_has_one_shard_whatever_the_order(
    tasks: list[TestTask], total: int, chance: random.Random
) -> None:
    shards = split_here(tasks, total, {"db": 1})
    shuffled = list(tasks)
    chance.shuffle(shuffled)

    assert set(shards) == {item.file_path for item in tasks}
    assert set(shards.values()) <= set(range(1, total + 1))
    assert split_here(shuffled, total, {"db": 1}) == shards


def test_another_process_comes_to_the_same() -> None:
    code = (
        "from tests.unit.dispatcher.planning.test_shard_assignment import large, split_here;"
        "print(sorted(split_here(large(1, 60), 4).items()))"
    )
    repository = Path(__file__).resolve().parents[4]
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=repository,
            env={"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {f"{sorted(split_here(large(1, 60), 4).items())}\n"}


def test_the_shards_of_a_suite_are_what_they_were() -> None:
    """Machines with other releases of the program must not come to other shards unawares."""
    shards = split_here(recorded(1, 0), 4)
    text = "".join(str(shards[path]) for path in sorted(shards))
    assert text == "414141322222143242333212124124313233421422234144123112113111"


@pytest.mark.parametrize(("count", "total"), [(50_000, 16), (20_000, 10_000), (2_000, 2)])
def test_a_large_run_is_split_before_the_time_limit_of_tests(count: int, total: int) -> None:
    tasks = (large if count == 2_000 else ordinary)(1, count)
    # Work that grew with the square of the files would not end in time.
    assert len(split_here(tasks, total)) == count
