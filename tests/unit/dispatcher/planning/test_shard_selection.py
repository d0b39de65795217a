"""What goes into the split of a run is the same on every machine, and what differs there stays out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from dispatcher.config.choices import SERIAL, Override
from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.model.plan import TestFile
from dispatcher.model.shard_option import Shard
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.planner import make_plan
from dispatcher.planning.shard_selection import ShardSelection, select_shard, split_digest
from passmuster.host.capacity import Capacity
from passmuster.model.units import parse_amount

GIB = 1024**3
FILES = [
    TestFile(path=f"tests/test_{number:02}.py", label="", size_bytes=100, mtime_ns=number)
    for number in range(20)
]
HISTORY = {
    file.path: FileHistory(
        path=file.path,
        spawned=UsageStats(duration_s=0.5 + number % 3, peak_bytes=number * 10**7, runs=1),
        size_bytes=100,
        mtime_ns=7,
    )
    for number, file in enumerate(FILES)
}
CONFIG = TestConfig(history_from=Path("/given/history.sqlite3"))


def _lasting(known: FileHistory, duration_s: float) -> FileHistory:
    return replace(known, spawned=replace(known.spawned, duration_s=duration_s))


def part(
    number: int = 1,
    total: int = 4,
    *,
    files: list[TestFile] = FILES,
    config: TestConfig = CONFIG,
    history: dict[str, FileHistory] | None = HISTORY,
) -> ShardSelection:
    return select_shard(files, Shard(number=number, total=total), config, history=history)


def test_the_parts_are_the_whole_and_agree_about_it() -> None:
    parts = [part(number) for number in (1, 2, 3, 4)]

    assert sorted(file.path for one in parts for file in one.files) == sorted(HISTORY)
    assert {(one.plan.whole, one.plan.digest, one.plan.history_digest) for one in parts} == {
        (parts[0].plan.whole, parts[0].plan.digest, parts[0].plan.history_digest)
    }
    for one in parts:
        mine = [path for path, number in one.plan.whole if number == one.plan.shard.number]
        assert [file.path for file in one.files] == mine
    assert parts[0].plan.digest == split_digest(4, parts[0].plan.whole)


def test_modification_times_do_not_matter() -> None:
    history = {
        path: replace(
            known,
            forking=ForkObservation.HARMFUL,
            fails_in_parallel=path.endswith("1.py"),
            forked=known.spawned,
        )
        for path, known in HISTORY.items()
    }
    cloned = [replace(file, mtime_ns=10**18) for file in FILES]
    assert part(history=history).plan == part(files=cloned, history=history).plan


def test_a_file_that_ran_alone_counts_as_a_whole_machine_until_it_has_another_text() -> None:
    history = {
        path: replace(known, fails_in_parallel=path == FILES[0].path) for path, known in HISTORY.items()
    }
    other = [replace(FILES[0], size_bytes=101), *FILES[1:]]

    usual, crowded, changed = (
        part(history=HISTORY),
        part(history=history),
        part(history=history, files=other),
    )

    assert crowded.plan.history_digest != usual.plan.history_digest == changed.plan.history_digest


def test_the_machine_does_not_matter_only_what_is_configured() -> None:
    assert (part().plan.slots, part().plan.budget_bytes) == (4, 4 * GIB)
    configured = part(config=replace(CONFIG, max_workers=7, memory_budget=parse_amount("50%"))).plan
    assert (configured.slots, configured.budget_bytes) == (7, 8 * GIB)
    sized = part(config=replace(CONFIG, memory_budget=parse_amount("2GiB"))).plan
    assert (sized.slots, sized.budget_bytes) == (4, 2 * GIB)


def test_another_history_or_number_of_shards_has_another_digest() -> None:
    other = {path: _lasting(known, known.spawned.duration_s + 1e-9) for path, known in HISTORY.items()}
    assert part().plan.history_digest != part(history=other).plan.history_digest
    assert part().plan.digest == part(history=other).plan.digest  # Nothing moved.
    much = {path: _lasting(known, 1.0 + (path < "tests/test_08")) for path, known in HISTORY.items()}
    assert part().plan.digest != part(history=much).plan.digest
    assert part(1, 4).plan.digest != part(1, 5).plan.digest


def test_serial_groups_are_spread() -> None:
    serial = Override(files=("tests/test_1*",), group=f"{SERIAL}tests")
    alike = {
        path: replace(known, spawned=UsageStats(duration_s=1.0, peak_bytes=1, runs=1))
        for path, known in HISTORY.items()
    }
    whole = part(config=replace(CONFIG, overrides=(serial,)), history=alike).plan.whole
    of_group = [number for path, number in whole if path.startswith("tests/test_1")]
    assert max(map(of_group.count, (1, 2, 3, 4))) <= 3


def test_without_a_history_the_shards_have_equally_many_files_with_a_notice() -> None:
    for config, history, word in (
        (TestConfig(), None, "--history-from balances"),
        (CONFIG, {"tests/other.py": HISTORY[FILES[0].path]}, "/given/history.sqlite3 knows none"),
    ):
        made = part(config=config, history=history)
        numbers = [number for _, number in made.plan.whole]
        assert [numbers.count(number) for number in (1, 2, 3, 4)] == [5, 5, 5, 5]
        assert word in made.notices[0]
        assert (made.plan.history_digest, made.known) == ("", {})
    assert part().notices == ()


def test_a_coverage_limit_that_is_not_applied_gives_a_notice() -> None:
    config = replace(CONFIG, enable_coverage=True, coverage_fail_under=80.0)
    assert "merge applies it" in part(config=config).notices[0]


def test_a_shard_may_have_nothing() -> None:
    empty = [number for number in range(1, 31) if not part(number, 30).files]
    assert len(empty) == 10
    assert len(part(empty[0], 30).plan.whole) == 20
    assert part(files=[]).plan.whole == ()


def test_a_confirmation_is_not_taken_over_and_a_failure_is() -> None:
    history = {
        FILES[0].path: replace(HISTORY[FILES[0].path], forking=ForkObservation.CONFIRMED),
        FILES[1].path: replace(HISTORY[FILES[1].path], forking=ForkObservation.HARMFUL),
    }
    known = part(history=history).known
    assert not known[FILES[0].path].is_fork_verified(FILES[0])
    assert known[FILES[1].path].must_spawn(FILES[1])


def test_a_plan_names_its_shard_and_its_predicted_time() -> None:
    mine = part(2)
    plan = make_plan(mine.files, mine.known, CONFIG, run_id="r", slots=1, budget_bytes=GIB)

    made = mine.of_run(plan, Capacity(slots=1, budget_bytes=GIB, total_bytes=GIB, limits=()))

    assert made.files == plan.files
    assert made.shard is not None
    assert made.shard.whole == mine.plan.whole
    seconds = [HISTORY[file.path].spawned.duration_s for file in mine.files]
    assert made.shard.predicted_s == sum(seconds)


def test_a_file_with_a_known_peak_but_no_time_is_part_of_the_digest() -> None:
    known = {
        path: replace(one, spawned=replace(one.spawned, duration_s=0.0, peak_bytes=10**7))
        for path, one in HISTORY.items()
    }
    changed = {
        path: replace(one, spawned=replace(one.spawned, peak_bytes=10**9)) for path, one in known.items()
    }

    assert part(history=known).plan.history_digest != part(history=changed).plan.history_digest


def test_a_coverage_threshold_is_left_to_merge() -> None:
    def said(**changes: Any) -> bool:
        return any("coverage-fail-under" in text for text in part(config=replace(CONFIG, **changes)).notices)

    assert said(enable_coverage=True, coverage_fail_under=80.0)
    assert not said(enable_coverage=True)
    assert not said(coverage_fail_under=80.0)
