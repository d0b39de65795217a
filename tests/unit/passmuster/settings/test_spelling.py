"""A misspelt option is distinguished from an option of another program."""

from __future__ import annotations

import pytest

from passmuster.settings.spelling import nearest

OPTIONS = ("--coverage", "--list", "--timeout", "--max-fail", "--integration", "--jobs", "--join", "-x")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--coverge", "--coverage"),
        ("--lst", "--list"),
        ("--lists", "--list"),
        ("--lsit", "--list"),
        ("--timout", "--timeout"),
        ("--tineout", "--timeout"),
        ("--intergratoin", "--integration"),
        ("-timeout", "--timeout"),
        ("--Max_Fail", "--max-fail"),
        ("--maxfail", "--max-fail"),
        ("--job", "--jobs"),
    ],
)
def test_a_misspelling_finds_the_known_name(typed: str, meant: str) -> None:
    assert nearest(typed, OPTIONS) == meant


@pytest.mark.parametrize(
    "typed",
    ["--lint", "--last", "--average", "--time", "--integ", "--cov", "--max", "--xx", "-z", "--", "", "--all"],
)
def test_a_word_that_is_only_similar_to_a_name_finds_nothing(typed: str) -> None:
    assert nearest(typed, OPTIONS) is None


def test_of_several_names_the_nearest_is_found() -> None:
    assert nearest("--coverag-dir", ("--coverage-dirs", "--coverage-dir")) == "--coverage-dir"
