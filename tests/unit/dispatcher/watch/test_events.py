"""What starts a round of a watch, and when."""

from __future__ import annotations

import pytest

from dispatcher.watch.events import MAX_ECHOES, MAX_PAUSE_S, Backoff, Changed, Key, is_ignored, merge


@pytest.mark.parametrize(
    "path",
    [
        ".git",
        ".git/index",
        "shop/__pycache__/cart.cpython-311.pyc",
        ".passmuster/history.sqlite3",
        ".coverage.host.17",
        "shop/.cart.py.swp",
        "shop/4913",
        "shop/cart.py~",
        "shop/.#cart.py",
        "shop/cart.py___jb_tmp___",
    ],
)
def test_what_runs_and_editors_write_starts_no_round(path: str) -> None:
    assert is_ignored(path)


@pytest.mark.parametrize(
    "path", ["shop/cart.py", ".env", "a b.txt", "git/x.py", ".github/x.yml", "data/4914"]
)
def test_every_other_file_may_be_an_input(path: str) -> None:
    assert not is_ignored(path)


def test_changes_that_came_together_are_one_and_the_last_key_counts() -> None:
    one, other = Changed(frozenset({"a.py"})), Changed(frozenset({"b.py"}))

    assert merge([one, Key.ALL, other, Key.FAILED]) == [Changed(frozenset({"a.py", "b.py"})), Key.FAILED]
    assert merge([Key.AGAIN]) == [Key.AGAIN]
    assert merge([]) == []


def test_a_change_of_unknown_files_makes_all_that_came_with_it_unknown() -> None:
    assert merge([Changed(frozenset({"a.py"})), Changed(frozenset())]) == [Changed(frozenset())]


def test_a_file_that_changes_in_every_round_delays_the_next_one_more_and_more() -> None:
    backoff, pauses = Backoff(), []

    for number in range(MAX_ECHOES + 9):
        backoff.note_round({"log.txt", f"other-{number}.txt"})
        pauses.append(backoff.pause_s)

    assert pauses[:MAX_ECHOES] == [0.0] * MAX_ECHOES
    assert pauses[MAX_ECHOES : MAX_ECHOES + 3] == [1.0, 2.0, 4.0]
    assert pauses[-1] == MAX_PAUSE_S
    assert backoff.repeated == {"log.txt"}


def test_a_round_in_which_it_did_not_change_ends_the_delay() -> None:
    backoff = Backoff()
    for _ in range(MAX_ECHOES + 2):
        backoff.note_round({"log.txt"})

    backoff.note_round(set())

    assert backoff.pause_s == 0.0
