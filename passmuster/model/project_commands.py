"""The commands for test files in a project's own configuration.

Each machine reads them from the `pyproject.toml` of its own root. A task states only that a file runs by its
command, so no message can choose what is executed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from passmuster.model.command_template import EXAMPLE, CommandTemplate, check_word, words_problem
from passmuster.model.errors import ConfigurationError
from passmuster.model.path_patterns import compile_patterns, normal_pattern

FILE_NAME = "pyproject.toml"


class PatternCommand(Struct, frozen=True, kw_only=True):
    """A command for the files that match patterns."""

    files: tuple[str, ...]
    command: CommandTemplate


class ProjectCommands(Struct, frozen=True, kw_only=True):
    """All commands of a project."""

    default: CommandTemplate | None = None  # for files that no pattern names; None: they have none
    by_pattern: tuple[PatternCommand, ...] = ()  # for some files only; the last that matches a file counts

    def find(self, path: str) -> CommandTemplate | None:
        """Return the command for a file, by its path relative to the root; None: there is none."""
        for one in reversed(self.by_pattern):
            if compile_patterns(one.files).match(path):
                return one.command
        return self.default

    def all(self) -> tuple[CommandTemplate, ...]:
        """Return every command."""
        default = () if self.default is None else (self.default,)
        return (*default, *(one.command for one in self.by_pattern))


def make_commands(
    root: Path, words: Sequence[str], overrides: Sequence[tuple[Sequence[str], Sequence[str] | None]]
) -> ProjectCommands:
    """Return the commands of a project.

    Args:
        words: the command for all files; empty: there is none.
        overrides: the patterns and the words of each override in the file's order; None: it has none.

    Raises:
        ConfigurationError: a command cannot be used.
    """
    file = root / FILE_NAME
    return ProjectCommands(
        default=_template(words, f"[tool.passmuster] command in {file}") if words else None,
        by_pattern=tuple(
            PatternCommand(
                files=tuple(files),
                command=_template(own, f"[tool.passmuster] overrides in {file}, number {number}"),
            )
            for number, (files, own) in enumerate(overrides, start=1)
            if own is not None
        ),
    )


def _template(words: Sequence[str], origin: str) -> CommandTemplate:
    try:
        checked = tuple(check_word(word) for word in words)
    except ValueError as error:
        raise ConfigurationError(f"wrong value for command: {error} (from {origin})") from error
    if problem := words_problem(checked):
        raise ConfigurationError(f"wrong value for command: {problem} (from {origin})")
    return CommandTemplate(words=checked, origin=origin)


def read_commands(root: Path) -> ProjectCommands:
    """Return the commands in the configuration file of `root`.

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
        root, _words(table, file) or (), [(_files(one), _words(one, file)) for one in overrides]
    )


def _words(table: dict[str, object], file: Path) -> list[str] | None:
    value = table.get("command")
    if value is None:
        return None
    words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
    if not words or words != value:
        raise ConfigurationError(
            f"wrong type for command: expected a list of words, such as {EXAMPLE} (from {file})"
        )
    return words


def _files(table: dict[str, object]) -> tuple[str, ...]:
    value = table.get("files")
    patterns = value if isinstance(value, list) else [value]
    return tuple(normal_pattern(pattern) for pattern in patterns if isinstance(pattern, str))
