"""Chooses the layout of a project: what decides which files are tests, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from dispatcher.config.choices import LayoutKind
from dispatcher.config.model import TestConfig
from dispatcher.discovery.layout import SCRIPT_WORKDIR, ResolvedLayout
from dispatcher.discovery.patterns import (
    ORDINARY_EXCLUDED_NAMES,
    ORDINARY_PATTERNS,
    DiscoveryRules,
    compile_names,
)
from dispatcher.discovery.project_signs import Sign, clearest_sign, find_configurations
from dispatcher.discovery.walk import Walker
from passmuster.model.status import RunnerKind
from passmuster.settings.origins import NO_ORIGINS, Origins
from passmuster.settings.values import on_one_line

_FOLDER_SETTINGS = ("workdir", "unit-roots", "integration-roots", "extra-roots", "patterns")
"""Settings that say where tests lie: a project that has one has chosen the scripts' layout."""


class LayoutChoice(Struct, frozen=True, kw_only=True):
    """A layout and why it was chosen.

    Args:
        kind: never `AUTO`.
        may_have_scripts: whether only the tests themselves show that this is a pytest project, so that a file
            with a `__main__` guard and without tests is a script.
        is_default: whether nothing in the project or its settings determines its layout.
    """

    kind: LayoutKind
    reason: str
    has_command: bool = False
    warnings: tuple[str, ...] = ()
    may_have_scripts: bool = False
    is_default: bool = False

    @property
    def headline(self) -> str:
        """Return the line that a run prints about its layout first; empty for the shell scripts' layout,
        which printed none.
        """
        return "" if self.kind is LayoutKind.SCRIPTS and not self.has_command else str(self)

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.reason})"


def choose_layout(
    config: TestConfig,
    resolved: ResolvedLayout,
    *,
    has_pytest: Callable[[], bool],
    origins: Origins = NO_ORIGINS,
) -> LayoutChoice:
    """Return the layout of a project.

    Args:
        has_pytest: whether the project's interpreter has pytest; called only if that decides.
    """
    workdir = resolved.tests_dir
    configurations = find_configurations(workdir)
    asked = config.layout.kind
    if asked is not LayoutKind.AUTO:
        warnings = () if asked is LayoutKind.PYTEST else _ignored_settings(config, configurations, origins)
        return LayoutChoice(kind=asked, reason=f"from {origins['layout']}", warnings=warnings)
    scripts = _why_scripts(config, resolved, origins)
    if scripts:
        return LayoutChoice(
            kind=LayoutKind.SCRIPTS,
            reason=scripts,
            has_command=config.usual_runner is RunnerKind.COMMAND,
            warnings=_ignored_settings(config, configurations, origins),
        )
    pytest, sign = _why_pytest(workdir, configurations, has_pytest)
    if not pytest:
        reason = "nothing in the project asks for pytest"
        return LayoutChoice(kind=LayoutKind.SCRIPTS, reason=reason, is_default=True)
    warnings = ()
    if len(configurations) > 1:
        ignored = " and ".join(configurations[1:])
        warnings = (f"pytest reads its settings from {configurations[0]} alone: {ignored} has no effect",)
    return LayoutChoice(
        kind=LayoutKind.PYTEST,
        reason=pytest,
        warnings=warnings,
        may_have_scripts=sign is not Sign.EXPLICIT,
    )


def _why_scripts(config: TestConfig, resolved: ResolvedLayout, origins: Origins) -> str:
    """Return why the scripts' layout applies; empty: nothing indicates it."""
    configured = _folder_settings(config)
    if configured:
        return f"{configured[0]} is set (from {origins[configured[0]]})"
    if resolved.workdir == SCRIPT_WORKDIR:
        return f"there is a folder {SCRIPT_WORKDIR}"
    if config.usual_runner is RunnerKind.COMMAND:
        return f"command is set (from {origins['command']})"
    if config.runner in (RunnerKind.SCRIPT, RunnerKind.UNITTEST):
        return f"runner is {config.runner.value} (from {origins['runner']})"
    return ""


def _folder_settings(config: TestConfig) -> list[str]:
    return [name for name in _FOLDER_SETTINGS if getattr(config.layout, name.replace("-", "_")) is not None]


def _ignored_settings(config: TestConfig, configurations: Sequence[str], origins: Origins) -> tuple[str, ...]:
    """Return pytest's settings that do not count because Passmuster's settings define the test files."""
    configured = _folder_settings(config)
    if not configurations or not configured:
        return ()
    setting = f"{configured[0]} (from {origins[configured[0]]})"
    ignored = f"the test paths and patterns of {configurations[0]} are ignored"
    return (f"{setting} decides which files are tests: {ignored}",)


def _why_pytest(
    workdir: Path, configurations: Sequence[str], has_pytest: Callable[[], bool]
) -> tuple[str, Sign]:
    """Return why this is a pytest project, and how clear that is; empty: it is not one."""
    if configurations:
        return configurations[0], Sign.EXPLICIT
    for name in ("conftest.py", "tests/conftest.py", "test/conftest.py"):
        if (workdir / name).is_file():
            return name, Sign.EXPLICIT
    walker = Walker(root=str(workdir))
    walker.walk("", _SEARCHED)
    paths = sorted(walker.files)
    conftest = next((path for path in paths if path.endswith("conftest.py")), "")
    if conftest:
        return on_one_line(conftest), Sign.EXPLICIT
    sign, path = clearest_sign(workdir, paths)
    if sign is Sign.NONE or (sign is Sign.WEAK and not has_pytest()):
        return "", Sign.NONE
    return f"{on_one_line(path)} is for pytest", sign


_SEARCHED = DiscoveryRules(
    files=compile_names((*ORDINARY_PATTERNS, "conftest.py")),
    excluded_names=ORDINARY_EXCLUDED_NAMES,
    skips_hidden=True,
)
"""What is looked at for signs of pytest: conftests, and test files by their names."""
