"""What the wheel and the source distribution hold, and what they say about themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from itertools import chain
from pathlib import Path

import pytest

from hatch_build import package_version
from tests.support.ci_python import REPOSITORY, build

PROGRAM = ("worker", "dispatcher", "run_tests.py", "run_ci_replica.py")
VERSION = package_version(REPOSITORY)
INFO = f"passmuster-{VERSION}.dist-info"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    wheel, sdist = build(tmp_path_factory.mktemp("dist"), "wheel", "sdist")
    return wheel, sdist


def in_git(*places: str) -> set[str]:
    """Return the files of the repository at these places, also those that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *places]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return {name for name in listed.stdout.splitlines() if (REPOSITORY / name).exists()}


def test_the_wheel_has_one_top_level_name(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        assert {name.split("/")[0] for name in wheel.namelist()} == {"passmuster", INFO}


def test_the_wheel_holds_the_package_and_the_program_and_nothing_else(built: tuple[Path, Path]) -> None:
    program = {f"passmuster/_program/{name}" for name in in_git(*PROGRAM)}

    with zipfile.ZipFile(built[0]) as wheel:
        held = {name for name in wheel.namelist() if not name.startswith(INFO)}

    assert held == in_git("passmuster") | program | {"passmuster/_program/__init__.py"}
    assert "passmuster/py.typed" in held


def test_all_that_the_wheel_imports_is_in_it_or_among_its_dependencies(built: tuple[Path, Path]) -> None:
    needed = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    imported_as = {"prometheus-client": "prometheus_client", "pyyaml": "yaml"}
    packages = {line.partition(">")[0] for line in needed}
    outside = {imported_as.get(package, package) for package in packages} | sys.stdlib_module_names

    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if name.endswith(".py")}
        modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names}
        unknown = {
            (name, module)
            for name in names
            if "/child/" not in name  # They run under the project's interpreter, and find each other by path.
            for module in imported(ast.parse(wheel.read(name)))
            if module not in modules and module.partition(".")[0] not in outside
        }

    assert unknown == set()


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_metadata_say_what_a_registry_shows(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        metadata = message_from_bytes(wheel.read(f"{INFO}/METADATA"))
        assert wheel.read(f"{INFO}/licenses/LICENSE") == (REPOSITORY / "LICENSE").read_bytes()

    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert metadata["Keywords"]


def test_the_source_distribution_holds_what_it_takes_to_build_and_read(built: tuple[Path, Path]) -> None:
    documents = in_git("docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")
    build_files = in_git("pyproject.toml", "hatch_build.py", "requirements", ".gitignore")

    with tarfile.open(built[1]) as sdist:
        held = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}

    assert held == in_git("passmuster", *PROGRAM) | documents | build_files | {"PKG-INFO"}


def test_a_wheel_of_the_source_distribution_is_the_same(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[1]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    [unpacked] = tmp_path.iterdir()

    [wheel] = build(tmp_path / "again", "wheel", source=unpacked)

    assert wheel.read_bytes() == built[0].read_bytes()


def test_a_registry_would_take_both(built: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
