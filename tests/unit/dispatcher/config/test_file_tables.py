"""Overrides and groups are read strictly, and mistakes are named with their origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.choices import FileGroup, Override
from dispatcher.config.load import load_config
from dispatcher.config.model import TestConfig
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.units import parse_amount

TABLE = "[[tool.passmuster.overrides]]\n"
GROUP = "[tool.passmuster.groups.db]\nmax = 2\n"


def config_of(root: Path, text: str) -> TestConfig:
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return load_config((), {}, root).config


def test_an_override_can_set_everything_that_differs_between_files(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        GROUP
        + TABLE
        + """files = ["tests/db/**", "./tests/x/"]
isolation = "spawn"
runner = "script"
timeout = "2m"
memory = "50%"
retries = 2
group = "db"
""",
    )

    assert config.groups == (FileGroup(name="db", max_files=2),)
    assert config.overrides == (
        Override(
            files=("tests/db/**", "tests/x"),
            isolation=Isolation.SPAWN,
            runner=RunnerKind.SCRIPT,
            timeout_s=120.0,
            memory=parse_amount("50%"),
            retries=2,
            group="db",
        ),
    )


def test_overrides_keep_their_order_and_are_empty_by_default(tmp_path: Path) -> None:
    config = config_of(tmp_path, f"{TABLE}files = 'a.py'\n{TABLE}files = ['b.py']\ntimeout = 5\n")

    assert config.overrides == (Override(files=("a.py",)), Override(files=("b.py",), timeout_s=5.0))


def test_serial_is_a_group_of_its_own_and_can_be_undone(tmp_path: Path) -> None:
    config = config_of(
        tmp_path, f"{TABLE}files = ['a', 'b']\nserial = true\n{TABLE}files = ['a']\nserial = false\n"
    )

    assert [override.group for override in config.overrides] == ["serial: a, b", ""]


def test_overrides_and_groups_are_shown_with_their_origin(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f"{GROUP}{TABLE}files = ['a*']\ntimeout = 5\ngroup = 'db'\n", encoding="utf-8")

    loaded = load_config((), {}, tmp_path)

    shown = loaded.texts
    assert shown["overrides"] == "a*: timeout=5s group=db"
    assert shown["groups"] == "db (max 2)"
    assert str(loaded.origins["overrides"]) == f"[tool.passmuster] overrides in {path}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.passmuster]\noverrides = 3", "wrong type for overrides: expected a list of tables"),
        ("[tool.passmuster]\noverrides = [3]", "wrong type for override: expected a table"),
        (TABLE + "timeout = 5", "an override needs files"),
        (TABLE + "files = []", "an override needs files"),
        (TABLE + "files = ['/etc/x']", "relative to the root"),
        (TABLE + "files = ['../x']", "relative to the root"),
        (TABLE + "files = ['a']\ntimeout = 'soon'", "wrong value for timeout: expected"),
        (TABLE + "files = ['a']\nisolation = 'jail'", "expected one of auto, fork, spawn"),
        (TABLE + "files = ['a']\nretries = -1", "a whole number from 0 to 100"),
        (TABLE + "files = ['a']\nretries = true", "wrong type for retries"),
        (TABLE + "files = ['a']\nmemory = 'much'", "wrong value for memory"),
        (TABLE + "files = ['a']\ntimeuot = 5", "did you mean timeout?"),
        (TABLE + "files = ['a']\nzzz = 5", "known are files, pytest-args, runner"),
        (TABLE + "files = ['a']\ngroup = 'db'", "unknown group 'db'"),
        (GROUP + TABLE + "files = ['a']\ngroup = 'db'\nserial = true", "cannot be combined"),
        ("[tool.passmuster]\ngroups = 3", "wrong type for groups: expected a table of tables"),
        ("[tool.passmuster.groups]\ndb = 3", "wrong type for group: expected a table"),
        ("[tool.passmuster.groups.db]\n", "a group needs max, a whole number from 1"),
        ("[tool.passmuster.groups.db]\nmax = 0", "expected a whole number from 1"),
        ("[tool.passmuster.groups.'serial: x']\nmax = 1", "cannot be called 'serial: x'"),
    ],
)
def test_a_mistake_is_named_on_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config_of(tmp_path, text)

    message = str(caught.value)
    assert said in message
    assert str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.parametrize("argv", [["--overrides", "x"], ["--groups=x"]])
def test_neither_can_be_given_as_an_argument(tmp_path: Path, argv: list[str]) -> None:
    loaded = load_config(argv, {"PASSMUSTER_OVERRIDES": "x"}, tmp_path)

    assert loaded.config.overrides == ()
    assert loaded.warnings == (f"Unknown argument: {argv[0]}",)
