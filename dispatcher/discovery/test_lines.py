"""Finds the test at a line of a file, by the file's text."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from passmuster.model.test_selection import SEPARATOR


def test_at(file: Path, line: int) -> str:
    """Return the test, or the class of tests, that a line of a file belongs to, as `Class::test`.

    Args:
        line: counted from 1.

    Raises:
        ValueError: the file cannot be read or parsed, or no test is there; the message says which lines hold
            tests.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be parsed to find line {line}: {error}") from error
    tests = list(_tests(tree.body, ""))
    around = [name for name, start, end in tests if start <= line <= end]
    if around:
        return around[-1]  # The innermost comes last.
    if not tests:
        raise ValueError(f"holds no test function or class, so none at line {line}")
    name, start, end = min(tests, key=lambda one: min(abs(one[1] - line), abs(one[2] - line)))
    raise ValueError(f"holds no test at line {line}; the nearest is {name}, lines {start} to {end}")


def _tests(statements: Iterable[ast.stmt], parent: str) -> Iterator[tuple[str, int, int]]:
    """Yield each test function and class with its first and last line, outer ones first."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            is_class = isinstance(statement, ast.ClassDef)
            name = f"{parent}{SEPARATOR}{statement.name}" if parent else statement.name
            start = min([statement.lineno, *(one.lineno for one in statement.decorator_list)])
            if is_class or statement.name.startswith("test"):
                yield name, start, statement.end_lineno or statement.lineno
            if is_class:
                yield from _tests(statement.body, name)
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _tests(statement.body, parent)
