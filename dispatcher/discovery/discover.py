"""Finds the test files of a run, by the project's layout or in the paths that the user named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from pathlib import Path

from msgspec import Struct

from dispatcher.config.choices import LayoutKind
from dispatcher.config.model import TestConfig
from dispatcher.discovery.collected import collect
from dispatcher.discovery.layout import ResolvedLayout, label_of, resolve_layout
from dispatcher.discovery.layout_choice import LayoutChoice, choose_layout
from dispatcher.discovery.patterns import UNITTEST_PATTERNS, DiscoveryRules
from dispatcher.discovery.project_signs import defines_unittests, django_advice, is_plain_script
from dispatcher.discovery.pytest_files import ProjectPython, has_pytest
from dispatcher.discovery.run_options import ProjectOption
from dispatcher.discovery.selected_tests import Selections
from dispatcher.discovery.selection import select
from dispatcher.discovery.walk import FoundFile, Walker
from dispatcher.model.plan import FileKind, TestFile
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.settings.origins import NO_ORIGINS, Origins
from passmuster.settings.path_resolver import is_directory
from passmuster.settings.values import on_one_line


class Discovered(Struct, frozen=True, kw_only=True):
    """The result of discovery.

    Args:
        workdir: the working directory of the tests, absolute.
        files: sorted by path, each once.
        total: the number of files before `limit` cut the list.
        options: the pytest options that the project's settings change; empty if pytest was not asked.
    """

    workdir: Path
    files: tuple[TestFile, ...]
    total: int
    layout: LayoutChoice
    warnings: tuple[str, ...] = ()
    options: tuple[ProjectOption, ...] = ()


def discover(
    config: TestConfig,
    python: Callable[[], ProjectPython],
    *,
    cwd: Path | None = None,
    origins: Origins = NO_ORIGINS,
) -> Discovered:
    """Find the test files.

    If the history selects files, the list is not cut to `limit`: the caller first removes the others.

    Args:
        python: returns the project's interpreter, which is used to ask pytest.
        cwd: the base of named paths; None: the root.

    Raises:
        ConfigurationError: a named path or the root does not exist, lies outside, or contains no tests; or
            the project's pytest is missing or cannot collect; or nothing was found in a Django project, whose
            tests a command would find.
    """
    resolved = resolve_layout(config)
    walker = Walker(root=resolved.root)
    named_from = str(cwd or resolved.root)
    layout = choose_layout(
        config, resolved, has_pytest=lambda: has_pytest(python(), Path(resolved.root)), origins=origins
    )
    options: tuple[ProjectOption, ...] = ()
    tests: dict[str, tuple[str, ...]] = {}
    if layout.kind is LayoutKind.PYTEST:
        options, tests = collect(config, resolved, walker, python, cwd=named_from)
    elif config.paths:
        tests = select(config.paths, resolved=resolved, walker=walker, cwd=named_from)
    elif layout.kind is LayoutKind.UNITTEST:
        _find_unittests(resolved, walker)
    else:
        _walk_layout(resolved, walker, include_integration=config.include_integration)
        if layout.is_default:
            _add_unittests(resolved, walker, include_integration=config.include_integration)
    advice = django_advice(config, resolved.tests_dir)
    selections = Selections(config, tests)
    files = sorted(
        (
            _test_file(found, resolved, _runner(found, layout, resolved.root), selections)
            for found in walker.files.values()
        ),
        key=attrgetter("path"),
    )
    if advice and not files:
        raise ConfigurationError(f"found no test files; {advice}")
    kept = files if config.limit is None or config.selects_by_history else files[: config.limit]
    return Discovered(
        workdir=resolved.tests_dir,
        files=tuple(kept),
        total=len(files),
        layout=layout,
        warnings=(*layout.warnings, *([advice] if advice else []), *walker.warnings),
        options=options,
    )


_RUNNERS = {LayoutKind.PYTEST: RunnerKind.PYTEST, LayoutKind.UNITTEST: RunnerKind.UNITTEST}
"""What runs every file of a layout; elsewhere the file's own text decides."""


def _runner(found: FoundFile, layout: LayoutChoice, root: str) -> RunnerKind:
    file = Path(root, found.path)
    if layout.may_have_scripts and is_plain_script(file):
        return RunnerKind.SCRIPT
    if layout.is_default and (file.parent / "__init__.py").is_file() and defines_unittests(file):
        return RunnerKind.UNITTEST  # As a script it could not import its own package.
    return _RUNNERS.get(layout.kind, RunnerKind.AUTO)


def _test_file(
    found: FoundFile, resolved: ResolvedLayout, runner: RunnerKind, selections: Selections
) -> TestFile:
    label = label_of(found.path, resolved.workdir)
    return TestFile(
        path=found.path,
        label=label,
        kind=FileKind.INTEGRATION if resolved.is_integration(found.path) else FileKind.UNIT,
        size_bytes=found.size_bytes,
        mtime_ns=found.mtime_ns,
        runner=runner,
        selection=selections.of(found.path, label),
    )


def _find_unittests(resolved: ResolvedLayout, walker: Walker) -> None:
    """Find the files that `python -m unittest` in the working directory discovers."""
    walker.walk(resolved.workdir, resolved.ordinary_rules(UNITTEST_PATTERNS, skips_integration=False))
    for path in list(walker.files):
        if not _is_importable(path, resolved):
            del walker.files[path]


def _add_unittests(resolved: ResolvedLayout, walker: Walker, *, include_integration: bool) -> None:
    """Add the files that `python -m unittest` would run besides the directories of the layout."""
    everywhere = Walker(root=resolved.root)  # Another one, because a walker visits a directory only once.
    everywhere.walk(
        resolved.workdir,
        resolved.ordinary_rules(UNITTEST_PATTERNS, skips_integration=not include_integration),
    )
    for path in everywhere.files.keys() - walker.files.keys():
        if _is_importable(path, resolved) and defines_unittests(Path(resolved.root, path)):
            walker.files[path] = everywhere.files[path]


def _is_importable(path: str, resolved: ResolvedLayout) -> bool:
    """Whether unittest can import a file: it and all folders below the working directory are packages."""
    folder, _, name = path.rpartition("/")
    is_importable = name.removesuffix(".py").isidentifier()
    while is_importable and folder != resolved.workdir:
        is_importable = Path(resolved.root, folder, "__init__.py").is_file()
        folder = folder.rpartition("/")[0]
    return is_importable


def _walk_layout(resolved: ResolvedLayout, walker: Walker, *, include_integration: bool) -> None:
    everything = resolved.script_rules(skips_integration=False)
    _walk_roots(resolved.unit_roots, resolved, walker, resolved.script_rules(skips_integration=True))
    if resolved.always_file and not everything.leaves_out(resolved.always_file):
        walker.take(resolved.always_file)
    if include_integration:
        _walk_roots(resolved.integration_roots, resolved, walker, everything)
    if resolved.ordinary_start is not None and not walker.files:
        rules = resolved.ordinary_rules(skips_integration=not include_integration)
        walker.walk(resolved.ordinary_start, rules)


def _walk_roots(
    roots: Iterable[str], resolved: ResolvedLayout, walker: Walker, rules: DiscoveryRules
) -> None:
    """Walk each root that exists; warn about a missing one that the user named."""
    everything = resolved.script_rules(skips_integration=False)
    for root in roots:
        if everything.leaves_out(root):
            continue
        if walker.can_start(root):
            walker.walk(root, rules)
        elif root in resolved.configured_roots and not is_directory(Path(resolved.root, root)):
            walker.warnings.append(f"skipped {on_one_line(root)}: it is configured, but is not a directory")
