"""The rules about memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.model.status import StopReason
from worker.budget.memory_policy import (
    FIRST_SAMPLE_S,
    KILL_PATIENCE_S,
    MAX_TICK_S,
    MIN_TICK_S,
    WORST_GROWTH_BYTES_PER_S,
    Breach,
    FileMemory,
    choose_victim,
    find_breaches,
    next_sample_s,
    unknown_file_bytes,
)

MIB = 1024**2


def _file(
    name: str,
    used: int,
    *,
    started: int = 0,
    predicted: int = 100,
    limit: int | None = None,
    growth: float = 0.0,
    burst: float = 0.0,
    kill_pending_s: float | None = None,
) -> FileMemory:
    """A running file; sizes in MiB."""
    return FileMemory(
        attempt_id=name,
        started=started,
        predicted_bytes=predicted * MIB,
        used_bytes=used * MIB,
        growth_bytes_per_s=growth * MIB,
        burst_bytes_per_s=max(growth, burst) * MIB,
        limit_bytes=None if limit is None else limit * MIB,
        kill_pending_s=kill_pending_s,
    )


def _judge(
    *files: FileMemory, budget: int = 1000, allowance: int = 10**6, horizon_s: float = 0.025
) -> list[Breach]:
    return list(
        find_breaches(files, budget_bytes=budget * MIB, allowance_bytes=allowance * MIB, horizon_s=horizon_s)
    )


def _stopped(breaches: list[Breach]) -> list[tuple[str, StopReason]]:
    return [(breach.attempt_id, breach.reason) for breach in breaches]


def test_within_the_budget_no_file_is_killed() -> None:
    assert _judge(_file("a", 600), _file("b", 350, started=1)) == []
    assert _judge(_file("a", 1000)) == []
    assert _judge() == []


def test_a_file_over_its_own_limit_is_killed_and_the_detail_gives_the_figures() -> None:
    (breach,) = _judge(_file("a", 301, limit=300), _file("b", 100, started=1))
    assert breach == Breach(
        attempt_id="a",
        reason=StopReason.MEMORY_LIMIT,
        used_bytes=301 * MIB,
        limit_bytes=300 * MIB,
        total_bytes=401 * MIB,
        detail="used 301 MiB, allowed are 300 MiB (its limit); killed by the runner",
    )


def test_all_files_over_their_limits_are_killed_together_and_no_other() -> None:
    files = [_file("a", 400, limit=300), _file("b", 500, limit=300, started=1), _file("c", 500, started=2)]
    assert _stopped(_judge(*files)) == [("a", StopReason.MEMORY_LIMIT), ("b", StopReason.MEMORY_LIMIT)]


def test_a_single_file_over_the_budget_exceeds_its_limit() -> None:
    (breach,) = _judge(_file("a", 1001))
    assert breach.reason is StopReason.MEMORY_LIMIT
    assert "the whole memory budget" in breach.detail


def test_a_single_file_is_killed_before_its_growth_exceeds_the_budget() -> None:
    (breach,) = _judge(_file("a", 980, growth=1000))
    assert breach.reason is StopReason.MEMORY_LIMIT
    assert "growing by 1000 MiB/s" in breach.detail
    assert _judge(_file("a", 970, growth=1000)) == []


def test_a_file_over_the_whole_budget_exceeds_its_limit_while_others_run() -> None:
    files = [_file("a", 1001, started=0), _file("b", 10, started=1)]
    assert _stopped(_judge(*files)) == [("a", StopReason.MEMORY_LIMIT)]


def test_the_file_furthest_above_its_prediction_is_evicted() -> None:
    files = [
        _file("oldest", 500, predicted=10, started=0),
        _file("big-as-foreseen", 400, predicted=400, started=1),
        _file("overshot", 120, predicted=50, started=2),
    ]
    (breach,) = _judge(*files)
    assert (breach.attempt_id, breach.reason) == ("overshot", StopReason.MEMORY_BUDGET)
    assert "will rerun" in breach.detail


def test_a_file_is_evicted_before_the_budget_is_full() -> None:
    files = [_file("a", 600), _file("b", 351, started=1)]
    assert _stopped(_judge(*files)) == [("b", StopReason.MEMORY_BUDGET)]


def test_of_equal_files_the_youngest_is_evicted() -> None:
    files = [_file(name, 300, started=number) for number, name in enumerate("abcd")]
    assert _stopped(_judge(*files)) == [("d", StopReason.MEMORY_BUDGET)]


def test_one_burst_of_a_single_file_counts_only_near_the_budget() -> None:
    assert _stopped(_judge(_file("a", 980, burst=2000))) == [("a", StopReason.MEMORY_LIMIT)]
    assert _judge(_file("a", 800, burst=10_000)) == []
    assert _judge(_file("a", 980, burst=10)) == []


def test_sampling_may_cost_more_if_the_next_sample_could_be_too_late() -> None:
    far_s, near_s = (
        next_sample_s(spare_bytes=spare, growth_bytes_per_s=0, youngest_s=9, cost_s=0.02)
        for spare in (400 * MIB, MIB)
    )
    assert far_s == pytest.approx(400 / 4096)
    assert near_s == pytest.approx(0.02)


def test_files_are_evicted_until_the_rest_fits() -> None:
    files = [_file("oldest", 900, started=0), *(_file(f"b{n}", 40, started=n) for n in range(1, 5))]
    assert _stopped(_judge(*files)) == [
        ("b4", StopReason.MEMORY_BUDGET),
        ("b3", StopReason.MEMORY_BUDGET),
        ("b2", StopReason.MEMORY_BUDGET),
    ]


def test_no_second_file_is_evicted_while_a_victim_is_dying() -> None:
    files = [_file("a", 600), _file("b", 300, started=1), _file("dying", 500, started=2, kill_pending_s=0.1)]
    assert _judge(*files) == []


def test_another_file_is_evicted_if_growth_continues() -> None:
    files = [_file("a", 600), _file("b", 500, started=1), _file("dying", 500, started=2, kill_pending_s=0.1)]
    assert _stopped(_judge(*files)) == [("b", StopReason.MEMORY_BUDGET)]


def test_a_victim_that_survives_its_kill_counts_again() -> None:
    dying = _file("dying", 500, started=2, kill_pending_s=KILL_PATIENCE_S + 0.1)
    assert _stopped(_judge(_file("a", 600), _file("b", 300, started=1), dying)) == [
        ("b", StopReason.MEMORY_BUDGET)
    ]


def test_a_file_that_uses_no_memory_is_not_evicted() -> None:
    files = [_file("a", 990, growth=1000), _file("starting", 0, started=1)]
    assert _stopped(_judge(*files)) == [("a", StopReason.MEMORY_LIMIT)]


def test_other_runs_may_reclaim_memory_but_not_from_a_single_file() -> None:
    both = [_file("a", 300), _file("b", 300, started=1)]
    assert _stopped(_judge(*both, allowance=500)) == [("b", StopReason.MEMORY_BUDGET)]
    assert _judge(_file("a", 600), allowance=500) == []


_running = st.builds(
    _file,
    st.just(""),
    st.integers(0, 1500),
    predicted=st.integers(0, 1000),
    limit=st.one_of(st.none(), st.integers(1, 1500)),
    growth=st.floats(0, 5000),
    kill_pending_s=st.one_of(st.none(), st.none(), st.floats(0, 4)),
)
_groups = st.lists(_running, max_size=8).map(
    lambda files: [
        FileMemory(
            attempt_id=str(number),
            started=number,
            predicted_bytes=file.predicted_bytes,
            used_bytes=file.used_bytes,
            growth_bytes_per_s=file.growth_bytes_per_s,
            burst_bytes_per_s=file.burst_bytes_per_s,
            limit_bytes=file.limit_bytes,
            kill_pending_s=file.kill_pending_s,
        )
        for number, file in enumerate(files)
    ]
)


@given(files=_groups, allowance=st.integers(0, 2000))
def test_for_any_files_the_breaches_keep_the_rules(files: list[FileMemory], allowance: int) -> None:
    budget = 1000
    breaches = _judge(*files, budget=budget, allowance=allowance)
    by_name = {file.attempt_id: file for file in files}
    stopped = [by_name[breach.attempt_id] for breach in breaches]
    assert len({file.attempt_id for file in stopped}) == len(stopped)
    assert all(file.kill_pending_s is None and file.used_bytes > 0 for file in stopped)
    alive = [file for file in files if file.kill_pending_s is None and file.used_bytes > 0]
    rest = [file for file in alive if file not in stopped]
    guilty = {breach.attempt_id for breach in breaches if breach.reason is StopReason.MEMORY_LIMIT}
    innocent = [breach for breach in breaches if breach.reason is StopReason.MEMORY_BUDGET]
    for file in alive:
        if file.used_bytes > min(file.limit_bytes or budget * MIB, budget * MIB):
            assert file.attempt_id in guilty
    for breach in innocent:
        oldest = min(file.started for file in alive)
        assert by_name[breach.attempt_id].started != oldest
    if alive and not guilty:
        # Somebody always gets to the end, and what goes on running fits.
        assert rest
        assert (
            len(rest) == 1 or sum(file.used_in(0.025) for file in rest) <= min(0.95 * budget, allowance) * MIB
        )


@given(files=_groups)
def test_the_victim_is_never_the_oldest_and_no_file_exceeds_its_prediction_more(
    files: list[FileMemory],
) -> None:
    victim = choose_victim(files)
    assert (victim is None) == (len(files) < 2)
    if victim is not None:
        assert victim.started != 0
        assert victim.overshoot_bytes == max(file.overshoot_bytes for file in files[1:])


def test_a_single_file_is_evicted_only_if_it_is_not_spared() -> None:
    files = [_file("a", 500)]
    assert _judge(*files, allowance=400) == []
    breaches = find_breaches(
        files, budget_bytes=1000 * MIB, allowance_bytes=400 * MIB, horizon_s=0.025, spares_last=False
    )
    assert _stopped(list(breaches)) == [("a", StopReason.MEMORY_BUDGET)]


@given(
    spare=st.integers(-(2**34), 2**40),
    growth=st.floats(0, 2**36),
    youngest_s=st.floats(0, 1000),
    cost_s=st.floats(0, 0.04),
)
def test_the_next_sample_comes_before_worst_case_growth_uses_up_the_rest(
    spare: int, growth: float, youngest_s: float, cost_s: float
) -> None:
    wait_s = next_sample_s(spare_bytes=spare, growth_bytes_per_s=growth, youngest_s=youngest_s, cost_s=cost_s)
    assert MIN_TICK_S <= wait_s <= MAX_TICK_S
    assert wait_s >= cost_s
    if wait_s > max(MIN_TICK_S, 4 * cost_s):
        assert wait_s * WORST_GROWTH_BYTES_PER_S <= spare + 1
        assert wait_s <= max(FIRST_SAMPLE_S, youngest_s)


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [
        ([], 250),
        ([10, 20], 250),
        ([10, 400, 300], 460),
        ([10, 4000], 1000),
        ([20, 100, 60, 80], 115),
        ([100] * 8 + [700], 805),
        ([100] * 9 + [700], 115),
        ([100] * 12 + [200, 300, 700], 115),
        ([100] * 12 + [200] * 5 + [300, 400, 700], 230),
    ],
)
def test_an_unknown_file_is_predicted_as_the_largest_ordinary_one(peaks: list[int], expected: int) -> None:
    assert unknown_file_bytes(budget_bytes=1000, slots=4, peaks_bytes=peaks) == expected


def test_running_files_count_while_few_have_finished() -> None:
    def estimate(peaks: list[int]) -> int:
        return unknown_file_bytes(budget_bytes=1000, slots=4, peaks_bytes=peaks, running_bytes=[600])

    assert estimate([10] * 3) == 690
    assert estimate([10] * 4) == 12


def test_many_slots_do_not_make_the_share_of_an_unknown_file_tiny() -> None:
    assert unknown_file_bytes(budget_bytes=1600, slots=100, peaks_bytes=[]) == 100
