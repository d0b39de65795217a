"""What every module of ours has: a docstring, a size that can be read, a name that says something."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

PLACES = ("passmuster", "worker", "dispatcher", "tests", "benchmarks", "scripts", "examples")
FOREIGN = ("tests/fixtures", "benchmarks/suites")
"""Code that plays a user's: it may be as bad as it likes."""

PACKAGES = ("passmuster", "worker", "dispatcher", "run_tests.py", "run_ci_replica.py")

MAX_LINES = 600
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "misc"}


def modules(root: Path) -> Iterator[Path]:
    """Yield every Python file of ours below `root`."""
    files = [path for place in PLACES for path in (root / place).rglob("*.py")]
    for path in sorted([*files, *root.glob("*.py")]):
        if not any(path.is_relative_to(root / place) for place in FOREIGN):
            yield path


def violations(root: Path) -> list[str]:
    """Return what is wrong with the files below `root`, as `file: what is wrong`."""
    found: list[str] = []
    for path in modules(root):
        name = path.relative_to(root).as_posix()
        content = path.read_bytes()
        tree = ast.parse(content, filename=name)
        found.extend(f"{name}: {text}" for text in _wrong_file(path, name, content, tree))
        if name.startswith(PACKAGES):
            found.extend(f"{name}: {text}" for text in _wrong_classes(tree))
    return found


def _wrong_file(path: Path, name: str, content: bytes, tree: ast.Module) -> Iterator[str]:
    lines = len(content.splitlines())
    if lines > MAX_LINES:
        yield f"{lines} lines, more than {MAX_LINES}"
    # The tests of an ordinary project carry none, and the example is to look like one.
    if not name.startswith("examples/shop/tests/") and not ast.get_docstring(tree):
        yield "no docstring"
    if path.stem in EMPTY_NAMES or path.parent.name in EMPTY_NAMES:
        yield "its name says nothing about what is in it"
    if path.name == "__init__.py" and len(tree.body) > 1:
        yield "an __init__.py holds a docstring only"


def _wrong_classes(tree: ast.Module) -> Iterator[str]:
    """Yield the classes that pytest would try to collect where a test imports them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test") and not _opts_out(node):
            yield f"class {node.name} lacks `__test__ = False`"


def _opts_out(node: ast.ClassDef) -> bool:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        if any(isinstance(target, ast.Name) and target.id == "__test__" for target in targets):
            return isinstance(value, ast.Constant) and value.value is False
    return False


def test_every_module_of_ours_is_in_order() -> None:
    assert violations(REPOSITORY) == []


def test_the_checks_see_the_packages() -> None:
    names = {path.relative_to(REPOSITORY).as_posix() for path in modules(REPOSITORY)}

    assert {
        "passmuster/model/task.py",
        "worker/executor/local.py",
        "run_tests.py",
        "scripts/compare_counts.py",
    } <= names


LONG = '"""Long."""\n' + "x = 1\n" * MAX_LINES


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        ("worker/executor/local.py", "x = 1", "no docstring"),
        ("tests/unit/test_long.py", LONG, "601 lines, more than 600"),
        ("run_tests.py", "x = 1", "no docstring"),
        ("worker/utils.py", '"""Things."""', "its name says nothing"),
        ("dispatcher/common/queue.py", '"""Things."""', "its name says nothing"),
        ("worker/__init__.py", '"""Works."""\nimport os', "a docstring only"),
        ("dispatcher/model/plan.py", '"""Plan."""\nclass TestFile:\n    x = 1', "class TestFile lacks"),
        (
            "dispatcher/model/plan.py",
            '"""Plan."""\nclass TestFile:\n    __test__ = True',
            "class TestFile lacks",
        ),
    ],
)
def test_what_is_not_in_order_is_found(tmp_path: Path, name: str, code: str, complaint: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)

    [found] = violations(tmp_path)

    assert found.startswith(f"{name}: ")
    assert complaint in found


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("dispatcher/model/plan.py", '"""Plan."""\nclass TestFile:\n    __test__: ClassVar[bool] = False'),
        ("dispatcher/model/plan.py", '"""Plan."""\nclass TestFile:\n    __test__ = False'),
        ("tests/unit/test_x.py", '"""Tests."""\nclass TestX:\n    pass'),
        ("tests/fixtures/utils.py", "x = 1"),
        ("examples/shop/tests/test_x.py", "x = 1"),
    ],
)
def test_what_is_in_order_is_not_found(tmp_path: Path, name: str, code: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(code)

    assert violations(tmp_path) == []
