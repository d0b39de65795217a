"""Discovers the files that pytest collects, in the whole project or in the paths that the user named."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.config.model import TestConfig
from dispatcher.discovery.layout import ResolvedLayout, is_below
from dispatcher.discovery.pytest_files import (
    CollectionError,
    ProjectPython,
    ask_pytest,
    has_pytest,
    pytest_missing,
)
from dispatcher.discovery.run_options import ProjectOption
from dispatcher.discovery.selection import Named, find_named, tests_of
from dispatcher.discovery.walk import Walker
from passmuster.model.errors import ConfigurationError
from passmuster.settings.values import on_one_line


def collect(
    config: TestConfig,
    resolved: ResolvedLayout,
    walker: Walker,
    python: Callable[[], ProjectPython],
    *,
    cwd: str,
) -> tuple[tuple[ProjectOption, ...], dict[str, tuple[str, ...]]]:
    """Add the files that pytest collects to `walker`.

    Returns the options that the project's settings change, and the tests that the user named, by their
    file's path.

    If only files are named, pytest is not asked, and the project's options are unknown.

    A Python file that the user named is taken without asking, because pytest collects any named file.
    `exclude` and, without `--integration`, configured directories of integration tests leave files out.

    Args:
        cwd: the base of named paths, absolute.

    Raises:
        ConfigurationError: a named path does not exist or contains no tests, or pytest cannot collect.
    """
    named = [find_named(text, resolved=resolved, walker=walker, cwd=cwd) for text in config.paths]
    files = [one for one in named if not one.is_directory and one.path.endswith(".py")]
    others = [one for one in named if one not in files]
    for one in files:
        walker.take(one.path)
    workdir = resolved.tests_dir
    if named and not others:
        if not has_pytest(python(), workdir):
            raise pytest_missing(python().path)
        return (), tests_of(named)
    try:
        answer = ask_pytest(python(), workdir, [walker.absolute(one.path) for one in others])
    except CollectionError as error:
        for one in others:
            if error.is_about(walker.absolute(one.path)):
                raise _holds_nothing(one) from error
        raise
    walker.warnings.extend(answer.warnings)
    found = _inside(answer.files, walker)
    for one in others:
        if not any(is_below(path, one.path) for path in found):
            raise _holds_nothing(one)
    left_out = 0
    exclusion = resolved.configured_rules()
    skips_integration = config.layout.integration_roots is not None and not config.include_integration
    for path in found:
        if exclusion.leaves_out(path) or (skips_integration and resolved.is_integration(path)):
            left_out += 1
        else:
            walker.take(path)
    if left_out:
        walker.warnings.append(f"{left_out} file(s) that pytest collects are left out by exclude")
    return answer.options, tests_of(named)


def _holds_nothing(one: Named) -> ConfigurationError:
    return one.error("holds no tests: pytest collects nothing there")


def _inside(files: tuple[str, ...], walker: Walker) -> list[str]:
    """Return files relative to the root, without those outside it, which cannot run."""
    found = []
    for file in files:
        path = walker.relative(file)
        if path is None:
            walker.warnings.append(
                f"skipped {on_one_line(file)}: pytest collects it, but it lies outside of the root"
            )
        else:
            found.append(path)
    return found
