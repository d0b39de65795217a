"""Locates a project's tests: the configured layout, or that of the shell scripts, as paths below the root."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct, structs

from dispatcher.config.choices import LayoutKind
from dispatcher.config.model import Layout, TestConfig
from dispatcher.discovery.patterns import (
    COMMAND_PATTERNS,
    ORDINARY_EXCLUDED_NAMES,
    ORDINARY_PATTERNS,
    SCRIPT_EXCLUDED_NAMES,
    SCRIPT_PATTERNS,
    DiscoveryRules,
    compile_names,
)
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.settings.path_resolver import is_directory

SCRIPT_WORKDIR = "mvp_site"
SCRIPT_UNIT_ROOTS = ("tests",)
SCRIPT_INTEGRATION_ROOTS = ("test_integration", "tests/test_integration")
SCRIPT_EXTRA_ROOTS = (
    ".claude/commands/tests",
    "orchestration/tests",
    "claude_command_scripts/commands",
    "claude-bot-commands/tests",
)
SCRIPT_EXCLUDED_PATHS = ("tests/manual_tests",)
ALWAYS_FILE = "test_integration/test_integration_mock.py"
"""Lies among the integration tests, but is fast and mocked: the shell scripts ran it every time."""


class ResolvedLayout(Struct, frozen=True, kw_only=True):
    """A layout in which every path is relative to the root and every default is filled in.

    Args:
        root: the project root, absolute, its symlinks resolved.
        workdir: the working directory of the tests; empty: the root.
        unit_roots: directories of unit tests, the extra ones included.
        configured_roots: those of both kinds that the user named.
        always_file: runs with the unit tests wherever it lies; empty: none.
        ordinary_start: where the walk starts if this layout has no files; None: the user configured roots,
            and nothing else is tried.
        patterns: names of test files; None: those of the rules.
        excluded_names: excluded names and shell patterns of names.
        script_excluded_paths: paths that the shell scripts excluded.
    """

    root: str
    workdir: str
    unit_roots: tuple[str, ...]
    integration_roots: tuple[str, ...]
    configured_roots: tuple[str, ...]
    always_file: str
    ordinary_start: str | None
    patterns: tuple[str, ...] | None
    excluded_names: tuple[str, ...]
    excluded_paths: frozenset[str]
    script_excluded_paths: frozenset[str]

    def is_integration(self, path: str) -> bool:
        """Return whether a file belongs to the integration tests: the root nearest to it decides."""
        if path == self.always_file:
            return False
        nearest_unit = max((len(root) for root in self.unit_roots if is_below(path, root)), default=-1)
        return any(is_below(path, root) and len(root) > nearest_unit for root in self.integration_roots)

    @property
    def tests_dir(self) -> Path:
        """The working directory of the tests, absolute."""
        return Path(self.root, self.workdir)

    def script_rules(self, *, skips_integration: bool) -> DiscoveryRules:
        """Return the rules for walks of the layout's roots."""
        return self._rules(SCRIPT_PATTERNS, SCRIPT_EXCLUDED_NAMES, skips_integration=skips_integration)

    def ordinary_rules(
        self, patterns: tuple[str, ...] = ORDINARY_PATTERNS, *, skips_integration: bool
    ) -> DiscoveryRules:
        """Return the rules for a walk through an ordinary repository, or a directory that the user named."""
        rules = self._rules(patterns, ORDINARY_EXCLUDED_NAMES, skips_integration=skips_integration)
        return structs.replace(rules, skips_hidden=True)

    def configured_rules(self) -> DiscoveryRules:
        """Return rules that leave out only what the user excluded."""
        rules = self._rules(ORDINARY_PATTERNS, frozenset(), skips_integration=False)
        return structs.replace(rules, excluded_paths=self.excluded_paths)

    def _rules(
        self, patterns: tuple[str, ...], names: frozenset[str], *, skips_integration: bool
    ) -> DiscoveryRules:
        skipped = self.script_excluded_paths
        if skips_integration:
            skipped |= frozenset(self.integration_roots)
        return DiscoveryRules(
            files=compile_names(self.patterns or patterns),
            excluded_names=names,
            excluded_patterns=compile_names(self.excluded_names) if self.excluded_names else None,
            excluded_paths=self.excluded_paths | skipped,
        )


def resolve_layout(config: TestConfig) -> ResolvedLayout:
    """Return the resolved layout of `config.root`.

    Raises:
        ConfigurationError: the root or a configured working directory does not exist or lies outside.
    """
    layout = config.layout
    root = os.path.realpath(config.root)
    if not is_directory(root):
        raise ConfigurationError(f"root {root!r} is not a directory: name the project's folder")
    workdir = _workdir(root, layout)

    def below(paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_joined(workdir, path) for path in paths)

    def roots(configured: tuple[str, ...] | None, default: tuple[str, ...]) -> tuple[str, ...]:
        return below(default if configured is None else configured)

    excluded = tuple(_normal(path) for path in layout.exclude)
    start = "" if layout.workdir is None else workdir
    # The command of such a project may find test files anywhere.
    is_command = config.usual_runner is RunnerKind.COMMAND and workdir != SCRIPT_WORKDIR
    unit_roots, extra_roots, integration_roots = (
        ((), (), ()) if is_command else (SCRIPT_UNIT_ROOTS, SCRIPT_EXTRA_ROOTS, SCRIPT_INTEGRATION_ROOTS)
    )
    configured = (layout.unit_roots, layout.integration_roots, layout.extra_roots)
    return ResolvedLayout(
        root=root,
        workdir=workdir,
        unit_roots=roots(layout.unit_roots, unit_roots) + roots(layout.extra_roots, extra_roots),
        integration_roots=roots(layout.integration_roots, integration_roots),
        configured_roots=tuple(path for paths in configured for path in below(paths or ())),
        always_file="" if is_command or layout.unit_roots is not None else _joined(workdir, ALWAYS_FILE),
        ordinary_start=start if all(paths is None for paths in configured) else None,
        patterns=layout.patterns or (COMMAND_PATTERNS if is_command else None),
        excluded_names=tuple(path for path in excluded if "/" not in path),
        excluded_paths=frozenset(below(tuple(path for path in excluded if "/" in path))),
        script_excluded_paths=frozenset(below(SCRIPT_EXCLUDED_PATHS)),
    )


def is_below(path: str, directory: str) -> bool:
    """Return whether `path` is `directory` or lies in it; the empty directory is the root."""
    return directory == "" or path == directory or path.startswith(f"{directory}/")


def label_of(path: str, workdir: str) -> str:
    """Return `path` as it is printed: relative to the working directory. Both are relative to the root."""
    if workdir == "":
        return path
    if path.startswith(f"{workdir}/"):
        return path[len(workdir) + 1 :]
    return os.path.relpath(f"/{path}", f"/{workdir}")


def _workdir(root: str, layout: Layout) -> str:
    configured = layout.workdir
    if configured is None and layout.kind in (LayoutKind.PYTEST, LayoutKind.UNITTEST):
        return ""  # As their own commands are called in the root.
    workdir = _normal(SCRIPT_WORKDIR if configured is None else configured)
    path = Path(root, workdir)
    if is_directory(path) and Path(os.path.realpath(path)).is_relative_to(root):
        return workdir
    if configured is None:
        return ""
    raise ConfigurationError(f"workdir {configured!r} is not a directory in {root}: name one")


def _normal(path: str) -> str:
    """Return a relative path without `./` and doubled or final slashes; empty for the directory itself."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _joined(workdir: str, path: str) -> str:
    return "/".join(part for part in (workdir, _normal(path)) if part)
