"""Other people's suites: packages' own tests from their archives, run by pytest.

Most come from the source distribution, and get an environment with the package itself, installed from that
source, and what its tests need. Packages that take minutes to build come from wheels that hold their tests:
the unpacked wheel is the project, and is imported from there.
"""

from __future__ import annotations

import json
import random
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.environments import base_interpreter, ensure_environment
from benchmarks.outcome import run_pytest_alone

LONGEST_S = 10.0
"""Seconds that a drawn file may take alone; networkx has some that take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package whose tests are run.

    Args:
        name: its name and version, as pip has it.
        tests: the folder of its tests, relative to its source.
        requirements: what they need besides the package; of a wheel, the package's own dependencies too.
        archive: what is unpacked.
        writes_bytecode: whether runs may write bytecode beside the source; if not, the source is a copy of
            its own, in which nothing is compiled.
        left_out: names of files that do not end when they are run by hand here, that alone take most of the
            suite's time, or that fail without other files in the same process.
        folders: folders below `tests` whose own files are taken, and not those deeper down; empty: all files.
        draw: how many files that pass alone within `LONGEST_S` are drawn by seed; None: all are taken.
        own_package: the package under test, as it is imported.
        pytest_options: what pytest needs besides, when it loads no plugin by itself.
        environment: variables that its tests get.
        refused: beginnings of the names of the bed's runners that cannot run it, each with the reason.
    """

    name: str
    tests: str
    requirements: tuple[str, ...]
    archive: Literal["sdist", "wheel"] = "sdist"
    writes_bytecode: bool = True
    left_out: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    draw: int | None = None
    own_package: str | None = None
    pytest_options: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def variables(self) -> tuple[tuple[str, str], ...]:
        """All variables that its tests get."""
        if self.writes_bytecode:
            return self.environment
        return (*self.environment, ("PYTHONDONTWRITEBYTECODE", "1"))


FAST_MARK = "PYTEST_FAST_MARK"
"""pytest-fast puts this, by default nothing, in the place of the `-m` that is in the project's `addopts`."""

CLICK = Package(name="click==8.3.1", tests="tests", requirements=("pytest<9.1",), own_package="click")
NEWER_CLICK = replace(CLICK, name="click==8.4.2", environment=((FAST_MARK, "not stress"),))
"""For runners that spread a file's tests: the older one's tests of pagers collide, as they share a file."""

JINJA2 = Package(
    name="jinja2==3.1.6", tests="tests", requirements=("pytest<9.1", "trio"), own_package="jinja2"
)
MARSHMALLOW = Package(
    name="marshmallow==4.1.0",
    tests="tests",
    requirements=("pytest<9.1", "simplejson"),
    folders=(".",),  # Those below are checked by mypy, and hold no tests.
    own_package="marshmallow",
)
WERKZEUG = Package(
    name="werkzeug==3.1.4",
    tests="tests",
    requirements=("pytest<9.1", "pytest-timeout", "ephemeral-port-reserve", "cryptography", "watchdog"),
    left_out=("test_serving.py",),
    own_package="werkzeug",
    pytest_options=("-p", "timeout"),
)
MAKO = Package(name="mako==1.3.10", tests="test", requirements=("pytest<9.1", "babel", "dogpile.cache"))
NETWORKX = Package(
    name="networkx==3.6",
    tests="networkx",
    requirements=("pytest<9.1", "numpy", "scipy", "pandas"),
    draw=90,
    own_package="networkx",
)
SQLALCHEMY = Package(
    name="sqlalchemy==2.0.44",
    tests="test",
    requirements=("pytest<9.1",),
    folders=("base", "engine", "ext"),
    own_package="sqlalchemy",
    refused=(
        ("rstest", "sqlalchemy's plugin takes it for pytest-xdist and stops: KeyError 'follower_ident'"),
    ),
)
PANDAS_SERIES = Package(
    name="pandas==3.1.1",
    tests="pandas/tests/series",
    requirements=("pytest<9.1", "hypothesis", "numpy", "python-dateutil"),
    archive="wheel",
    own_package="pandas",
)
PANDAS_SERIES_WITHOUT_BYTECODE = replace(PANDAS_SERIES, writes_bytecode=False)
SCIKIT_LEARN = Package(
    name="scikit-learn==1.9.1",
    tests="sklearn",
    requirements=("pytest<9.1", "numpy", "scipy", "joblib", "narwhals", "threadpoolctl"),
    archive="wheel",
    folders=(
        "compose/tests",
        "cross_decomposition/tests",
        "feature_extraction/tests",
        "feature_selection/tests",
        "frozen/tests",
        "preprocessing/tests",
    ),
    left_out=("test_data.py", "test_from_model.py", "test_rfe.py", "test_sequential.py"),
    own_package="sklearn",
)
SCIPY = Package(
    name="scipy==1.17.1",
    tests="scipy",
    requirements=("pytest<9.1", "hypothesis", "numpy"),
    archive="wheel",
    folders=(
        "cluster/tests",
        "constants/tests",
        "fft/tests",
        "integrate/_ivp/tests",
        "io/tests",
        "sparse/csgraph/tests",
    ),
    own_package="scipy",
)
SYMPY = Package(
    name="sympy==1.14.0",
    tests="sympy",
    requirements=("pytest<9.1", "hypothesis", "mpmath"),
    folders=(
        "discrete/tests",
        "liealgebras/tests",
        "logic/tests",
        "multipledispatch/tests",
        "sets/tests",
        "strategies/tests",
        "unify/tests",
    ),
    own_package="sympy",
    environment=((FAST_MARK, "not slow and not tooslow"),),
)
PYDANTIC = Package(
    name="pydantic==2.14.4",
    tests="tests",
    requirements=(
        "pytest<9.1",
        "pytest-mock",
        "pytest-benchmark",
        "pytest-run-parallel",
        "dirty-equals",
        "faker",
        "jsonschema",
        "packaging",
        "pytz",
        "email-validator",
    ),
    folders=(".",),
    left_out=("test_docs.py", "test_plugins.py"),
    own_package="pydantic",
    pytest_options=("-p", "pytest_mock", "-p", "benchmark", "-p", "pytest_run_parallel.plugin"),
    # Some tests are parametrized by sets, whose order must be the same in all workers of pytest-xdist.
    environment=(("PYTHONHASHSEED", "0"),),
)
DJANGO_REST_FRAMEWORK = Package(
    name="djangorestframework==3.18.3",
    tests="tests",
    requirements=(
        "pytest<9.1",
        "pytest-django>=4.5.2,<5",
        "dj-database-url",
        "importlib-metadata<10",
        "markdown",
        "pygments",
        "django-filter",
        "django-guardian",
        "inflection",
    ),
    own_package="rest_framework",
    pytest_options=("-p", "django"),
)
ATTRS = Package(
    name="attrs==26.1.0",
    tests="tests",
    requirements=("pytest<9.1", "hypothesis", "pympler", "cloudpickle"),
    folders=(".",),
    own_package="attr",
    pytest_options=("-p", "_hypothesis_pytestplugin"),
)
STARLETTE = Package(
    name="starlette==1.10.0",
    tests="tests",
    requirements=(
        "pytest<9.1",
        "trio",
        "httpx",
        "httpx2[zstd]",
        "itsdangerous",
        "jinja2",
        "python-multipart",
        "pyyaml",
        "blockbuster",
        "opentelemetry-sdk",
    ),
    own_package="starlette",
    pytest_options=("-p", "anyio"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSuite:
    """A package's tests, ready to run.

    Args:
        name: the package and its version.
        root: its source.
        interpreter: the Python of its environment.
        files: its test files, relative to the root.
    """

    name: str
    root: Path
    interpreter: Path
    files: tuple[str, ...]


def write_suite(
    folder: Path, package: Package, *, added: Sequence[str] = (), environment: str = "environment"
) -> SourceSuite:
    """Return a package's suite; download, unpack and install it below `folder` where that was not done.

    Args:
        folder: where everything is kept.
        package: which.
        added: further requirements.
        environment: the name of its environment's folder, another one for other requirements.

    Raises:
        subprocess.CalledProcessError: pip failed; its output has been printed.
    """
    root = source_of(folder, package)
    requirements = (*package.requirements, *added, *(() if package.archive == "wheel" else (str(root),)))
    interpreter = ensure_environment(folder / package.name / environment, requirements)
    files = test_files(root, package)
    return SourceSuite(name=package.name, root=root, interpreter=interpreter, files=files)


def test_files(root: Path, package: Package) -> tuple[str, ...]:
    """Return a package's test files that are run, relative to the root of its source."""
    tests = root / package.tests
    found = [path for name in package.folders for path in (tests / name).glob("test_*.py")]
    files = sorted(
        str(path.relative_to(root))
        for path in (found if package.folders else tests.rglob("test_*.py"))
        if path.name not in package.left_out
    )
    return tuple(files)


def source_of(folder: Path, package: Package) -> Path:
    """Return the root of a package's source; download and unpack it below `folder` where that was not done.

    Raises:
        subprocess.CalledProcessError: pip failed; its output has been printed.
    """
    place = folder / package.name
    source = place / ("source" if package.writes_bytecode else "source-without-bytecode")
    if not source.exists():
        _unpack(package, place, source)
    if package.archive == "wheel":
        return source
    return next(path for path in sorted(source.iterdir()) if path.is_dir())


def draw_files(suite: SourceSuite, *, wanted: int, kept: Path, work: Path, seed: int) -> tuple[str, ...]:
    """Return some of a suite's files, drawn by seed out of those that pass alone within `LONGEST_S`.

    Args:
        suite: the suite.
        wanted: how many.
        kept: the file in which the choice is kept for the next time.
        work: a directory for the outputs of single runs.
        seed: of the draw.
    """
    if kept.exists():
        return tuple(json.loads(kept.read_text()))
    candidates = list(suite.files)
    random.Random(seed).shuffle(candidates)
    found: list[str] = []
    for file in candidates:
        outcome = run_pytest_alone(suite.interpreter, suite.root, file, work=work, timeout_s=LONGEST_S)
        if outcome is not None and outcome.exit_code == 0 and outcome.counts.get("passed"):
            found.append(file)
            print(f"\r{len(found)} of {wanted} files chosen", end="", flush=True)
        if len(found) == wanted:
            break
    print()
    kept.write_text(json.dumps(sorted(found)))
    return tuple(sorted(found))


def _unpack(package: Package, place: Path, source: Path) -> None:
    """Download a package's archive, unless it is there, and unpack it as `source`."""
    name = package.name.partition("==")[0]
    download, unpacking = place / "download", place / "unpacking"
    if not download.exists():
        kind = "--only-binary" if package.archive == "wheel" else "--no-binary"
        pip = [str(base_interpreter()), "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        subprocess.run([*pip, "--no-deps", kind, name, "--dest", str(download), package.name], check=True)
    archive = next(path for path in download.iterdir() if path.suffix in (".whl", ".gz"))
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(unpacking)
        _put_settings(unpacking, package)
        if package.writes_bytecode:
            # As pip does, so that no run pays for the first import of the package.
            compiling = [str(base_interpreter()), "-m", "compileall", "-q", str(unpacking)]
            subprocess.run(compiling, check=True)
    else:
        with tarfile.open(archive) as sdist:
            sdist.extractall(unpacking, filter="data")
    unpacking.rename(source)


def _put_settings(root: Path, package: Package) -> None:
    """Give the tree of a wheel the settings of its repository: without them no conftest is an initial one."""
    name = package.tests.partition("/")[0]
    settings = root / name / "pyproject.toml"
    if settings.exists():
        settings.rename(root / "pyproject.toml")
    else:
        (root / "pytest.ini").write_text(f"[pytest]\ntestpaths = {name}\n")
