"""Finds the test files whose verdict can differ from the shell script's, by their text.

The script ran `python FILE` and looked at the exit status, so a file that runs none of its tests passed.
Passmuster runs such tests, or reports `NO_TESTS`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from dispatcher.model.plan import TestFile
from passmuster.model.status import RunnerKind

_MAX_BYTES = 4 * 1024 * 1024
"""Larger files are no tests that a person wrote."""

_RUNS_TESTS = ("main", "run", "runmodule", "runner", "call", "check_call", "check_output", "popen", "system")
"""Parts of the names of functions that may run a file's tests."""

_NOT_RUN = "the old script ran none of its tests, Passmuster runs them"
_NO_TESTS = "the old script ran none of its tests, Passmuster reports NO_TESTS"


class VerdictChange(Struct, frozen=True, kw_only=True):
    """A file whose verdict can change, and why.

    Args:
        path: relative to the root.
    """

    path: str
    reason: str


def find_verdict_changes(root: Path, files: Iterable[TestFile]) -> tuple[VerdictChange, ...]:
    """Return the files that the shell script ran and whose verdict can be another one, in their order."""
    changes = []
    for file in files:
        reason = _read_reason(root / file.path, file.runner)
        if reason:
            changes.append(VerdictChange(path=file.path, reason=reason))
    return tuple(changes)


def _read_reason(path: Path, runner: RunnerKind) -> str:
    try:
        with path.open("rb") as file:
            source = file.read(_MAX_BYTES + 1)
    except OSError:
        return ""
    return verdict_reason(source, runner) if len(source) <= _MAX_BYTES else ""


def verdict_reason(source: bytes, runner: RunnerKind) -> str:
    """Return why a file's verdict can differ from the shell script's; empty: its text shows no reason.

    Args:
        runner: what runs the file, by the project's layout.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # It fails either way.
        return ""
    if not any(map(_is_test, ast.walk(tree))):
        return ""
    statements = [node for node in tree.body if not isinstance(node, _DEFINITIONS)]
    if any(_may_run_tests(node) for node in statements):
        return ""
    has_guard = any(isinstance(node, ast.If) and "__main__" in ast.dump(node.test) for node in statements)
    return _NO_TESTS if has_guard and runner is RunnerKind.AUTO else _NOT_RUN


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _is_test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")


def _may_run_tests(statement: ast.stmt) -> bool:
    """Return whether a statement of the module calls something that may run its tests."""
    return any(
        name.startswith("test") or any(part in name for part in _RUNS_TESTS)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        for name in _called(node)
    )


def _called(node: ast.Call) -> Iterator[str]:
    function = node.func
    if isinstance(function, ast.Name):
        yield function.id.lower()
    elif isinstance(function, ast.Attribute):
        yield function.attr.lower()
