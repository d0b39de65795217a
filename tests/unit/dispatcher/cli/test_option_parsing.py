"""Words with a value that only a subcommand knows are read strictly, and taken out of the others."""

from __future__ import annotations

import pytest

from dispatcher.cli.option_parsing import renamed, take_value
from passmuster.model.errors import ConfigurationError


@pytest.mark.parametrize(
    ("argv", "value", "left"),
    [
        (("a", "--run", "x", "b"), "x", ("a", "b")),
        (("--run=x", "--run=y"), "y", ()),
        (("--runs", "x"), None, ("--runs", "x")),
        (("--run", "x", "--", "--run", "y"), "x", ("--", "--run", "y")),
    ],
)
def test_a_value_is_taken(argv: tuple[str, ...], value: str | None, left: tuple[str, ...]) -> None:
    assert take_value(argv, "--run", allowed="a run") == (value, left)


@pytest.mark.parametrize("argv", [("--run",), ("--run", "--json")])
def test_a_value_that_is_missing_is_told(argv: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="--run needs a value: expected a run"):
        take_value(argv, "--run", allowed="a run")


def test_a_word_may_be_said_in_another_way() -> None:
    words = ("--memory", "1GiB", "--memory=2GiB", "--memory-budget=3GiB", "--", "--memory")

    assert renamed(words, "--memory", "--memory-budget") == (
        "--memory-budget",
        "1GiB",
        "--memory-budget=2GiB",
        "--memory-budget=3GiB",
        "--",
        "--memory",
    )
