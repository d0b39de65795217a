"""Small faults in a package's modules, drawn by seed, each a change of one expression in the source text.

Nothing else in the module changes, neither comments nor line numbers: a tool that compares parts of modules
sees only the fault.
"""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.And: ast.Or,
}
"""Operators, each with the one that takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Args:
        module: the file.
        line: where the expression begins.
        source: the whole text of the module with the fault.
    """

    module: Path
    line: int
    source: bytes


def draw_faults(folders: Sequence[Path], *, seed: int) -> Iterator[Fault]:
    """Yield faults in the modules below folders, their tests left out, without end; some may be equal.

    The same folders and seed give the same faults.
    """
    found = {path for folder in folders for path in folder.rglob("*.py") if "tests" not in path.parts}
    modules = sorted(found)
    drawn = random.Random(seed)
    while True:
        module = drawn.choice(modules)
        source = module.read_bytes()
        changes = list(_changes(ast.parse(source)))
        if changes:
            expression, text = drawn.choice(changes)
            faulty = _replaced(source, expression, text)
            if _is_valid(faulty):
                yield Fault(module=module, line=expression.lineno, source=faulty)


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Yield each expression that can be replaced, with the text that takes its place."""
    if isinstance(node, ast.JoinedStr):
        return  # Before Python 3.12, the places of expressions in it are wrong.
    if (change := _change(node)) is not None:
        yield change
    for child in ast.iter_child_nodes(node):
        yield from _changes(child)


def _change(node: ast.AST) -> tuple[ast.expr, str] | None:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPS:
            compared = copy.copy(node)
            compared.ops = [SWAPS[type(operator)]()]  # type: ignore[list-item]
            return node, ast.unparse(compared)
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator) in SWAPS:
            combined = copy.copy(node)
            combined.op = SWAPS[type(operator)]()  # type: ignore[assignment]
            return node, ast.unparse(combined)
        case ast.Constant(value=bool() as value):
            return node, repr(not value)
        case ast.Constant(value=int() as value):
            return node, repr(value + 1)
        case ast.Return(value=ast.expr() as value):
            return value, "None"
        case ast.If(test=test):
            return test, f"not ({ast.unparse(test)})"
    return None


def _replaced(source: bytes, expression: ast.expr, text: str) -> bytes:
    """Return a source in which a text has taken the place of an expression, on as many lines."""
    lines = source.splitlines(keepends=True)
    last = expression.end_lineno or expression.lineno
    begin = sum(map(len, lines[: expression.lineno - 1])) + expression.col_offset
    end = sum(map(len, lines[: last - 1])) + (expression.end_col_offset or 0)
    lines_below = "\n" * (last - expression.lineno)
    return source[:begin] + f"({text}{lines_below})".encode() + source[end:]


def _is_valid(source: bytes) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
