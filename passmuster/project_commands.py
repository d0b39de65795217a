"""The commands that a project's own configuration has for its test files.

Each machine reads them from the `pyproject.toml` of its own root. A task says only that a file runs by its
command, so that nothing on the wire can choose what is executed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from passmuster.command_template import EXAMPLE, CommandTemplate, check_word, words_problem
from passmuster.errors import ConfigurationError
from passmuster.path_patterns import compile_patterns, normal_pattern
from passmuster.records import dataclass

FILE_NAME = "pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternCommand:
    """A command for the files that match patterns.

    Args:
        files: patterns as an override has them.
        command: how these files run.
    """

    files: tuple[str, ...]
    command: CommandTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCommands:
    """All commands of a project.

    Args:
        default: for files that no pattern names; None: they have none.
        by_pattern: for some files only; the last that matches a file counts.
    """

    default: CommandTemplate | None = None
    by_pattern: tuple[PatternCommand, ...] = ()

    def find(self, path: str) -> CommandTemplate | None:
        """Return the command for a file; None where there is none.

        Args:
            path: relative to the root, with forward slashes.
        """
        for one in reversed(self.by_pattern):
            if compile_patterns(one.files).match(path):
                return one.command
        return self.default

    def all(self) -> tuple[CommandTemplate, ...]:
        """Return every command."""
        default = () if self.default is None else (self.default,)
        return (*default, *(one.command for one in self.by_pattern))


def make_commands(
    root: Path, words: Sequence[str], overrides: Sequence[tuple[Sequence[str], Sequence[str]]]
) -> ProjectCommands:
    """Return the commands of a project whose words were checked.

    Args:
        root: the project's root, whose configuration file the words are from.
        words: the command for all files; empty: there is none.
        overrides: the patterns and the words of each override in the file's order; no words: it has none.
    """
    file = root / FILE_NAME
    default = None
    if words:
        default = CommandTemplate(words=tuple(words), origin=f"[tool.passmuster] command in {file}")
    return ProjectCommands(
        default=default,
        by_pattern=tuple(
            PatternCommand(
                files=tuple(files),
                command=CommandTemplate(
                    words=tuple(own), origin=f"[tool.passmuster] overrides in {file}, number {number}"
                ),
            )
            for number, (files, own) in enumerate(overrides, start=1)
            if own
        ),
    )


def read_commands(root: Path) -> ProjectCommands:
    """Return the commands that the configuration file in `root` has.

    Raises:
        ConfigurationError: the file cannot be read, or a command in it cannot be used.
    """
    file = root / FILE_NAME
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ProjectCommands()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # Not UTF-8, not TOML, or nested thousands deep.
        raise ConfigurationError(f"{file} is not valid TOML: {' '.join(str(error).split())}") from error
    tool = document.get("tool")
    table = tool.get("passmuster") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        return ProjectCommands()
    found = table.get("overrides", [])
    overrides = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return make_commands(
        root,
        _words(table, f"[tool.passmuster] command in {file}"),
        [
            (_files(one), _words(one, f"[tool.passmuster] overrides in {file}, number {number}"))
            for number, one in enumerate(overrides, start=1)
        ],
    )


def _words(table: dict[str, object], origin: str) -> tuple[str, ...]:
    if "command" not in table:
        return ()
    value = table["command"]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ConfigurationError(
            f"wrong type for command: expected a list of words, such as {EXAMPLE} (from {origin})"
        )
    try:
        words = tuple(check_word(word) for word in value)
    except ValueError as error:
        raise ConfigurationError(f"wrong value for command: {error} (from {origin})") from error
    if problem := words_problem(words):
        raise ConfigurationError(f"wrong value for command: {problem} (from {origin})")
    return words


def _files(table: dict[str, object]) -> tuple[str, ...]:
    value = table.get("files")
    patterns = value if isinstance(value, list) else [value]
    return tuple(normal_pattern(pattern) for pattern in patterns if isinstance(pattern, str))
