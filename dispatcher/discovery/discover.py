"""Finds the test files of a run, by the project's layout or in the paths that the user named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from dispatcher.config.choices import LayoutKind
from dispatcher.config.model import TestConfig
from dispatcher.discovery.collected import collect
from dispatcher.discovery.layout import ResolvedLayout, label_of, resolve_layout
from dispatcher.discovery.layout_choice import LayoutChoice, choose_layout
from dispatcher.discovery.patterns import DiscoveryRules
from dispatcher.discovery.project_signs import defines_unittests, django_advice, is_plain_script
from dispatcher.discovery.pytest_files import ProjectPython, has_pytest
from dispatcher.discovery.run_options import ProjectOption
from dispatcher.discovery.selected_tests import Selections
from dispatcher.discovery.selection import select
from dispatcher.discovery.walk import FoundFile, Walker
from dispatcher.model.plan import FileKind, TestFile
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.settings.locations import is_directory
from passmuster.settings.origins import NO_ORIGINS, Origins
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
    *,
    cwd: Path | None = None,
    python: Callable[[], ProjectPython] | None = None,
    origins: Origins = NO_ORIGINS,
) -> Discovered:
    """Find the test files.

    With `failed_only` the list is not cut to `limit`: the caller first removes the files that passed.

    Args:
        cwd: the base of named paths; None: the root.
        python: returns the project's interpreter, which is used to ask pytest; None: names and directories
            decide, whatever the project is.

    Raises:
        ConfigurationError: a named path or the root does not exist, lies outside, or contains no tests; or
            the project's pytest is missing or cannot collect; or nothing was found in a Django project, whose
            tests a command would find.
    """
    places = resolve_layout(config)
    walker = Walker(root=places.root)
    named_from = str(cwd or places.root)
    if python is None:
        layout = LayoutChoice(kind=LayoutKind.SCRIPTS, reason="names and folders decide")
    else:
        layout = choose_layout(
            config, places, has_pytest=lambda: has_pytest(python(), Path(places.root)), origins=origins
        )
    options: tuple[ProjectOption, ...] = ()
    tests: dict[str, tuple[str, ...]] = {}
    if python is not None and layout.kind is LayoutKind.PYTEST:
        options, tests = collect(config, places, walker, python, cwd=named_from)
    elif config.paths:
        tests = select(config.paths, places=places, walker=walker, cwd=named_from)
    elif layout.kind is LayoutKind.UNITTEST:
        _find_unittests(places, walker)
    else:
        _walk_layout(places, walker, include_integration=config.include_integration)
        if layout.is_default:
            _add_unittests(places, walker, include_integration=config.include_integration)
    advice = django_advice(config, Path(places.root, places.workdir)) if python is not None else None
    selections = Selections(config, tests)
    files = sorted(
        (
            _test_file(found, places, _runner(found, layout, places.root), selections)
            for found in walker.files.values()
        ),
        key=_path,
    )
    if advice and not files:
        raise ConfigurationError(f"found no test files; {advice}")
    kept = files if config.limit is None or config.failed_only else files[: config.limit]
    return Discovered(
        workdir=Path(places.root, places.workdir),
        files=tuple(kept),
        total=len(files),
        layout=layout,
        warnings=(*layout.warnings, *([advice] if advice else []), *walker.warnings),
        options=options,
    )


_RUNNERS = {LayoutKind.PYTEST: RunnerKind.PYTEST, LayoutKind.UNITTEST: RunnerKind.UNITTEST}
"""What runs every file of a layout; elsewhere the file's own text decides."""


def _runner(found: FoundFile, layout: LayoutChoice, root: str) -> RunnerKind:
    if layout.may_have_scripts and is_plain_script(Path(root, found.path)):
        return RunnerKind.SCRIPT
    file = Path(root, found.path)
    if layout.is_default and (file.parent / "__init__.py").is_file() and defines_unittests(file):
        return RunnerKind.UNITTEST  # As a script it could not import its own package.
    return _RUNNERS.get(layout.kind, RunnerKind.AUTO)


def _path(file: TestFile) -> str:
    return file.path


def _test_file(
    found: FoundFile, places: ResolvedLayout, runner: RunnerKind, selections: Selections
) -> TestFile:
    label = label_of(found.path, places.workdir)
    return TestFile(
        path=found.path,
        label=label,
        kind=FileKind.INTEGRATION if places.is_integration(found.path) else FileKind.UNIT,
        size_bytes=found.size_bytes,
        mtime_ns=found.mtime_ns,
        runner=runner,
        selection=selections.of(found.path, label),
    )


def _find_unittests(places: ResolvedLayout, walker: Walker) -> None:
    """Find the files that `python -m unittest` in the working directory discovers."""
    walker.walk(places.workdir, places.unittest_rules(skips_integration=False))
    for path in list(walker.files):
        if not _is_importable(path, places):
            del walker.files[path]


def _add_unittests(places: ResolvedLayout, walker: Walker, *, include_integration: bool) -> None:
    """Add the files that `python -m unittest` would run besides the directories of the layout."""
    everywhere = Walker(root=places.root)  # Another one, because a walker visits a directory only once.
    everywhere.walk(places.workdir, places.unittest_rules(skips_integration=not include_integration))
    for path in everywhere.files.keys() - walker.files.keys():
        if _is_importable(path, places) and defines_unittests(Path(places.root, path)):
            walker.files[path] = everywhere.files[path]


def _is_importable(path: str, places: ResolvedLayout) -> bool:
    """Whether unittest can import a file: it and all folders below the working directory are packages."""
    folder, _, name = path.rpartition("/")
    is_importable = name.removesuffix(".py").isidentifier()
    while is_importable and folder != places.workdir:
        is_importable = Path(places.root, folder, "__init__.py").is_file()
        folder = folder.rpartition("/")[0]
    return is_importable


def _walk_layout(places: ResolvedLayout, walker: Walker, *, include_integration: bool) -> None:
    everything = places.script_rules(skips_integration=False)
    _walk_roots(places.unit_roots, places, walker, places.script_rules(skips_integration=True))
    if places.always_file and not everything.leaves_out(places.always_file):
        walker.take(places.always_file)
    if include_integration:
        _walk_roots(places.integration_roots, places, walker, everything)
    if places.ordinary_start is not None and not walker.files:
        rules = places.ordinary_rules(skips_integration=not include_integration)
        walker.walk(places.ordinary_start, rules)


def _walk_roots(roots: Iterable[str], places: ResolvedLayout, walker: Walker, rules: DiscoveryRules) -> None:
    """Walk each root that exists; warn about a missing one that the user named."""
    everything = places.script_rules(skips_integration=False)
    for root in roots:
        if everything.leaves_out(root):
            continue
        if walker.can_start(root):
            walker.walk(root, rules)
        elif root in places.configured_roots and not is_directory(Path(places.root, root)):
            walker.warnings.append(f"skipped {on_one_line(root)}: it is configured, but no directory")
