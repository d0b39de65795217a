"""The commands of a project's configuration, as each machine reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from passmuster.model.errors import ConfigurationError
from passmuster.model.project_commands import ProjectCommands, make_commands, read_commands


def commands_of(root: Path, text: str) -> ProjectCommands:
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return read_commands(root)


def words_for(commands: ProjectCommands, path: str) -> tuple[str, ...] | None:
    found = commands.find(path)
    return None if found is None else found.words


def test_the_last_override_that_names_a_file_counts_and_the_default_holds_for_the_rest(
    tmp_path: Path,
) -> None:
    commands = commands_of(
        tmp_path,
        """
        [tool.passmuster]
        command = ["all", "{file}"]
        [[tool.passmuster.overrides]]
        files = ["./db/"]
        command = ["first", "{file}"]
        [[tool.passmuster.overrides]]
        files = ["db/*_slow.py"]
        retries = 1
        [[tool.passmuster.overrides]]
        files = ["other/*.py", "db/test_?.py"]
        command = ["last", "{file}"]
        """,
    )

    assert words_for(commands, "test_a.py") == ("all", "{file}")
    assert words_for(commands, "db/deep/a_slow.py") == ("first", "{file}")
    assert words_for(commands, "db/test_a.py") == ("last", "{file}")
    assert [one.origin.rpartition(", ")[2] for one in commands.all()][1:] == ["number 1", "number 3"]


def test_a_dispatcher_and_a_worker_read_the_same_commands(tmp_path: Path) -> None:
    read = commands_of(
        tmp_path,
        """
        [tool.passmuster]
        command = ["a", "{file}"]
        [[tool.passmuster.overrides]]
        files = ["x/**"]
        command = ["b", "{module}"]
        """,
    )

    assert read == make_commands(tmp_path, ("a", "{file}"), [(("x/**",), ("b", "{module}"))])


@pytest.mark.parametrize("text", ["", "[tool.other]\nx = 1\n", "[tool.passmuster]\njobs = 2\n", "tool = 1\n"])
def test_a_project_without_commands_has_none(tmp_path: Path, text: str) -> None:
    assert commands_of(tmp_path, text) == ProjectCommands()


def test_a_project_without_a_configuration_file_has_none(tmp_path: Path) -> None:
    assert read_commands(tmp_path) == ProjectCommands()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.passmuster]\ncommand = 'make'\n", "expected a list of words"),
        ("[tool.passmuster]\ncommand = ['make', 1]\n", "expected a list of words"),
        ("[tool.passmuster]\ncommand = []\n", "expected a list of words"),
        ("[tool.passmuster]\ncommand = ['make']\n", "expected {file} or {module}"),
        ("[tool.passmuster]\ncommand = ['{pyhton}', '{file}']\n", "got '{pyhton}'"),
        ("[[tool.passmuster.overrides]]\nfiles = ['a']\ncommand = ['x']\n", "number 1"),
        ("[tool.passmuster\n", "is not valid TOML"),
    ],
)
def test_an_unusable_command_is_reported_in_one_line_with_its_file(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        commands_of(tmp_path, text)

    assert said in str(caught.value)
    assert str(tmp_path / "pyproject.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_from_the_python_api_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"got '\{nonsense\}'"):
        make_commands(tmp_path, ("{nonsense}", "{file}"), [])
    with pytest.raises(ConfigurationError, match="expected a program"):
        make_commands(tmp_path, (), [(("a.py",), ())])
