"""The search structure of the waiting line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.planning.ready_queue import MinTree

_steps = st.lists(
    st.tuples(st.sampled_from(["append", "prepend", "discard"]), st.integers(0, 20), st.integers(0, 400)),
    max_size=120,
)


@given(steps=_steps, bound=st.integers(-1, 21))
def test_it_finds_what_a_walk_through_all_numbers_finds(
    steps: list[tuple[str, int, int]], bound: int
) -> None:
    tree, model = MinTree(), dict[int, int]()
    low, high = 0, 0
    for kind, number, place in steps:
        if kind == "append":
            model[high] = number
            tree.set(high, number)
            high += 1
        elif kind == "prepend":
            low -= 1
            model[low] = number
            tree.set(low, number)
        elif high > low:
            key = low + place % (high - low)
            model.pop(key, None)
            tree.discard(key)
        fitting = [key for key, value in model.items() if value <= bound]
        assert tree.first_at_most(bound) == min(fitting, default=None)


def test_an_empty_one_finds_nothing() -> None:
    tree = MinTree()
    assert tree.first_at_most(10**18) is None
    tree.discard(3)
    tree.set(3, 5)
    tree.discard(3)
    assert tree.first_at_most(10**18) is None
