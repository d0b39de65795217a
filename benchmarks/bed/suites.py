"""The bed's suites: made below the cache on first use, and the same files in every later session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from benchmarks.bed.model import BedSuite, Kind, SuiteDefinition
from benchmarks.environments import base_interpreter, ensure_environment, fingerprint
from benchmarks.suites import cpython, heavy, packages, trivial
from benchmarks.suites.packages import Package

PEERS = (
    "pytest-xdist==3.8.0",
    "pytest-zygote==0.1.1",
    "rstest==0.9.0",
    "pytest-fast==0.16.0",
    "pytest-isolated==0.6.0",
)
"""What spreads pytest over processes; in each suite's environment, because it must import the tests."""

UNITTEST_PEERS = ("unittest-parallel==1.8.6", "stestr==4.2.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where suites are made.

    Args:
        cache: everything is kept below it.
        work: a directory for outputs of what is run only to make a suite.
        seed: of what is drawn.
    """

    cache: Path
    work: Path
    seed: int

    @property
    def suites(self) -> Path:
        """The folder of all suites."""
        return self.cache / "suites" / "bed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRecipe:
    """A suite that can be prepared.

    Args:
        definition: what it is; known before it is prepared.
        make: downloads, installs and writes what is missing, and returns the suite.
    """

    definition: SuiteDefinition
    make: Callable[[Place, SuiteDefinition], BedSuite]

    def prepare(self, place: Place) -> BedSuite:
        """Return the suite; the first call in a cache takes minutes, and needs a network."""
        return self.make(place, self.definition)


def limited(suite: BedSuite, files: int | None) -> BedSuite:
    """Return a suite with its first files only, under a name that says so; None: all of it."""
    if files is None or files >= len(suite.files):
        return suite
    definition = replace(suite.definition, name=f"{suite.name}[{files}]", discovery=None)
    return replace(suite, definition=definition, files=suite.files[:files])


def renamed(suite: BedSuite, name: str) -> BedSuite:
    """Return a suite under another name."""
    return replace(suite, definition=replace(suite.definition, name=name))


def _written(
    place: Place, name: str, maker: ModuleType, write: Callable[[Path], list[Path]]
) -> tuple[Path, tuple[str, ...]]:
    """Return root and files of a suite of ours, written anew only if the module that makes it changed."""
    root = place.suites / name
    stamp = root / "made-from.txt"
    wanted = fingerprint(Path(maker.__file__ or "").read_text(), str(place.seed))
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        write(root)
        stamp.write_text(wanted)
    return root, tuple(sorted(f"tests/{path.name}" for path in (root / "tests").glob("test_*.py")))


def _make_trivial(files: int, place: Place, definition: SuiteDefinition) -> BedSuite:
    root, paths = _written(
        place, definition.name, trivial, lambda root: trivial.write_suite(root, files=files)
    )
    interpreter = ensure_environment(
        place.cache / "environments" / "bed-plain", ("pytest<9.1", *PEERS, *UNITTEST_PEERS)
    )
    return BedSuite(definition=definition, root=root, interpreter=interpreter, files=paths)


def _make_heavy(place: Place, definition: SuiteDefinition) -> BedSuite:
    root, paths = _written(
        place, definition.name, heavy, lambda root: heavy.write_suite(root, seed=place.seed)
    )
    requirements = (*heavy.REQUIREMENTS, "pytest<9.1", *PEERS, *UNITTEST_PEERS)
    interpreter = ensure_environment(place.cache / "environments" / "bed-heavy", requirements)
    return BedSuite(definition=definition, root=root, interpreter=interpreter, files=paths)


def _make_cpython(place: Place, definition: SuiteDefinition) -> BedSuite:
    # Beside the one that `outcomes` draws from: the same files if the seed is the same.
    root, files = cpython.write_suite(place.cache / "suites" / "cpython", work=place.work, seed=place.seed)
    return BedSuite(definition=definition, root=root, interpreter=base_interpreter(), files=files)


def _make_package(package: Package, place: Place, definition: SuiteDefinition) -> BedSuite:
    added = ("coverage==7.17.4",) if definition.with_coverage else PEERS
    environment = "bed-coverage" if definition.with_coverage else "bed-environment"
    folder = place.cache / "suites" / "packages"
    suite = packages.write_suite(folder, package, added=added, environment=environment)
    files = suite.files
    if package.draw is not None:
        kept = folder / package.name / f"chosen-{place.seed}-{package.draw}.json"
        files = packages.draw_files(suite, wanted=package.draw, kept=kept, work=place.work, seed=place.seed)
    return BedSuite(definition=definition, root=suite.root, interpreter=suite.interpreter, files=files)


def _trivial(name: str, kind: Kind, files: int, refused: tuple[tuple[str, str], ...] = ()) -> SuiteRecipe:
    definition = SuiteDefinition(name=name, kind=kind, discovery="tests", refused=refused)
    return SuiteRecipe(definition=definition, make=partial(_make_trivial, files))


def _heavy(name: str, kind: Kind) -> SuiteRecipe:
    definition = SuiteDefinition(name=name, kind=kind, discovery="tests")
    return SuiteRecipe(definition=definition, make=_make_heavy)


def _package(name: str, package: Package, *, with_coverage: bool = False) -> SuiteRecipe:
    definition = SuiteDefinition(
        name=name,
        kind=Kind.PYTEST,
        own_package=package.own_package,
        pytest_options=package.pytest_options,
        with_coverage=with_coverage,
        environment=package.variables,
        refused=package.refused,
    )
    return SuiteRecipe(definition=definition, make=partial(_make_package, package))


TOO_MANY = (("unlimited", "1,000 pytest processes at once need more memory than a machine has"),)

RECIPES = (
    _trivial("trivial", Kind.SCRIPT, 200),
    _trivial("trivial-pytest", Kind.PYTEST, 200),
    _trivial("trivial-pytest-1000", Kind.PYTEST, 1000, refused=TOO_MANY),
    _heavy("heavy", Kind.SCRIPT),
    _heavy("heavy-pytest", Kind.PYTEST),
    SuiteRecipe(
        definition=SuiteDefinition(name="cpython", kind=Kind.SCRIPT, is_cpython=True), make=_make_cpython
    ),
    _package("click", packages.NEWER_CLICK),
    _package("werkzeug", packages.WERKZEUG),
    _package("networkx", packages.NETWORKX),
    _package("sqlalchemy", packages.SQLALCHEMY),
    _package("pandas-series", packages.PANDAS_SERIES),
    _package("pandas-series-without-bytecode", packages.PANDAS_SERIES_WITHOUT_BYTECODE),
    _package("scikit-learn", packages.SCIKIT_LEARN),
    _package("scipy", packages.SCIPY),
    _package("sympy", packages.SYMPY),
    _package("pydantic", packages.PYDANTIC),
    _package("djangorestframework", packages.DJANGO_REST_FRAMEWORK),
    _package("attrs", packages.ATTRS),
    _package("starlette", packages.STARLETTE),
    _package("jinja2-coverage", packages.JINJA2, with_coverage=True),
)

SUITES: Mapping[str, SuiteRecipe] = {recipe.definition.name: recipe for recipe in RECIPES}
