"""Compares the test files that the shell scripts found with those that a run finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.config.model import TestConfig
from dispatcher.discovery.layout import resolve_layout
from dispatcher.migrate.legacy_discovery import LegacyFiles, find_legacy_files
from dispatcher.model.plan import TestFile


class DiscoveryDifference(Struct, frozen=True, kw_only=True):
    """A file that only the scripts find, or only a run.

    Args:
        path: relative to the root.
        is_lost: whether only the scripts find it; else only a run does.
        with_integration: whether the two differ only with `--integration`.
    """

    path: str
    is_lost: bool
    with_integration: bool

    def __str__(self) -> str:
        ran, not_ran = "the old script ran it", "Passmuster does not"
        if not self.is_lost:
            ran, not_ran = "the old script did not run it", "Passmuster does"
        return f"{ran}, {not_ran}" + (" (with --integration)" if self.with_integration else "")


class Comparison(Struct, frozen=True, kw_only=True):
    """The result of the comparison.

    Args:
        exclude: the value of `exclude` that removes all differences; empty: none is needed, or none helps.
    """

    unit: int
    integration: int
    differences: tuple[DiscoveryDifference, ...]
    exclude: tuple[str, ...] = ()


Find = Callable[[TestConfig], Iterable[TestFile]]
"""Returns the files that a run finds."""


def compare(config: TestConfig, find: Find) -> Comparison:
    """Compare what the scripts found with what a run with `config` finds, with and without integration tests.

    Raises:
        ConfigurationError: the configured layout is wrong.
    """
    old = find_legacy_files(config.root)
    differences = _differences(old, config, find)
    return Comparison(
        unit=len(old.unit),
        integration=len(old.integration),
        differences=differences,
        exclude=_excluding(old, config, differences, find) if old.integration else (),
    )


def _differences(old: LegacyFiles, config: TestConfig, find: Find) -> tuple[DiscoveryDifference, ...]:
    unit = tuple(_compared(old.unit, config, find, with_integration=False))
    known = {(one.path, one.is_lost) for one in unit}
    both = _compared(old.integration, config, find, with_integration=True)
    return (*unit, *(one for one in both if (one.path, one.is_lost) not in known))


def _compared(
    old: frozenset[str], config: TestConfig, find: Find, *, with_integration: bool
) -> Iterable[DiscoveryDifference]:
    now = {file.path for file in find(replace(config, include_integration=with_integration))}
    for path in sorted(old ^ now):
        yield DiscoveryDifference(path=path, is_lost=path in old, with_integration=with_integration)


def _excluding(
    old: LegacyFiles, config: TestConfig, differences: tuple[DiscoveryDifference, ...], find: Find
) -> tuple[str, ...]:
    """Return the shortest list that excludes what the scripts did not run: whole links, else files."""
    if not differences or any(one.is_lost for one in differences):
        return ()
    workdir = resolve_layout(config).workdir
    prefix = f"{workdir}/" if workdir else ""
    excluded = dict.fromkeys(_first_link(config.root, one.path) for one in differences)
    if not all(path.startswith(prefix) for path in excluded):
        return ()
    exclude = tuple(path.removeprefix(prefix) for path in excluded)
    layout = replace(config.layout, exclude=(*config.layout.exclude, *exclude))
    return () if _differences(old, replace(config, layout=layout), find) else exclude


def _first_link(root: Path, path: str) -> str:
    parts = path.split("/")
    steps = ("/".join(parts[: count + 1]) for count in range(len(parts)))
    return next((step for step in steps if (root / step).is_symlink()), path)
