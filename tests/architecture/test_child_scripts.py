"""What runs under a Python that is not ours: child scripts under the project's, doors under any at all."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

FOLDERS = ("worker/child", "dispatcher/coverage/child", "dispatcher/discovery/child")
PREFIX = "passmuster_child_"
OLDEST = (3, 9)

ONLY_INSIDE = {"coverage", "pytest", "_pytest", "pluggy"}
"""Packages of the project's own that a function may import when it was asked to use them."""

NEWER_THAN_OLDEST = {"tomllib"}
"""Modules of the standard library that Python 3.9 does not have."""

DOORS = (
    "run_tests.py",
    "run_ci_replica.py",
    "scripts/test",
    "scripts/check",
    "passmuster/launch/bootstrap.py",
    "passmuster/launch/environment.py",
)
OLDEST_AT_THE_DOOR = (3, 6)
"""Such an old Python must still be able to read the doors, to be told in one line that it is too old."""


def violations(root: Path) -> list[str]:
    """Return what is wrong with the child scripts below `root`, as `file: what is wrong`."""
    found: list[str] = []
    for path in (path for folder in FOLDERS for path in sorted((root / folder).glob("*.py"))):
        name = path.relative_to(root).as_posix()
        if path.name == "__init__.py":
            continue
        if not path.name.startswith(PREFIX):
            found.append(f"{name}: its name may collide with a module of the project")
        try:
            tree = ast.parse(path.read_bytes(), filename=name, feature_version=OLDEST)
        except SyntaxError as error:
            found.append(f"{name}:{error.lineno}: Python 3.9 cannot read this")
            continue
        found.extend(f"{name}:{line}: {text}" for line, text in _wrong_imports(tree))
    return found


def _wrong_imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node, is_lazy in _imports(tree, is_lazy=False):
        modules = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        for module in modules:
            top = module.partition(".")[0]
            if top.startswith(PREFIX) or (is_lazy and top in ONLY_INSIDE):
                continue
            if top not in sys.stdlib_module_names or top in NEWER_THAN_OLDEST:
                yield node.lineno, f"imports {module}"


def _imports(node: ast.AST, *, is_lazy: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield each import that is ever executed, and whether only a function executes it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, is_lazy
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            inside = is_lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(child, is_lazy=inside)


def test_every_child_script_runs_under_the_projects_interpreter() -> None:
    assert violations(REPOSITORY) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_there_are_child_scripts_to_check(folder: str) -> None:
    assert list((REPOSITORY / folder).glob(f"{PREFIX}*.py"))


@pytest.mark.parametrize("name", DOORS)
def test_an_old_python_can_read_the_door_and_be_refused(name: str) -> None:
    code = (REPOSITORY / name).read_bytes()
    tree = ast.parse(code, filename=name, feature_version=OLDEST_AT_THE_DOOR)

    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert futures == [], "Python 3.6 knows no annotations from __future__"


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        ("passmuster_child_x.py", "import worker.errors", "imports worker.errors"),
        ("passmuster_child_x.py", "def f():\n    from passmuster import units", "imports passmuster"),
        ("passmuster_child_x.py", "import coverage", "imports coverage"),
        ("passmuster_child_x.py", "def f():\n    import numpy", "imports numpy"),
        ("passmuster_child_x.py", "import tomllib", "imports tomllib"),
        ("passmuster_child_x.py", "match 1:\n    case 1: pass", "Python 3.9 cannot read this"),
        ("report.py", "import os", "its name may collide"),
    ],
)
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_child_script_that_would_not_run_is_found(
    tmp_path: Path, folder: str, name: str, code: str, complaint: str
) -> None:
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True)
    path.write_text(code)

    [found] = violations(tmp_path)

    assert found.startswith(f"{folder}/{name}:")
    assert complaint in found


def test_a_child_script_may_import_its_kind_and_what_it_was_asked_to_use(tmp_path: Path) -> None:
    path = tmp_path / FOLDERS[0] / "passmuster_child_x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import os, passmuster_child_report\nif TYPE_CHECKING:\n    import coverage\n"
        "def f():\n    import coverage, pytest\n"
    )

    assert violations(tmp_path) == []
