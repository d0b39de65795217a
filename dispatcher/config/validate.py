"""Checks that a configuration is consistent as a whole; each single value was checked when it was read.

`validate` needs only the configuration and the file system; `validate_against_machine` also needs the amount
of memory of the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from dispatcher.config.choices import SERIAL
from dispatcher.config.file import FILE_NAME
from dispatcher.config.model import TestConfig
from dispatcher.config.settings import SETTINGS
from passmuster.model.command_template import EXAMPLE, words_problem
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.model.test_selection import local_only_argument
from passmuster.model.units import format_bytes
from passmuster.settings.origins import Origin, Origins, Source
from passmuster.settings.path_resolver import is_directory
from passmuster.settings.relations import Relations
from passmuster.settings.values import RANDOM, on_one_line


def validate(config: TestConfig, origins: Origins) -> tuple[str, ...]:
    """Check values against each other and against the file system.

    Returns:
        Warnings, a line each.

    Raises:
        ConfigurationError: a value is impossible; the message names it and its origin.
    """
    relations = Relations(SETTINGS, config, origins)
    relations.check()
    _check_memory(config, origins)
    _check_outputs(config, origins, relations)
    _check_layout(config, origins)
    _check_command(config, origins)
    _check_groups(config, origins)
    _check_pytest_arguments(config, origins)
    if config.shuffle == RANDOM and (config.shard is not None or config.join is not None):
        raise ConfigurationError(
            f"shuffle (from {origins['shuffle']}) must be the same on every machine: name a seed, "
            "such as --shuffle=1"
        )
    return (*_visible_password(config, origins), *relations.without_effect())


def validate_against_machine(config: TestConfig, *, total_bytes: int, origins: Origins) -> None:
    """Check sizes against the memory of this machine or its container.

    Raises:
        ConfigurationError: a size is larger than that.
    """
    for name, amount in (("memory-budget", config.memory_budget), ("memory-limit", config.memory_limit)):
        if amount is not None and amount.size_bytes is not None and amount.size_bytes > total_bytes:
            raise ConfigurationError(
                f"{name} must be at most the {format_bytes(total_bytes)} this machine has, "
                f"got {amount} (from {origins[name]})"
            )


def _visible_password(config: TestConfig, origins: Origins) -> tuple[str, ...]:
    origin = origins["broker"]
    if config.broker is None or origin.source is not Source.ARGUMENT:
        return ()
    # Few runs have one.
    from passmuster.wire.broker import read_address
    from passmuster.wire.broker_settings import visible_password_warning

    warning = visible_password_warning(read_address(config.broker), option=origin.name)
    return () if warning is None else (warning,)


def _check_memory(config: TestConfig, origins: Origins) -> None:
    if config.memory_budget is None or config.memory_limit is None:
        return
    budget_bytes, limit_bytes = config.memory_budget.size_bytes, config.memory_limit.size_bytes
    if budget_bytes is not None and limit_bytes is not None and limit_bytes > budget_bytes:
        raise ConfigurationError(
            f"memory-limit {config.memory_limit} (from {origins['memory-limit']}) is above "
            f"memory-budget {config.memory_budget} (from {origins['memory-budget']}): "
            "lower the limit or raise the budget"
        )


def _check_outputs(config: TestConfig, origins: Origins, relations: Relations) -> None:
    """Refuse to overwrite something else, or to write two reports to one file."""
    taken: dict[Path, str] = {}
    for row in SETTINGS:
        path = row.value_in(config) if row.type.is_output else None
        # An empty path stands for the run's own directory.
        if not isinstance(path, Path) or path == Path():
            continue
        name, origin, shown = row.name, origins[row.name], on_one_line(str(path))
        if row.type.is_directory:
            is_used = all(map(relations.is_on, row.only_with))
            if is_used and os.path.lexists(path) and not is_directory(path):
                raise ConfigurationError(f"{name} must be a directory, got {shown} (from {origin})")
            continue
        if is_directory(path):
            raise ConfigurationError(f"{name} must be a file, got the directory {shown} (from {origin})")
        if path in taken:
            raise ConfigurationError(
                f"{name} (from {origin}) and {taken[path]} would both write {shown}: name two files"
            )
        taken[path] = name


def _check_command(config: TestConfig, origins: Origins) -> None:
    origin = origins["command"]
    if origin.source is not Source.DEFAULT and (problem := words_problem(config.command)):
        raise ConfigurationError(f"wrong value for command: {problem} (from {origin})")
    if config.runner is RunnerKind.COMMAND and not config.command:
        raise _no_command(origins["runner"], config)
    for override in config.overrides:
        has_command = override.command or config.command
        if override.runner is RunnerKind.COMMAND and not has_command:
            raise _no_command(origins["overrides"], config)


def _no_command(origin: Origin, config: TestConfig) -> ConfigurationError:
    return ConfigurationError(
        f"runner command (from {origin}) needs a command: add command = {EXAMPLE} "
        f"to [tool.passmuster] in {config.root / FILE_NAME}"
    )


def _check_groups(config: TestConfig, origins: Origins) -> None:
    known = {group.name for group in config.groups}
    for override in config.overrides:
        name = override.group
        if name and not name.startswith(SERIAL) and name not in known:
            shown = on_one_line(name)
            raise ConfigurationError(
                f"unknown group {shown!r} (from {origins['overrides']}): "
                f"add [tool.passmuster.groups.{shown}] with max = N, the number of its files that may run"
                " at once"
            )


def _check_layout(config: TestConfig, origins: Origins) -> None:
    layout = config.layout
    for name, paths in (
        ("workdir", None if layout.workdir is None else (layout.workdir,)),
        ("unit-roots", layout.unit_roots),
        ("integration-roots", layout.integration_roots),
        ("extra-roots", layout.extra_roots),
        ("exclude", layout.exclude),
    ):
        for path in paths or ():
            if path.startswith("/") or ".." in path.split("/"):
                _reject(name, "a path inside the root, relative and without '..'", path, origins)
    for pattern in layout.patterns or ():
        if "/" in pattern:
            _reject("patterns", "a pattern for the file's name alone, such as test_*.py", pattern, origins)
    if layout.patterns == ():
        _reject("patterns", "at least one pattern, such as test_*.py", "", origins)
    if layout.workdir is not None and not is_directory(config.root / layout.workdir):
        _reject("workdir", f"a directory in {config.root}", layout.workdir, origins)


def _reject(name: str, allowed: str, value: str, origins: Origins) -> None:
    raise ConfigurationError(
        f"wrong value for {name}: expected {allowed}, got {value!r} (from {origins[name]})"
    )


RUN_ARGUMENTS = frozenset(
    (
        *("-x", "--exitfirst", "--maxfail", "--junitxml", "--junit-xml", "-n", "--numprocesses"),
        *("-k", "-m", "--deselect", "--lf", "--last-failed"),
    )
)
"""Options of pytest that this program has too, for the whole run."""


def _check_pytest_arguments(config: TestConfig, origins: Origins) -> None:
    """Refuse arguments for each file's pytest that concern the whole run, or must not be sent to workers."""
    words, origin = config.pytest_arguments, origins["pytest-args"]
    if words and not words[0].startswith("-"):
        raise ConfigurationError(
            f"{words[0]!r} (from {origin}) is no option of pytest: name files and tests before --"
        )
    for word in words:
        # `-n4` as well as `-n`.
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if name in RUN_ARGUMENTS:
            raise ConfigurationError(
                f"{name} (from {origin}) concerns the whole run: give it to this program, before --"
            )
    is_sent = config.broker is not None or config.cluster is not None
    everything = [words, *(override.pytest_arguments or () for override in config.overrides)]
    for some in everything if is_sent else ():
        if argument := local_only_argument(some):
            raise ConfigurationError(
                f"the pytest argument {argument!r} names code or a place, and is not sent to workers: "
                "set it in the project's own pytest settings"
            )
