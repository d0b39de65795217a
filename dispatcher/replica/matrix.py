"""Lists the combinations of a job's matrix, in CI's order. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from dispatcher.replica.expressions import UNKNOWN, Context, Unknown, evaluate_expression, single_expression
from dispatcher.replica.node import Node, as_text

MAX_JOBS = 256
"""As many as CI allows."""

Combination = dict[str, object]


def combinations(matrix: Node, context: Context) -> tuple[Combination, ...] | None:
    """Return every combination of a matrix; None: an expression makes it, and only CI knows its value.

    Args:
        matrix: the value under `matrix`; if missing, there is one empty combination. An axis that only CI
            knows has a single value, `UNKNOWN`.

    Raises:
        ConfigurationError: it does not have the shape of a matrix.
    """
    matrix = _evaluated(matrix, context)
    if not matrix.is_there:
        return ({},)
    if matrix.is_text:
        return None
    axes: dict[str, list[object]] = {}
    extra: dict[str, tuple[Combination, ...]] = {"include": (), "exclude": ()}
    for name, written in matrix.items():
        node = _evaluated(written, context)
        if name in extra:
            if node.is_text and node.is_there:
                return None
            extra[name] = tuple(
                {key: value.value for key, value in element.items()} for element in node.elements()
            )
        elif node.is_text and node.is_there:
            axes[name] = [UNKNOWN]
        else:
            axes[name] = [element.value for element in node.elements()]
    product = itertools.islice(itertools.product(*axes.values()), MAX_JOBS) if axes else ()
    originals = [dict(zip(axes, values, strict=True)) for values in product]
    kept = [one for one in originals if not any(_holds(one, wanted) for wanted in extra["exclude"])]
    return tuple(_with_included(kept, extra["include"])) or ({},)


def _evaluated(node: Node, context: Context) -> Node:
    """Return the list or mapping that an expression makes, or the node itself."""
    expression = single_expression(node.text()) if node.is_text else None
    value = None if expression is None else evaluate_expression(expression, context)
    return Node(value=value, where=node.where) if isinstance(value, list | dict) else node


def format_combination(combination: Combination) -> str:
    """Return a combination for people: `os=ubuntu-latest, python=3.12`."""
    return ", ".join(f"{name}={_shown(value)}" for name, value in combination.items())


def _shown(value: object) -> str:
    if isinstance(value, Unknown):
        return "unknown"
    return str(value) if isinstance(value, dict | list) else as_text(value)


def _with_included(originals: list[Combination], included: Iterable[Combination]) -> list[Combination]:
    """Return the combinations after `include`: an entry extends those whose own values it does not change."""
    made = [dict(one) for one in originals]
    further: list[Combination] = []
    for addition in included:
        fitting = [
            whole
            for own, whole in zip(originals, made, strict=True)
            if all(own[name] == value for name, value in addition.items() if name in own)
        ]
        for whole in fitting:
            whole.update(addition)
        if not fitting:
            further.append(dict(addition))
    return [*made, *further]


def _holds(combination: Combination, wanted: Combination) -> bool:
    return all(combination.get(name) == value for name, value in wanted.items())
