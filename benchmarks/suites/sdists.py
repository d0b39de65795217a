"""Other people's suites: packages' own tests from their source distributions, run by pytest.

Each gets an environment with the package itself, installed from that source, and what its tests need.
"""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import base_interpreter, ensure_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package whose tests are run.

    Args:
        name: its name and version, as pip has it.
        tests: the folder of its tests, relative to its source.
        requirements: what they need besides the package.
        left_out: names of files that do not end when they are run by hand here, and why they are left out.
    """

    name: str
    tests: str
    requirements: tuple[str, ...]
    left_out: tuple[str, ...] = ()


PACKAGES = (
    Package(name="click==8.3.1", tests="tests", requirements=("pytest<9.1",)),
    Package(name="jinja2==3.1.6", tests="tests", requirements=("pytest<9.1", "trio")),
    Package(
        name="werkzeug==3.1.4",
        tests="tests",
        requirements=("pytest<9.1", "pytest-timeout", "ephemeral-port-reserve", "cryptography", "watchdog"),
        left_out=("test_serving.py",),
    ),
    Package(name="mako==1.3.10", tests="test", requirements=("pytest<9.1", "babel", "dogpile.cache")),
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


def write_suite(folder: Path, package: Package) -> SourceSuite:
    """Return a package's suite; download, unpack and install it below `folder` where that was not done.

    Raises:
        subprocess.CalledProcessError: pip failed; its output has been printed.
    """
    place = folder / package.name
    source = place / "source"
    if not source.exists():
        _unpack(package, place)
    root = next(path for path in sorted(source.iterdir()) if path.is_dir())
    interpreter = ensure_environment(place / "environment", (*package.requirements, str(root)))
    files = sorted(
        str(path.relative_to(root))
        for path in (root / package.tests).rglob("test_*.py")
        if path.name not in package.left_out
    )
    return SourceSuite(name=package.name, root=root, interpreter=interpreter, files=tuple(files))


def _unpack(package: Package, place: Path) -> None:
    name = package.name.partition("==")[0]
    pip = [str(base_interpreter()), "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    subprocess.run(
        [*pip, "--no-deps", "--no-binary", name, "--dest", str(place / "download"), package.name], check=True
    )
    archive = next((place / "download").glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(place / "unpacking", filter="data")
    (place / "unpacking").rename(place / "source")
