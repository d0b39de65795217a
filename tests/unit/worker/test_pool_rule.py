"""Who of several runs may reserve memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.pool_rule import Claim, left_bytes, may_reserve

CEILING = 100
DEFAULT_POOL = 60


def _claim(
    run: str, reserved: int = 0, *, wanted: int = 0, since_s: float = 0.0, is_default: bool = False
) -> Claim:
    return Claim(
        run=run, reserved_bytes=reserved, wanted_bytes=wanted, waiting_since_s=since_s, is_default=is_default
    )


def _may(own: Claim, *others: Claim, need: int) -> bool:
    return may_reserve(own, others, need_bytes=need, ceiling_bytes=CEILING, default_pool_bytes=DEFAULT_POOL)


def test_a_run_alone_may_use_the_whole_pool() -> None:
    assert _may(_claim("a", 90), need=10)
    assert not _may(_claim("a", 90), need=11)


def test_where_nothing_is_reserved_a_file_of_any_size_may_start() -> None:
    assert _may(_claim("a"), _claim("b"), need=500)


def test_all_reservations_together_stay_within_the_pool() -> None:
    assert _may(_claim("a"), _claim("b", 70), need=30)
    assert not _may(_claim("a"), _claim("b", 70), need=31)


def test_runs_with_the_default_budget_share_one_default_budget() -> None:
    own, other = _claim("a", 30, is_default=True), _claim("b", 20, is_default=True)
    assert _may(own, other, need=10)
    assert not _may(own, other, need=11)
    assert _may(replace(own, is_default=False), other, need=50)


def test_more_than_a_fair_share_is_had_only_while_nobody_else_waits() -> None:
    assert _may(_claim("a", 50), _claim("b", 10), need=20)
    assert not _may(_claim("a", 50), _claim("b", 10, wanted=5), need=20)
    assert _may(_claim("a", 30), _claim("b", 10, wanted=5), need=20)
    assert _may(_claim("a", 45), _claim("b", 30, wanted=5), _claim("c"), need=20) is False


def test_a_run_that_has_its_share_already_cannot_hold_up_others_by_waiting() -> None:
    assert _may(_claim("a", 40), _claim("b", 50, wanted=5), need=10)


def test_running_runs_leave_room_for_what_a_starving_one_waits_for() -> None:
    starving = _claim("b", wanted=80)
    assert not _may(_claim("a", 10), starving, need=11)
    assert _may(_claim("a", 10), starving, need=10)


def test_who_has_starved_longest_goes_first() -> None:
    early, late = _claim("a", wanted=80, since_s=1), _claim("b", wanted=80, since_s=2)
    assert _may(early, late, need=80)
    assert not _may(late, early, need=80)
    assert not _may(_claim("c"), early, need=5)


def test_what_the_others_leave() -> None:
    def left(own: Claim, *others: Claim) -> int:
        return left_bytes(own, others, ceiling_bytes=CEILING, default_pool_bytes=DEFAULT_POOL)

    assert left(_claim("a", 50)) == CEILING
    assert left(_claim("a", 50), _claim("b", 30), _claim("c", 80)) == 0
    assert left(_claim("a", is_default=True), _claim("b", 20, is_default=True), _claim("c", 30)) == 40
    assert left(_claim("a", is_default=True), _claim("b", 20, is_default=True), _claim("c", 75)) == 5


@dataclass
class _Run:
    """A simulated run: what its files need, and which of them run."""

    claim: Claim
    waiting: list[int]
    running: list[int] = field(default_factory=list)

    def reserve(self, others: list[Claim], *, now_s: float) -> bool:
        need = self.waiting[0]
        if not _may(self.claim, *others, need=need):
            since_s = self.claim.waiting_since_s if self.claim.is_hungry else now_s
            self.claim = replace(self.claim, wanted_bytes=need, waiting_since_s=since_s)
            return False
        self.running.append(self.waiting.pop(0))
        self.claim = replace(self.claim, reserved_bytes=sum(self.running), wanted_bytes=0)
        return True

    def end_one(self) -> None:
        self.running.pop(0)
        self.claim = replace(self.claim, reserved_bytes=sum(self.running))


_runs = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(1, 130), min_size=1, max_size=8)), min_size=1, max_size=5
)


@settings(max_examples=300, deadline=None)
@given(shapes=_runs, choices=st.randoms(use_true_random=False))
def test_nobody_starves_and_no_promise_is_broken_whatever_the_runs_do(
    shapes: list[tuple[bool, list[int]]], choices: Random
) -> None:
    runs = [
        _Run(claim=_claim(str(number), is_default=is_default), waiting=list(needs))
        for number, (is_default, needs) in enumerate(shapes)
    ]
    files = sum(len(run.waiting) for run in runs)
    for round_number in range(3 * files + 10):
        order = list(runs)
        choices.shuffle(order)
        for run in order:
            while run.waiting:
                others = [other.claim for other in runs if other is not run]
                before = run.claim.reserved_bytes + sum(other.reserved_bytes for other in others)
                if not run.reserve(others, now_s=round_number):
                    break
                after = run.claim.reserved_bytes + sum(other.reserved_bytes for other in others)
                assert after <= CEILING or before == 0
        busy = [run for run in order if run.running]
        if busy:
            busy[0].end_one()
        elif not any(run.waiting for run in runs):
            return
    raise AssertionError(f"still waiting: {[run.waiting for run in runs]}")


@settings(max_examples=100, deadline=None)
@given(need=st.integers(1, 130), greedy=st.integers(1, 100))
def test_a_large_file_gets_through_a_run_that_never_stops_starting_small_ones(need: int, greedy: int) -> None:
    small = _Run(claim=_claim("small"), waiting=[greedy] * 300)
    large = _Run(claim=_claim("large"), waiting=[need])
    while small.waiting and small.reserve([large.claim], now_s=0):
        pass
    for now_s in range(1, 110):
        if small.running:
            small.end_one()
        while small.waiting and small.reserve([large.claim], now_s=now_s):
            pass
        if large.reserve([small.claim], now_s=now_s):
            return
    raise AssertionError("the large file never started")
