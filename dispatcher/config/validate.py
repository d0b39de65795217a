"""Checks that a configuration makes sense as a whole; each single value was checked when it was read.

`validate` needs nothing but the configuration and the file system; `validate_against_machine` also
needs to know how much memory there is, which its caller finds out.
"""

from __future__ import annotations

import os
from pathlib import Path

from dispatcher.config.choices import SERIAL, Mode
from dispatcher.config.locations import is_directory
from dispatcher.config.model import TestConfig
from dispatcher.config.origins import Origin, Origins, Source
from dispatcher.config.sources import FILE_NAME
from dispatcher.config.values import on_one_line
from passmuster.command_template import EXAMPLE, words_problem
from passmuster.errors import ConfigurationError
from passmuster.status import Isolation, RunnerKind
from passmuster.units import format_bytes

MOST_NAME_CHARS = 200
"""Characters of a name of a run: enough for a repository, a workflow and a number."""

_ONLY_WITH_COVERAGE = ("coverage-source", "coverage-xml", "coverage-fail-under", "coverage-key-files")


def validate(config: TestConfig, origins: Origins) -> None:
    """Check values against each other and against the file system.

    Raises:
        ConfigurationError: some cannot be; the message names it and its origin.
    """
    _check_memory(config, origins)
    _check_shard(config, origins)
    _check_reports(config, origins)
    _check_layout(config, origins)
    _check_isolation(config, origins)
    _check_command(config, origins)
    _check_groups(config, origins)
    _check_queue(config, origins)
    _check_join(config, origins)
    if config.explain is not None and config.mode is not Mode.RUN:
        raise ConfigurationError(f"--explain and {origins['mode']} cannot be combined: choose one")
    if config.failed_only and not config.history:
        raise _needs_history("failed", origins)
    if config.resume is not None and not config.history:
        raise _needs_history("resume", origins)


def _needs_history(name: str, origins: Origins) -> ConfigurationError:
    return ConfigurationError(
        f"--{name} (from {origins[name]}) needs the history, which is off "
        f"(from {origins['history']}): leave out one of them"
    )


def validate_against_machine(config: TestConfig, *, total_bytes: int, origins: Origins) -> None:
    """Check sizes against the memory this machine, or its container, has.

    Args:
        config: what to check.
        total_bytes: the memory there is, in bytes.
        origins: where the values came from.

    Raises:
        ConfigurationError: a size is larger than that.
    """
    for name, amount in (("memory-budget", config.memory_budget), ("memory-limit", config.memory_limit)):
        if amount is not None and amount.size_bytes is not None and amount.size_bytes > total_bytes:
            raise ConfigurationError(
                f"{name} must be at most the {format_bytes(total_bytes)} this machine has, "
                f"got {amount} (from {origins[name]})"
            )


def warnings_of(config: TestConfig, origins: Origins) -> tuple[str, ...]:
    """Return what stops nothing, but is not as it should be, a line each."""
    return (
        *_visible_password(config, origins),
        *_useless_arguments(config, origins),
        *_blind_comparison(config, origins),
        *_useless_history(config, origins),
    )


def _visible_password(config: TestConfig, origins: Origins) -> tuple[str, ...]:
    origin = origins["broker"]
    if config.broker is None or origin.source is not Source.ARGUMENT:
        return ()
    from passmuster.broker import read_address, visible_password_warning  # Few runs have one.

    warning = visible_password_warning(read_address(config.broker), option=origin.name)
    return () if warning is None else (warning,)


def _useless_arguments(config: TestConfig, origins: Origins) -> tuple[str, ...]:
    """Return a warning for each argument or variable that has no effect because coverage is off.

    What stands in the configuration file is meant for the runs with coverage, so it is no reason to warn.
    """
    if config.enable_coverage:
        return ()
    return tuple(
        f"{origins[name]} has no effect without --coverage"
        for name in _ONLY_WITH_COVERAGE
        if origins[name].is_of_this_call
    )


def _blind_comparison(config: TestConfig, origins: Origins) -> tuple[str, ...]:
    is_given = config.shard is not None and config.history_from is not None
    if not config.fail_on_regression or config.history or is_given:
        return ()
    return (f"{origins['fail-on-regression']} has no effect without a history",)


def _useless_history(config: TestConfig, origins: Origins) -> tuple[str, ...]:
    """Return a warning where a history is given and nothing is split; one from the file waits for its run."""
    origin = origins["history-from"]
    if config.history_from is None or config.shard is not None or not origin.is_of_this_call:
        return ()
    return (f"{origin} has no effect without --shard",)


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


def _check_reports(config: TestConfig, origins: Origins) -> None:
    taken: dict[Path, str] = {}
    for name, path in (
        ("junit-xml", config.junit_xml),
        ("events", config.events),
        ("coverage-xml", config.coverage_xml),
    ):
        if path is None:
            continue
        origin = origins[name]
        shown = on_one_line(str(path))
        if is_directory(path):
            raise ConfigurationError(f"{name} must be a file, got the directory {shown} (from {origin})")
        if path in taken:
            raise ConfigurationError(
                f"{name} (from {origin}) and {taken[path]} would both write {shown}: name two files"
            )
        taken[path] = name
    directory = config.coverage_dir
    if config.enable_coverage and os.path.lexists(directory) and not is_directory(directory):
        origin = origins["coverage-dir"]
        raise ConfigurationError(
            f"coverage-dir must be a directory, got {on_one_line(str(directory))} (from {origin})"
        )


def _check_isolation(config: TestConfig, origins: Origins) -> None:
    if config.verify_isolation and config.isolation is Isolation.SPAWN:
        raise ConfigurationError(
            f"verify-isolation (from {origins['verify-isolation']}) compares with forked runs, "
            f"and isolation is spawn (from {origins['isolation']}): leave out one of them"
        )


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


def _check_queue(config: TestConfig, origins: Origins) -> None:
    if config.broker is not None and config.cluster is not None:
        raise ConfigurationError(
            f"cluster (from {origins['cluster']}) brings a server of its own, and broker "
            f"(from {origins['broker']}) names another: leave out one, or say --broker none"
        )
    origin = origins["ship"]
    # What stands in the file is meant for the runs that have a broker.
    if config.ship and config.broker is None and origin.is_of_this_call:
        raise ConfigurationError(
            f"ship (from {origin}) is for workers elsewhere, and there is no broker: "
            "give its address by --broker URL, or leave out ship"
        )
    if config.tail is None and config.tail_run is not None:
        raise ConfigurationError("--run says which run --tail FILE means: give that too")
    if config.tail is not None and config.mode is not Mode.RUN:
        raise ConfigurationError(f"--tail and {origins['mode']} cannot be combined: choose one")
    if config.tail is not None and config.paths:
        raise ConfigurationError(
            f"--tail follows one file and runs nothing: leave out {on_one_line(config.paths[0])}"
        )


def _check_join(config: TestConfig, origins: Origins) -> None:
    """Check that what machines do together is not said twice, or in two ways."""
    if config.join is None:
        return
    origin = origins["join"]
    if not (config.join.isprintable() and 0 < len(config.join) <= MOST_NAME_CHARS):
        raise ConfigurationError(
            f"join (from {origin}) must be a name of 1 to {MOST_NAME_CHARS} printable characters, "
            f"got {on_one_line(config.join)[:80]!r}"
        )
    for name, is_given, why in (
        ("cluster", config.cluster is not None, "brings a server that no other machine reaches"),
        ("record", config.record is not None, "is for shards: here every machine has all reports"),
        ("resume", config.resume is not None, "is for a run of this machine: --join goes on by itself"),
        ("failed", config.failed_only, "goes by this machine's history: a retry runs what failed by itself"),
        (
            "ship",
            config.ship and origins["ship"].is_of_this_call,
            "is for workers without files",
        ),
    ):
        if is_given:
            raise ConfigurationError(
                f"{name} (from {origins[name]}) {why}, and cannot be combined with join "
                f"(from {origin}): leave out one of them"
            )
    if config.broker is None:
        raise ConfigurationError(
            f"join (from {origin}) needs a broker that all machines reach: give its address by --broker URL"
        )
    if config.explain is not None or config.mode is Mode.DRY_RUN:
        what = f"explain={config.explain}" if config.explain is not None else origins["mode"].name
        raise ConfigurationError(f"{what} and join (from {origin}) cannot be combined: leave out one of them")


def _check_shard(config: TestConfig, origins: Origins) -> None:
    """Refuse what would make the parts of a run differ from machine to machine, or be no parts."""
    if config.shard is None:
        return
    shard = f"shard {config.shard} (from {origins['shard']}) cannot be combined with"
    if config.failed_only:
        raise ConfigurationError(
            f"{shard} failed (from {origins['failed']}), which goes by what each machine "
            "remembers by itself: leave out one of them"
        )
    for name, value in (("broker", config.broker), ("cluster", config.cluster), ("join", config.join)):
        if value is not None:
            raise ConfigurationError(
                f"{shard} {name} (from {origins[name]}), which gives each file to whoever is "
                f"free: leave out one of them, or say --{name} none"
            )


def _check_groups(config: TestConfig, origins: Origins) -> None:
    known = {group.name for group in config.groups}
    for override in config.overrides:
        name = override.group
        if name and not name.startswith(SERIAL) and name not in known:
            shown = on_one_line(name)
            raise ConfigurationError(
                f"unknown group {shown!r} (from {origins['overrides']}): "
                f"say how many of its files may run at once by [tool.passmuster.groups.{shown}] max = N"
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
