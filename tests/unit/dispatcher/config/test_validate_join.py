"""What cannot be said together with --join, and what must be."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.merge import load_config
from passmuster.errors import ConfigurationError

BROKER = ("--broker", "redis://127.0.0.1")


def problem(root: Path, *argv: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_config(["--join", "r", *argv], {}, root)
    return str(caught.value)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (("--record", "out"), "record (from --record) is for shards"),
        (("--resume", "last"), "resume (from --resume) is for a run of this machine"),
        (("--failed",), "failed (from --failed) goes by this machine's history"),
        (("--ship",), "ship (from --ship) is for workers without files"),
    ],
)
def test_what_does_the_same_in_another_way_is_refused(
    tmp_path: Path, argv: tuple[str, ...], name: str
) -> None:
    message = problem(tmp_path, *BROKER, *argv)

    assert name in message
    assert "cannot be combined with join (from --join): leave out one of them" in message


def test_it_needs_a_broker(tmp_path: Path) -> None:
    assert "join (from --join) needs a broker that all machines reach" in problem(tmp_path)


@pytest.mark.parametrize("argv", [("--dry-run",), ("--explain", "preload")])
def test_nothing_is_joined_that_does_not_run(tmp_path: Path, argv: tuple[str, ...]) -> None:
    assert "and join (from --join) cannot be combined" in problem(tmp_path, *BROKER, *argv)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        load_config(["--join", name, *BROKER], {}, tmp_path)


def test_what_the_file_says_for_runs_with_workers_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.passmuster]\nship = true\n")

    assert load_config(["--join", "r", *BROKER], {}, tmp_path).config.join == "r"
