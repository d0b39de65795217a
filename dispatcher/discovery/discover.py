"""Finds the test files of a run: those of the layout, or those the user named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dispatcher.config.locations import is_directory
from dispatcher.config.model import TestConfig
from dispatcher.config.values import on_one_line
from dispatcher.discovery.layout import Places, find_places, label_of
from dispatcher.discovery.patterns import Rules
from dispatcher.discovery.selection import select
from dispatcher.discovery.walk import FoundFile, Walker
from dispatcher.plan import FileKind, TestFile
from passmuster.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What there is to run.

    Args:
        workdir: the directory the tests run in, absolute.
        files: the test files, sorted by path, each once.
        total: how many there were before `limit` cut the list.
        warnings: lines for the user about what could not be looked at, without a tag.
    """

    workdir: Path
    files: tuple[TestFile, ...]
    total: int
    warnings: tuple[str, ...] = ()


def discover(config: TestConfig, *, cwd: Path | None = None) -> Discovered:
    """Find the test files. Reads directories only, never a file's contents.

    With `failed_only` the list is not cut to `limit`: the caller first takes out what passed.

    Args:
        config: what to look for and where.
        cwd: what the named paths are relative to; None: the root.

    Raises:
        ConfigurationError: a named path or the root does not exist, lies outside, or holds no tests.
    """
    places = find_places(config)
    walker = Walker(root=places.root)
    if config.paths:
        select(config.paths, places=places, walker=walker, cwd=str(cwd or places.root))
    else:
        _walk_layout(places, walker, include_integration=config.include_integration)
    files = sorted((_test_file(found, places) for found in walker.files.values()), key=_path)
    kept = files if config.limit is None or config.failed_only else files[: config.limit]
    return Discovered(
        workdir=Path(places.root, places.workdir),
        files=tuple(kept),
        total=len(files),
        warnings=tuple(walker.warnings),
    )


def _path(file: TestFile) -> str:
    return file.path


def _test_file(found: FoundFile, places: Places) -> TestFile:
    return TestFile(
        path=found.path,
        label=label_of(found.path, places.workdir),
        kind=FileKind.INTEGRATION if places.is_integration(found.path) else FileKind.UNIT,
        size_bytes=found.size_bytes,
        mtime_ns=found.mtime_ns,
    )


def _walk_layout(places: Places, walker: Walker, *, include_integration: bool) -> None:
    everything = places.script_rules(skips_integration=False)
    _walk_roots(places.unit_roots, places, walker, places.script_rules(skips_integration=True))
    if places.always_file and not everything.leaves_out(places.always_file):
        walker.take(places.always_file)
    if include_integration:
        _walk_roots(places.integration_roots, places, walker, everything)
    if places.ordinary_start is not None and not walker.files:
        rules = places.ordinary_rules(skips_integration=not include_integration)
        walker.walk(places.ordinary_start, rules)


def _walk_roots(roots: Iterable[str], places: Places, walker: Walker, rules: Rules) -> None:
    """Walk each root that exists; say so when one the user named does not."""
    everything = places.script_rules(skips_integration=False)
    for root in roots:
        if everything.leaves_out(root):
            continue
        if walker.can_start(root):
            walker.walk(root, rules)
        elif root in places.configured_roots and not is_directory(Path(places.root, root)):
            walker.warnings.append(f"skipped {on_one_line(root)}: it is configured, but no directory")
