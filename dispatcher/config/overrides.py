"""Finds the overrides that apply to a file. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from dispatcher.config.choices import SERIAL, Override
from dispatcher.config.model import TestConfig
from dispatcher.model.plan import TestFile
from passmuster.model.path_patterns import compile_patterns
from passmuster.model.status import RunnerKind

if TYPE_CHECKING:
    from passmuster.model.project_commands import ProjectCommands

_NOTHING = Override(files=())


def group_limits(config: TestConfig) -> dict[str, int]:
    """Return how many files of each group may run at once; for the group `serial`, one."""
    limits = {group.name: group.max_files for group in config.groups}
    serial = {override.group for override in config.overrides if (override.group or "").startswith(SERIAL)}
    return limits | {name: 1 for name in serial if name}


def project_commands(config: TestConfig) -> ProjectCommands | None:
    """Return the commands of a configuration; None: it has none."""
    if not config.command and all(override.command is None for override in config.overrides):
        return None
    from passmuster.model.project_commands import make_commands  # Few projects have one.

    return make_commands(
        config.root, config.command, [(override.files, override.command) for override in config.overrides]
    )


def command_lines(files: Sequence[TestFile], config: TestConfig) -> tuple[str, ...]:
    """Return, for each command, a line with the number of these files that it runs."""
    commands = project_commands(config)
    if commands is None:
        return ()
    rules = Overrides(config.overrides)
    counts = Counter(
        commands.find(file.path)
        for file in files
        if (rules.rule_for(file.path).runner or config.usual_runner) is RunnerKind.COMMAND
    )
    return tuple(
        f"{count} of {len(files)} file(s) run by the command {' '.join(command.words)} "
        f"(from {command.origin})"
        for command, count in counts.items()
        if command is not None
    )


class Overrides:
    """Overrides by path.

    Args:
        overrides: as configured; for each value, the last matching override that sets it counts.
    """

    def __init__(self, overrides: Sequence[Override]) -> None:
        self._overrides = [(override, compile_patterns(override.files)) for override in overrides]

    def rule_for(self, path: str) -> Override:
        """Return the settings of a file: one override without patterns that combines all that match."""
        rule = _NOTHING
        for override, expression in self._overrides:
            if expression.match(path):
                said = {name: value for name in _FIELDS if (value := getattr(override, name)) is not None}
                rule = structs.replace(rule, **said)
        return rule

    def unmatched(self, paths: Iterable[str]) -> tuple[Override, ...]:
        """Return the overrides that match none of these files."""
        left = list(self._overrides)
        for path in paths:
            if not left:
                break
            left = [(override, expression) for override, expression in left if not expression.match(path)]
        return tuple(override for override, _ in left)


_FIELDS = tuple(name for name in Override.__struct_fields__ if name != "files")
