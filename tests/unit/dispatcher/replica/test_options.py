"""A command in CI is handed to a run here without what is about other machines, and what is unknown."""

from __future__ import annotations

import pytest

from dispatcher.replica.expressions import Unknowns
from dispatcher.replica.options import OF_MANY_MACHINES, forward_options


def kept(*words: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Hand words on, in which `?` is unknown."""
    unknowns = Unknowns()
    found = forward_options([word.replace("?", unknowns.mark("?")) for word in words], unknowns)
    return found.arguments, found.elsewhere, found.unresolved


@pytest.mark.parametrize(
    "words",
    [
        ("--integration", "-q", "tests/a.py", "--no-history"),
        ("--jobs", "4", "-j4", "-j=4", "-qj", "4", "--limit=3"),
        ("--no-such-option", "value"),
        ("tests/a.py", "--", "--shard"),
        ("--jobs",),
        (),
    ],
)
def test_options_and_paths_are_handed_on_as_they_are(words: tuple[str, ...]) -> None:
    assert kept(*words) == (words, (), ())


@pytest.mark.parametrize(
    ("words", "elsewhere"),
    [
        (("--shard", "1/4"), "--shard 1/4"),
        (("--shard=auto",), "--shard=auto"),
        (("--shard", "?/4"), "--shard ?/4"),
        (("--record", "records"), "--record records"),
        (("--history-from", "history.sqlite3"), "--history-from history.sqlite3"),
        (("--broker", "redis://x"), "--broker redis://x"),
        (("--join", "run"), "--join run"),
        (("--cluster", "2"), "--cluster 2"),
        (("--ship",), "--ship"),
        (("--no-ship",), "--no-ship"),
        (("--resume", "x"), "--resume x"),
    ],
)
def test_what_is_about_other_machines_is_left_out_with_its_value(
    words: tuple[str, ...], elsewhere: str
) -> None:
    assert kept("-q", *words, "tests/a.py") == (("-q", "tests/a.py"), (elsewhere,), ())


@pytest.mark.parametrize("words", [("--jobs", "?"), ("--jobs=?",), ("-j?",), ("-qj", "?"), ("tests/?.py",)])
def test_what_is_unknown_is_left_out_with_its_option(words: tuple[str, ...]) -> None:
    assert kept("--integration", *words, "tests/a.py") == (
        ("--integration", "tests/a.py"),
        (),
        (" ".join(words),),
    )


def test_an_option_whose_value_may_be_left_out_does_not_take_the_next_word() -> None:
    assert kept("--shuffle", "tests/?.py") == (("--shuffle",), (), ("tests/?.py",))


def test_the_variables_of_such_options_are_known() -> None:
    assert {"PASSMUSTER_SHARD", "PASSMUSTER_BROKER_URL", "PASSMUSTER_RECORD"} <= OF_MANY_MACHINES
    assert "PASSMUSTER_JOBS" not in OF_MANY_MACHINES
