"""The bed's suites: made below the cache on first use, and the same files in every later session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType

from benchmarks.bed.model import BedSuite, Kind
from benchmarks.environments import base_interpreter, ensure_environment, fingerprint
from benchmarks.suites import cpython, heavy, packages, trivial
from benchmarks.suites.packages import Package

PEERS = ("pytest-xdist==3.8.0", "pytest-zygote==0.1.1", "rstest==0.9.0")
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


def limited(suite: BedSuite, files: int | None) -> BedSuite:
    """Return a suite with its first files only, under a name that says so; None: all of it."""
    if files is None or files >= len(suite.files):
        return suite
    return replace(suite, name=f"{suite.name}[{files}]", files=suite.files[:files], discovery=None)


def _written(
    place: Place, name: str, maker: ModuleType, write: Callable[[Path], list[Path]]
) -> tuple[Path, list[str]]:
    """Return root and files of a suite of ours, written anew only if the module that makes it changed."""
    root = place.suites / name
    stamp = root / "made-from.txt"
    wanted = fingerprint(Path(maker.__file__ or "").read_text(), str(place.seed))
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        write(root)
        stamp.write_text(wanted)
    return root, sorted(f"tests/{path.name}" for path in (root / "tests").glob("test_*.py"))


def _trivial(name: str, kind: Kind, files: int, place: Place) -> BedSuite:
    root, paths = _written(place, name, trivial, lambda root: trivial.write_suite(root, files=files))
    interpreter = ensure_environment(
        place.cache / "environments" / "bed-plain", ("pytest<9.1", *PEERS, *UNITTEST_PEERS)
    )
    return BedSuite(
        name=name, root=root, interpreter=interpreter, files=tuple(paths), kind=kind, discovery="tests"
    )


def _heavy(name: str, kind: Kind, place: Place) -> BedSuite:
    root, paths = _written(place, name, heavy, lambda root: heavy.write_suite(root, seed=place.seed))
    requirements = (*heavy.REQUIREMENTS, "pytest<9.1", *PEERS, *UNITTEST_PEERS)
    return BedSuite(
        name=name,
        root=root,
        interpreter=ensure_environment(place.cache / "environments" / "bed-heavy", requirements),
        files=tuple(paths),
        kind=kind,
        discovery="tests",
    )


def _cpython(place: Place) -> BedSuite:
    # Beside the one that `outcomes` draws from: the same files if the seed is the same.
    root, files = cpython.write_suite(place.cache / "suites" / "cpython", work=place.work, seed=place.seed)
    return BedSuite(
        name="cpython",
        root=root,
        interpreter=base_interpreter(),
        files=files,
        kind=Kind.SCRIPT,
        is_cpython=True,
    )


def _package(name: str, package: Package, place: Place, *, with_coverage: bool = False) -> BedSuite:
    added = ("coverage==7.17.4",) if with_coverage else PEERS
    environment = "bed-coverage" if with_coverage else "bed-environment"
    folder = place.cache / "suites" / "packages"
    suite = packages.write_suite(folder, package, added=added, environment=environment)
    files = suite.files
    if package.draw is not None:
        kept = folder / package.name / f"chosen-{place.seed}-{package.draw}.json"
        files = packages.draw_files(suite, wanted=package.draw, kept=kept, work=place.work, seed=place.seed)
    return BedSuite(
        name=name,
        root=suite.root,
        interpreter=suite.interpreter,
        files=files,
        kind=Kind.PYTEST,
        own_package=package.own_package,
        pytest_options=package.pytest_options,
        with_coverage=with_coverage,
        environment=package.variables,
        refused=package.refused,
    )


SUITES: Mapping[str, Callable[[Place], BedSuite]] = {
    "trivial": partial(_trivial, "trivial", Kind.SCRIPT, 200),
    "trivial-pytest": partial(_trivial, "trivial-pytest", Kind.PYTEST, 200),
    "trivial-pytest-1000": partial(_trivial, "trivial-pytest-1000", Kind.PYTEST, 1000),
    "heavy": partial(_heavy, "heavy", Kind.SCRIPT),
    "heavy-pytest": partial(_heavy, "heavy-pytest", Kind.PYTEST),
    "cpython": _cpython,
    "click": partial(_package, "click", packages.NEWER_CLICK),
    "werkzeug": partial(_package, "werkzeug", packages.WERKZEUG),
    "networkx": partial(_package, "networkx", packages.NETWORKX),
    "sqlalchemy": partial(_package, "sqlalchemy", packages.SQLALCHEMY),
    "pandas-series": partial(_package, "pandas-series", packages.PANDAS_SERIES),
    "pandas-series-without-bytecode": partial(
        _package, "pandas-series-without-bytecode", packages.PANDAS_SERIES_WITHOUT_BYTECODE
    ),
    "scikit-learn": partial(_package, "scikit-learn", packages.SCIKIT_LEARN),
    "scipy": partial(_package, "scipy", packages.SCIPY),
    "sympy": partial(_package, "sympy", packages.SYMPY),
    "pydantic": partial(_package, "pydantic", packages.PYDANTIC),
    "djangorestframework": partial(_package, "djangorestframework", packages.DJANGO_REST_FRAMEWORK),
    "attrs": partial(_package, "attrs", packages.ATTRS),
    "starlette": partial(_package, "starlette", packages.STARLETTE),
    "jinja2-coverage": partial(_package, "jinja2-coverage", packages.JINJA2, with_coverage=True),
}
