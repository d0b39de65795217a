"""Options that conflict with --join, and options that it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.load import load_config
from passmuster.model.errors import ConfigurationError

BROKER = ("--broker", "redis://127.0.0.1")


def problem(root: Path, *argv: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_config(["--join", "r", *argv], {}, root)
    return str(caught.value)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("--record", "out"), "--join cannot be combined with --record: every machine that joins has all"),
        (("--resume", "last"), "--join cannot be combined with --resume: a machine that joins again"),
        (("--failed",), "--join cannot be combined with --failed: each machine has its own history"),
        (("--ship",), "--ship cannot be combined with --join: machines that join a run have the files"),
    ],
)
def test_an_option_with_the_same_purpose_is_refused(tmp_path: Path, argv: tuple[str, ...], name: str) -> None:
    message = problem(tmp_path, *BROKER, *argv)

    assert name in message
    assert message.endswith("; leave out one of them")


def test_it_needs_a_broker(tmp_path: Path) -> None:
    assert "--join needs a broker that all machines reach: give --broker URL" in problem(tmp_path)


@pytest.mark.parametrize("argv", [("--dry-run",), ("--explain", "preload")])
def test_nothing_is_joined_that_does_not_run(tmp_path: Path, argv: tuple[str, ...]) -> None:
    assert f"--join cannot be combined with {argv[0]}: it runs nothing" in problem(tmp_path, *BROKER, *argv)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        load_config(["--join", name, *BROKER], {}, tmp_path)


def test_settings_of_the_file_for_runs_with_workers_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.passmuster]\nship = true\n")

    assert load_config(["--join", "r", *BROKER], {}, tmp_path).config.join == "r"
