"""Which installed modules a test file is found to need, through the project's own modules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.forkserver import scan as scanning
from worker.forkserver.file_imports import FileImports, preloadable, with_learned
from worker.forkserver.scan import Roots, Scanner, scan
from worker.forkserver.source import SourceAnalysis


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def scan(self, name: str, *, by_pytest: bool = False) -> FileImports:
        return Scanner(Roots(root=self.root)).scan(self.root / name, by_pytest=by_pytest)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path.resolve())


def test_own_modules_come_behind_the_installed_ones_that_they_import(project: Project) -> None:
    project.write("src/shop/__init__.py", "from shop.cart import Cart")
    project.write("src/shop/cart.py", "import sqlalchemy\nfrom . import money")
    project.write("src/shop/money.py", "import decimal\nfrom .deep.inner import x")
    project.write("src/shop/deep/__init__.py", "from .. import cart\nimport numpy")
    project.write("src/shop/deep/inner.py", "import pandas")
    project.write("tests/context.py", "import yaml")
    project.write("tests/test_a.py", "import os\nimport context\nfrom shop import cart\nimport re")

    needs = project.scan("tests/test_a.py")

    installed = ("os", "yaml", "sqlalchemy", "decimal", "numpy", "pandas", "re")
    assert tuple(name for name in needs.modules if name not in needs.own) == installed
    assert [name for name in needs.modules if name in needs.own] == ["context", "shop", "shop.cart"]
    assert needs.own["shop.cart"] == str(project.root / "src/shop/cart.py")
    assert needs.note == ""


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("tests/unit/shop.py", True),
        ("tests/shop.py", True),
        ("shop.py", True),
        ("src/shop.py", True),
        ("lib/shop.py", True),
        ("tests/unit/shop.cpython-311.so", True),
        ("tests/other/shop.py", False),
        ("shop/data.txt", False),
    ],
)
def test_own_modules_are_found_where_projects_keep_them(project: Project, place: str, found: bool) -> None:
    project.write(place)
    project.write("tests/unit/test_a.py", "import shop")

    needs = project.scan("tests/unit/test_a.py")

    assert ("shop" not in preloadable(needs, lambda name: False).modules) is found


def test_a_module_in_a_package_hides_none_from_its_neighbours(project: Project) -> None:
    project.write("src/shop/__init__.py", "import yaml")
    project.write("src/shop/yaml.py")
    project.write("tests/test_a.py", "import shop")

    assert project.scan("tests/test_a.py").modules == ("yaml", "shop")


def test_a_folder_without_init_is_own_only_for_what_is_in_it(project: Project) -> None:
    project.write("alembic/env.py", "import logging")
    project.write("test_a.py", "import alembic.command, alembic.env")

    needs = project.scan("test_a.py")

    assert needs.modules == ("alembic.command", "logging", "alembic.env")
    assert needs.own == {"alembic.env": str(project.root / "alembic/env.py")}


def test_folders_that_are_put_on_the_path_are_searched(project: Project) -> None:
    project.write("vendor/requests/__init__.py", "import ssl")
    project.write(
        "tests/test_a.py", "import sys\nsys.path.insert(0, join(HERE, '..', 'vendor'))\nimport requests"
    )

    assert project.scan("tests/test_a.py").modules == ("sys", "ssl", "requests")


def test_what_is_imported_behind_a_write_to_the_environment_depends_on_the_module_that_writes(
    project: Project,
) -> None:
    project.write("settings.py", "import json\nimport os\nos.environ['A'] = '1'\nimport numpy")
    project.write("helpers.py", "import settings\nimport scipy")
    project.write("test_a.py", "import re\nimport helpers\nimport pandas")

    needs = with_learned(project.scan("test_a.py"), ["learned"])
    without = preloadable(needs, lambda name: False)
    with_settings = preloadable(needs, lambda name: name == "settings")
    with_both = preloadable(needs, lambda name: True)

    assert needs.why_spawn == ""
    assert without.modules == ("re", "json", "os")
    assert with_settings.modules == ("re", "json", "os", "settings", "scipy")
    assert with_both.modules == (*with_settings.modules, "helpers", "pandas", "learned")
    assert {without.ends_at, with_settings.ends_at} == {"settings.py:3"}
    assert with_both.ends_at == ""


def test_what_a_conftest_or_the_file_itself_writes_no_module_of_a_server_carries(project: Project) -> None:
    project.write("conftest.py", "import re\n\ndef hook():\n    pass\n\nos.environ.update(A=x)\nimport one")
    project.write("test_a.py", "import two")
    project.write("test_b.py", "import two\nos.environ['A'] = '1'")

    by_conftest = project.scan("test_a.py", by_pytest=True)
    by_itself = with_learned(project.scan("test_b.py"), ["learned"])

    found = preloadable(by_conftest, lambda name: name != "/conftest.py")
    assert (found.modules, found.ends_at) == (("re",), "conftest.py:6")
    held = preloadable(by_conftest, lambda name: name == "/conftest.py")
    assert held.modules == ("re", "/conftest.py", "two")
    assert preloadable(by_itself, lambda name: "." not in name).modules == ("two",)


def test_under_pytest_conftests_and_packages_come_first(project: Project) -> None:
    project.write("conftest.py", "import one")
    project.write("tests/__init__.py", "import three")
    project.write("tests/conftest.py", "import two")
    project.write("tests/test_a.py", "import four")

    found = project.scan("tests/test_a.py", by_pytest=True)
    assert preloadable(found, lambda name: False).modules == ("one", "three", "two", "four")
    in_order = ("one", "/conftest.py", "three", "tests", "two", "/tests/conftest.py", "four")
    assert preloadable(found, lambda name: True).modules == in_order
    assert project.scan("tests/test_a.py").modules == ("four",)


def test_a_hostile_module_counts_wherever_it_is_imported(project: Project) -> None:
    project.write("shop.py", "import gevent")
    project.write("test_a.py", "import shop")

    assert project.scan("test_a.py").why_spawn.startswith("gevent")


def test_a_module_that_hides_one_of_pythons_forbids_forking(project: Project) -> None:
    project.write("beside/queue.py")
    project.write("beside/test_a.py", "import concurrent.futures")
    project.write("package/__init__.py")
    project.write("package/types.py")
    project.write("package/test_b.py")
    project.write("package/test_c.py", "if __name__ == '__main__': pass")
    project.write("test/__init__.py")

    assert project.scan("beside/test_a.py").why_spawn == "queue of beside hides the standard library's"
    assert project.scan("package/test_b.py").why_spawn == ""
    assert project.scan("package/test_c.py").why_spawn == "types of package hides the standard library's"

    project.write("json/__init__.py")
    assert project.scan("package/test_b.py").why_spawn == "json of . hides the standard library's"


def test_the_standard_library_does_not_hide_itself(project: Project) -> None:
    for name in ("os", "io", "abc", "codecs", "queue", "test/__init__", "test/test_a"):
        project.write(f"lib/{name}.py")

    assert project.scan("lib/test/test_a.py").why_spawn == ""


def test_the_walk_has_an_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MAX_MODULES", 5)
    for number in range(9):
        project.write(f"m{number}.py", f"import installed{number}\nimport m{number + 1}")
    project.write("test_a.py", "import m0")

    needs = project.scan("test_a.py")

    assert needs.modules[:5] == tuple(f"installed{number}" for number in range(5))
    assert "installed5" not in needs.modules
    assert needs.note == "more than 5 of its own modules"


def test_the_stamp_changes_with_any_file_behind_the_answer(project: Project) -> None:
    project.write("shop.py", "import inner")
    inner = project.write("inner.py", "import re")
    test = project.write("test_a.py", "import shop")
    project.write("unrelated.py")
    stamps = [project.scan("test_a.py").stamp]
    for path in (inner, test):
        os.utime(path, ns=(1, 1))
        stamps.append(project.scan("test_a.py").stamp)
    os.utime(project.root / "unrelated.py", ns=(1, 1))

    assert len(set(stamps)) == 3
    assert project.scan("test_a.py").stamp == stamps[-1]


@pytest.mark.parametrize("text", ["import (:", "\x00"])
def test_a_file_that_cannot_be_read_needs_nothing(project: Project, text: str) -> None:
    project.write("test_a.py", text)

    assert project.scan("test_a.py").modules == ()
    assert project.scan("test_a.py").note == "not readable"
    assert project.scan("nowhere.py").note == "not readable"


def test_files_are_read_once_and_not_at_all_when_they_are_known(project: Project) -> None:
    class Cache:
        def __init__(self) -> None:
            self.known: dict[tuple[str, int, int], SourceAnalysis] = {}
            self.put_names: list[str] = []

        def get(self, path: str, size: int, mtime_ns: int) -> SourceAnalysis | None:
            return self.known.get((path, size, mtime_ns))

        def put(self, path: str, size: int, mtime_ns: int, source: SourceAnalysis) -> None:
            self.known[path, size, mtime_ns] = source
            self.put_names.append(Path(path).name)

    project.write("shop.py", "import numpy")
    for name in ("test_a.py", "test_b.py"):
        project.write(name, "import shop")
    cache = Cache()
    scanner = Scanner(Roots(root=project.root), cache)

    first = [scanner.scan(name) for name in ("test_a.py", "test_b.py")]
    again = [Scanner(Roots(root=project.root), cache).scan(name) for name in ("test_a.py", "test_b.py")]

    assert sorted(cache.put_names) == ["shop.py", "test_a.py", "test_b.py"]
    assert first == again


def test_what_was_learned_comes_last_and_own_modules_where_they_are_imported(project: Project) -> None:
    project.write("shop.py", "import re")
    path = project.write("test_a.py", "import shop, numpy")

    needs = with_learned(scan(path, Roots(root=project.root)), ["pandas", "re"])

    assert preloadable(needs, lambda name: name == "shop").modules == ("re", "shop", "numpy", "pandas")
    assert preloadable(needs, lambda name: False).modules == ("re", "numpy", "pandas")
