"""The environment and the configuration file are read strictly, and mistakes are named with their origin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.config.file import read_environment, read_file
from passmuster.model.errors import ConfigurationError


def write(root: Path, body: str) -> Path:
    path = root / "pyproject.toml"
    path.write_text(f"[tool.passmuster]\n{body}\n", encoding="utf-8")
    return path


def from_file(root: Path, body: str) -> dict[str, tuple[str, ...]]:
    write(root, body)
    return {given.setting.name: given.texts for given in read_file(root)}


def problem(root: Path, body: str) -> str:
    write(root, body)
    with pytest.raises(ConfigurationError) as caught:
        read_file(root)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) in message
    return message


def test_a_project_without_a_file_configures_nothing(tmp_path: Path) -> None:
    assert read_file(tmp_path) == ()


def test_a_file_that_does_not_mention_us_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"this is [ broken \xff")
    assert read_file(tmp_path) == ()


def test_the_parser_is_loaded_only_for_a_file_that_mentions_us(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    code = (
        "import sys; from pathlib import Path; from dispatcher.config.file import read_file;"
        f"read_file(Path({str(tmp_path)!r})); print('tomllib' in sys.modules, 'argparse' in sys.modules)"
    )
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("body", "name", "texts"),
    [
        ("timeout = 90", "timeout", ("90",)),
        ("timeout = 1.5", "timeout", ("1.5",)),
        ("timeout = '5m'", "timeout", ("5m",)),
        ("memory_budget = '4GiB'", "memory-budget", ("4GiB",)),
        ("memory-budget = 1000", "memory-budget", ("1000",)),
        ("integration = true", "integration", ("true",)),
        ("history = false", "history", ("false",)),
        ("unit-roots = ['a', 'b,c']", "unit-roots", ("a", "b,c")),
        ("exclude = 'one'", "exclude", ("one",)),
        ("exclude = []", "exclude", ()),
        ("jobs = 3", "jobs", ("3",)),
        ("jobs = 'none'", "jobs", ("none",)),
    ],
)
def test_a_key_is_read_in_the_types_that_make_sense(
    tmp_path: Path, body: str, name: str, texts: tuple[str, ...]
) -> None:
    assert from_file(tmp_path, body) == {name: texts}


def test_the_table_may_be_written_in_any_way_toml_allows(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\npassmuster = {timeout = 5}\n")
    assert [given.texts for given in read_file(tmp_path)] == [("5",)]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("jobs = true", ("jobs", "whole number from 1 to 4096", "true or false: true")),
        ("jobs = 1.5", ("jobs", "a number: 1.5")),
        ("integration = 1", ("integration", "a whole number: 1")),
        ("integration = 'yes'", ("integration", "a text: 'yes'")),
        ("timeout = true", ("timeout", "a time such as 90s")),
        ("timeout = ['5s']", ("timeout", "a list")),
        ("timeout = 2024-01-01", ("timeout", "a date or time")),
        ("exclude = ['a', 1]", ("exclude", "a whole number: 1")),
        ("[tool.passmuster.runner]", ("runner", "a table")),
        ("timout = 5", ("unknown key 'timout'", "did you mean timeout?")),
        ("max_workers = 5", ("unknown key 'max_workers'", "did you mean jobs?")),
        ("zzzzzz = 5", ("unknown key 'zzzzzz'", "see --help")),
        ("root = '.'", ("root cannot be set by the configuration file", "--root")),
        ("paths = ['a']", ("paths cannot be set", "as arguments")),
        ("run-timeout = 5\nrun_timeout = 6", ("run-timeout is given twice",)),
        ("timeout = 5\ntimeout = 6", ("not valid TOML", "line 3")),
        ("timeout = ", ("not valid TOML", "line 2")),
        ("x = " + "[" * 20_000, ("not valid TOML",)),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(
    tmp_path: Path, body: str, parts: tuple[str, ...]
) -> None:
    message = problem(tmp_path, body)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("text", ["tool = 3 # passmuster", "[tool]\npassmuster = 3"])
def test_our_table_must_be_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"must be a table, got a whole number: 3"):
        read_file(tmp_path)


def test_a_file_that_is_not_utf_8_is_named_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"[tool.passmuster]\n# caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"not UTF-8 \(line 2\)"):
        read_file(tmp_path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_file(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "timeout = 5").chmod(0)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        read_file(tmp_path)


def test_our_own_variable_is_stronger_than_the_scripts() -> None:
    (given,) = read_environment({"TEST_TIMEOUT": "5", "PASSMUSTER_TIMEOUT": "6"})
    assert (given.texts, given.origin.name) == (("6",), "PASSMUSTER_TIMEOUT")


def test_an_empty_variable_counts_as_unset() -> None:
    (given,) = read_environment({"TEST_TIMEOUT": "5", "PASSMUSTER_TIMEOUT": "", "PASSMUSTER_JOBS": ""})
    assert (given.texts, given.origin.name) == (("5",), "TEST_TIMEOUT")


def test_a_list_in_a_variable_is_split_at_commas() -> None:
    (given,) = read_environment({"PASSMUSTER_EXCLUDE": "a,b"})
    assert given.texts == ("a", "b")


def test_variables_of_others_are_ignored() -> None:
    assert read_environment({"PASSMUSTER_SLOT": "1", "PATH": "/bin", "TIMEOUT": "x"}) == ()
