"""Which of several runs may start a file, and which must stop one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from passmuster.host.host_budget_policy import (
    FIRST_FILE_BYTES,
    FileNeed,
    SharedResources,
    Shortage,
    fair_level,
    find_shortage,
    first_bytes,
    further_bytes,
    surplus_bytes,
)
from passmuster.host.machine_claims import RunClaim

GIB = 1024**3
SMALL = FIRST_FILE_BYTES / GIB


def _claim(
    run: str,
    files: int = 0,
    gib: float = 0,
    *,
    cpus: float | None = None,
    used: float | None = None,
    firm: float | None = None,
    wants: float | None = None,
    since_s: float = 0.0,
    busy_since_s: float = 0.0,
    is_nice: bool = False,
    budget: float = 100,
    slots: int = 8,
) -> RunClaim:
    """A run with so many files, which reserve and use so much; `wants`: the GiB that it waits for."""
    return RunClaim(
        run=run,
        pid=1,
        busy_since_s=busy_since_s,
        budget_bytes=int(budget * GIB),
        slots=slots,
        nice=is_nice,
        files=files,
        reserved_bytes=int(gib * GIB),
        firm_bytes=int((gib if firm is None else firm) * GIB),
        used_bytes=int((gib if used is None else used) * GIB),
        cpus=float(files) if cpus is None else cpus,
        waits_for="" if wants is None else "memory",
        wanted_bytes=int((wants or 0) * GIB),
        waiting_since_s=since_s,
    )


def _lack(
    own: RunClaim,
    *others: RunClaim,
    need: float,
    memory: float = 16,
    cpus: int | None = None,
    busy: float = 1.0,
) -> Shortage | None:
    arena = SharedResources(others=others, memory_bytes=int(memory * GIB), cpus=cpus)
    return find_shortage(own, FileNeed(memory_bytes=int(need * GIB), cpus=busy), arena)


def test_a_run_alone_may_use_all_memory_and_more_processors_than_there_are() -> None:
    assert _lack(_claim("a", 9, 15), need=1, cpus=2) is None
    assert _lack(_claim("a", 9, 15), need=1.1, cpus=2) is Shortage.MEMORY


def test_where_nothing_runs_a_file_of_any_size_may_start() -> None:
    assert _lack(_claim("a"), _claim("b"), need=99) is None


def test_a_small_first_file_starts_regardless_of_the_other_runs() -> None:
    others = _claim("b", 8, 16, cpus=8, wants=1), _claim("c", wants=9)
    assert _lack(_claim("a"), *others, need=SMALL, cpus=2) is None
    assert _lack(_claim("a"), *others, need=SMALL + 0.1, cpus=2) is Shortage.MEMORY


def test_a_large_first_file_starts_where_memory_is_reserved_but_not_needed() -> None:
    assert _lack(_claim("a"), _claim("b", 4, 16), need=4) is Shortage.MEMORY
    assert _lack(_claim("a"), _claim("b", 4, 16, firm=8), need=4) is None


def test_large_first_files_start_in_the_order_in_which_they_began_to_wait() -> None:
    running, early = _claim("r", 2, 8), _claim("a", wants=6, since_s=1)
    late = _claim("b", wants=6, since_s=2)
    assert _lack(early, running, late, need=6) is None
    assert _lack(late, running, early, need=6) is Shortage.MEMORY


def test_small_first_files_of_other_runs_do_not_keep_a_giant_waiting_for_ever() -> None:
    assert _lack(_claim("a", wants=16), _claim("b", 1, SMALL), _claim("c", 1, SMALL), need=16) is None


def test_a_further_file_leaves_room_for_a_first_file_that_waits() -> None:
    waiting = _claim("b", wants=4, budget=4)
    assert _lack(_claim("a", 1, 10), waiting, need=3) is Shortage.MEMORY
    assert _lack(_claim("a", 1, 10), waiting, need=2) is None


def test_no_run_goes_beyond_its_share_of_memory_while_another_waits_below_its_own() -> None:
    assert _lack(_claim("a", 5, 8), _claim("b", 2, 2), need=4) is None
    assert _lack(_claim("a", 5, 8), _claim("b", 2, 2, wants=1), need=4) is Shortage.MEMORY
    assert _lack(_claim("a", 3, 4), _claim("b", 2, 2, wants=1), need=4) is None


def test_a_run_that_has_more_cannot_hold_up_another_by_waiting() -> None:
    assert _lack(_claim("a", 1, 2, wants=1), _claim("b", 9, 12, wants=1), need=1) is None


def test_a_small_budget_of_its_own_leaves_the_rest_to_others() -> None:
    assert _lack(_claim("a", 3, 10), _claim("b", 1, 3, wants=1, budget=4), need=2) is None


def test_a_further_file_starts_only_while_a_processor_is_idle() -> None:
    assert _lack(_claim("a", 1, 1), _claim("b", 1, 1), need=1, cpus=2) is Shortage.PROCESSORS
    assert _lack(_claim("a", 1, 1), _claim("b", 1, 1), need=1, cpus=3) is None
    assert _lack(_claim("a", 1, 1), _claim("b", 4, 1, cpus=0.1), need=1, cpus=2) is None


def test_processors_go_to_the_run_that_has_fewer() -> None:
    many, few = _claim("a", 5, 1, wants=1), _claim("b", 1, 1, wants=1)
    assert _lack(many, few, need=1, cpus=8) is Shortage.PROCESSORS
    assert _lack(few, many, need=1, cpus=8) is None


def test_where_the_shares_leave_a_processor_over_the_run_that_waited_longest_gets_it() -> None:
    early, late = _claim("a", 1, 1, wants=1, since_s=1), _claim("b", 1, 1, wants=1, since_s=2)
    assert _lack(early, late, need=1, cpus=3) is None
    assert _lack(late, early, need=1, cpus=3) is Shortage.PROCESSORS


def test_a_nice_run_leaves_everything_that_another_waits_for_to_it() -> None:
    nice, other = _claim("a", 1, 1, is_nice=True), _claim("b", 6, 12, wants=1)
    assert _lack(nice, other, need=1, cpus=16) is Shortage.MEMORY
    assert _lack(nice, replace(other, waits_for=""), need=1, cpus=16) is None
    assert _lack(_claim("b", 6, 12), _claim("a", 1, 1, wants=1, is_nice=True), need=1, cpus=16) is None


def test_what_is_left_for_a_run() -> None:
    arena = SharedResources(
        others=(_claim("b", 2, 6, firm=3), _claim("c", wants=2, since_s=5)), memory_bytes=16 * GIB, cpus=None
    )
    assert further_bytes(_claim("a", 1, 1), arena) == 7 * GIB
    assert first_bytes(_claim("a"), arena) == 11 * GIB
    assert first_bytes(_claim("a", wants=9, since_s=1), arena) == 13 * GIB
    assert further_bytes(_claim("a", 1, 12), arena) == 0


def _surplus(*runs: RunClaim) -> list[float]:
    """Return by how many GiB each run must reduce what its files use, of 16 GiB that they may use."""
    found = []
    for own in runs:
        others = tuple(other for other in runs if other is not own)
        found.append(
            surplus_bytes(own, SharedResources(others=others, memory_bytes=16 * GIB, cpus=None)) / GIB
        )
    return [round(surplus, 1) for surplus in found]


def test_runs_that_fit_stop_no_file() -> None:
    assert _surplus(_claim("a", 2, 8), _claim("b", 2, 7)) == [0, 0]
    assert _surplus(_claim("a", 1, 17), _claim("b")) == [0, 0]


def test_further_files_are_stopped_before_the_last_file_of_any_run_the_largest_first() -> None:
    assert _surplus(_claim("a", 2, 9), _claim("b", 3, 7)) == [0.8, 0]
    assert _surplus(_claim("a", 1, 12), _claim("b", 3, 4)) == [0, 0.8]
    assert _surplus(_claim("a", 2, 12), _claim("b", 2, 10), _claim("c", 1, 1)) == [6.0, 1.8, 0]
    assert _surplus(_claim("a", 2, 9), _claim("b", 3, 7, is_nice=True)) == [0, 0.8]


def test_if_each_run_has_one_file_those_that_started_last_are_stopped() -> None:
    runs = [_claim(str(number), 1, 6, busy_since_s=number) for number in range(5)]
    assert _surplus(*runs) == [0, 0, 2.8, 6, 6]
    assert _surplus(_claim("a", 1, 30, busy_since_s=1), _claim("b", 1, 1, busy_since_s=2)) == [0, 1]


@given(
    files=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 12)), min_size=1, max_size=6),
)
def test_all_runs_together_make_enough_room_and_one_always_keeps_a_file(
    files: list[tuple[int, int]],
) -> None:
    runs = [
        _claim(str(n), count, size if count else 0, busy_since_s=n) for n, (count, size) in enumerate(files)
    ]
    surplus, used = _surplus(*runs), [run.used_bytes / GIB for run in runs]
    left = sum(used) - sum(surplus)
    oldest = next((number for number, run in enumerate(runs) if run.files), None)
    if oldest is not None:
        assert surplus[oldest] <= used[oldest] * (runs[oldest].files - 1) / runs[oldest].files + 0.5
        assert left <= 0.95 * 16 + 0.5 or left <= used[oldest] / runs[oldest].files + 0.5


def test_a_first_file_that_was_evicted_waits_until_the_memory_is_free() -> None:
    arena = SharedResources(others=(_claim("b", 4, 16),), memory_bytes=16 * GIB, cpus=None)
    assert find_shortage(_claim("a"), FileNeed(memory_bytes=1), arena) is None
    assert find_shortage(_claim("a"), FileNeed(memory_bytes=1, may_intrude=False), arena) is Shortage.MEMORY


@given(demands=st.lists(st.integers(0, 100), max_size=8), capacity=st.integers(0, 300))
def test_the_fair_level_gives_all_they_demand_or_all_there_is(demands: list[int], capacity: int) -> None:
    level = fair_level(demands, capacity)
    given_out = sum(min(demand, level) for demand in demands)
    if sum(demands) <= capacity:
        assert given_out == sum(demands)
        assert level == math.inf
    else:
        assert given_out == pytest.approx(capacity)


MEMORY = 100 * FIRST_FILE_BYTES // 8
"""Of the simulated machine: a small file needs up to 8 parts of 100, as a first file may at once."""


@dataclass
class _Run:
    """A simulated run: what its files need in parts of the memory, and until when each one runs."""

    claim: RunClaim
    waiting: list[tuple[int, int]]
    running: list[tuple[int, int]] = field(default_factory=list)

    def start_one(self, others: list[RunClaim], *, now: int, cpus: int | None) -> bool:
        parts, length = self.waiting[0]
        need = FileNeed(memory_bytes=parts * MEMORY // 100)
        if find_shortage(
            self.claim, need, SharedResources(others=tuple(others), memory_bytes=MEMORY, cpus=cpus)
        ):
            since_s = self.claim.waiting_since_s if self.claim.waits_for else now
            self.claim = replace(
                self.claim, waits_for="memory", wanted_bytes=need.memory_bytes, waiting_since_s=since_s
            )
            return False
        self.waiting.pop(0)
        self.running.append((now + length, parts))
        self.claim = replace(self.claim, waits_for="")
        self._count()
        return True

    def end_what_is_due(self, now: int) -> None:
        self.running = [(until, parts) for until, parts in self.running if until > now]
        self._count()

    def _count(self) -> None:
        held_bytes = sum(parts for _, parts in self.running) * MEMORY // 100
        files = len(self.running)
        self.claim = replace(
            self.claim,
            files=files,
            reserved_bytes=held_bytes,
            firm_bytes=held_bytes,
            used_bytes=held_bytes,
            cpus=float(files),
        )


def _step(runs: list[_Run], order: list[_Run], *, now: int, cpus: int | None) -> None:
    """Let a unit of time pass: what is due ends, then each run in turn starts what it may."""
    for run in runs:
        run.end_what_is_due(now)
    for run in order:
        while run.waiting and len(run.running) < run.claim.slots:
            others = [other.claim for other in runs if other is not run]
            further = bool(run.running)
            if not run.start_one(others, now=now, cpus=cpus):
                break
            reserved = run.claim.reserved_bytes + sum(other.reserved_bytes for other in others)
            assert not further or reserved <= MEMORY
            busy = run.claim.cpus + sum(other.cpus for other in others)
            is_alone = not any(other.files or other.waits_for for other in others)
            assert not further or is_alone or cpus is None or busy <= cpus


_files = st.lists(st.tuples(st.integers(1, 100), st.integers(1, 4)), min_size=1, max_size=8)


@settings(max_examples=100)
@given(
    shapes=st.lists(st.tuples(st.booleans(), _files), min_size=1, max_size=5),
    cpus=st.sampled_from([None, 1, 2, 4]),
    choices=st.randoms(use_true_random=False),
)
def test_whatever_the_runs_do_all_files_run_and_further_files_stay_within_the_machine(
    shapes: list[tuple[bool, list[tuple[int, int]]]], cpus: int | None, choices: Random
) -> None:
    runs = [
        _Run(claim=_claim(str(number), is_nice=is_nice), waiting=list(files))
        for number, (is_nice, files) in enumerate(shapes)
    ]
    time_for_one_after_another = sum(length for run in runs for _, length in run.waiting)
    for now in range(time_for_one_after_another + 1):
        order = list(runs)
        choices.shuffle(order)
        _step(runs, order, now=now, cpus=cpus)
        if not any(run.waiting or run.running for run in runs):
            return
        assert any(run.running for run in runs)
    raise AssertionError(f"not done: {[(run.waiting, run.running) for run in runs]}")


@settings(max_examples=40)
@given(giant=st.integers(9, 100), small=st.integers(1, 50), choices=st.randoms(use_true_random=False))
def test_a_giant_gets_through_runs_that_never_stop_starting_small_files(
    giant: int, small: int, choices: Random
) -> None:
    runs = [_Run(claim=_claim(str(number)), waiting=[(small, 3)] * 100) for number in range(3)]
    large = _Run(claim=_claim("giant"), waiting=[])
    runs.append(large)
    for now in range(40):
        if now == 5:
            large.waiting.append((giant, 3))
        order = list(runs)
        choices.shuffle(order)
        _step(runs, order, now=now, cpus=None)
        if now > 5 and not large.waiting:
            return
    raise AssertionError("the giant never started")


@settings(max_examples=40)
@given(
    others=st.integers(1, 6),
    cpus=st.integers(2, 8),
    files=st.integers(1, 20),
    parts=st.integers(1, 8),
    choices=st.randoms(use_true_random=False),
)
def test_a_short_run_among_long_ones_takes_at_most_twice_the_time_of_its_fair_share(
    others: int, cpus: int, files: int, parts: int, choices: Random
) -> None:
    runs = [
        _Run(claim=_claim(str(number), slots=cpus), waiting=[(parts, 2)] * 500) for number in range(others)
    ]
    for now in range(8):
        _step(runs, choices.sample(runs, len(runs)), now=now, cpus=cpus)
    short = _Run(claim=_claim("short", slots=cpus), waiting=[(parts, 2)] * files)
    runs.append(short)
    for now in range(8, 400):
        _step(runs, choices.sample(runs, len(runs)), now=now, cpus=cpus)
        if now == 8:
            assert short.running
        if not short.waiting and not short.running:
            break
    by_processors = max(1.0, cpus / len(runs))
    by_memory = max(1.0, 100 / parts / len(runs))
    share = max(1, math.floor(min(by_processors, by_memory)))
    fair_time = math.ceil(files / share) * 2
    assert now - 8 <= 2 * fair_time + 2
