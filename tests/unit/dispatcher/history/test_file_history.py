"""What is remembered holds for the file as it was, and for the way in which it will run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.model.plan import TestFile
from dispatcher.model.usage_stats import UsageStats
from passmuster.model.status import Isolation, Status

FILE = TestFile(path="a.py", label="a.py", size_bytes=10, mtime_ns=20)
SPAWNED = UsageStats(duration_s=3.0, cpu_s=2.0, peak_bytes=300, runs=4)
FORKED = UsageStats(duration_s=1.0, cpu_s=0.5, peak_bytes=100, runs=2)
KNOWN = FileHistory(path="a.py", spawned=SPAWNED, forked=FORKED, size_bytes=10, mtime_ns=20)


@pytest.mark.parametrize("change", [{"size_bytes": 11}, {"mtime_ns": 21}])
def test_findings_hold_until_the_file_changes(change: dict[str, int]) -> None:
    changed = replace(FILE, **change)
    harmful = replace(KNOWN, forking=ForkObservation.HARMFUL, fails_in_parallel=True)
    confirmed = replace(KNOWN, forking=ForkObservation.CONFIRMED)

    assert (harmful.must_spawn(FILE), harmful.must_be_exclusive(FILE), confirmed.is_fork_verified(FILE)) == (
        True,
    ) * 3
    assert (harmful.must_spawn(changed), harmful.must_be_exclusive(changed)) == (False, False)
    assert not confirmed.is_fork_verified(changed)
    assert not KNOWN.is_fork_verified(FILE)
    assert not KNOWN.must_spawn(FILE)


def test_a_file_that_failed_is_spawned_until_it_changes_or_passes() -> None:
    failed = replace(KNOWN, last_status=Status.TIMEOUT)

    assert (failed.is_spawned(FILE), KNOWN.is_spawned(FILE)) == (True, False)
    assert not failed.is_spawned(replace(FILE, mtime_ns=21))
    assert not replace(KNOWN, last_status=Status.CANCELLED).is_spawned(FILE)
    assert failed.as_run(FILE, Isolation.AUTO).spawned == SPAWNED


@pytest.mark.parametrize(
    ("isolation", "forking", "expected"),
    [
        (Isolation.AUTO, ForkObservation.UNKNOWN, FORKED),
        (Isolation.AUTO, ForkObservation.CONFIRMED, FORKED),
        (Isolation.AUTO, ForkObservation.HARMFUL, SPAWNED),
        (Isolation.FORK, ForkObservation.HARMFUL, FORKED),
        (Isolation.SPAWN, ForkObservation.CONFIRMED, SPAWNED),
    ],
)
def test_predictions_use_the_start_method_of_the_coming_run(
    isolation: Isolation, forking: ForkObservation, expected: UsageStats
) -> None:
    assert replace(KNOWN, forking=forking).as_run(FILE, isolation).spawned == expected


def test_a_start_method_that_was_never_used_borrows_the_usage_of_the_other() -> None:
    never_forked = replace(KNOWN, forked=None)
    only_made_room = replace(KNOWN, forked=UsageStats(peak_bytes=5))
    never_spawned = replace(KNOWN, spawned=UsageStats())

    assert never_forked.as_run(FILE, Isolation.AUTO).spawned == SPAWNED
    assert only_made_room.as_run(FILE, Isolation.AUTO).spawned == SPAWNED
    assert never_spawned.as_run(FILE, Isolation.SPAWN).spawned == FORKED


def test_the_baseline_of_a_forked_file_holds_while_the_same_files_run() -> None:
    larger = UsageStats(duration_s=3.0, cpu_s=2.0, peak_bytes=300, runs=2)

    same = KNOWN.baseline(FILE, ran_with_same_peers=True)
    others = KNOWN.baseline(replace(FILE, size_bytes=11), ran_with_same_peers=False)
    never_spawned = replace(KNOWN, spawned=UsageStats()).baseline(FILE, ran_with_same_peers=False)
    never_forked = replace(KNOWN, forked=None).baseline(FILE, ran_with_same_peers=True)

    assert (same.spawned, same.forked, same.is_changed) == (SPAWNED, FORKED, False)
    # Without the imports of its server, a forked file may take as much as a spawned one.
    assert (others.forked.duration_s, others.forked.cpu_s, others.forked.peak_bytes) == (
        larger.duration_s,
        larger.cpu_s,
        larger.peak_bytes,
    )
    assert others.is_changed
    assert never_spawned.forked == never_forked.forked == UsageStats()
