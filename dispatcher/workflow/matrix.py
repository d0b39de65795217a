"""The combinations of a job's matrix, in the order of CI. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from dispatcher.workflow.node import Node, as_text

MOST_JOBS = 256
"""As many as CI allows."""

Combination = dict[str, object]


def combinations(matrix: Node) -> tuple[Combination, ...] | None:
    """Return every combination of a matrix; None: an expression makes it, so nothing is known.

    Args:
        matrix: what stands under `matrix`; nothing: one combination of nothing.

    Raises:
        ConfigurationError: it has another shape than a matrix has.
    """
    if not matrix.is_there:
        return ({},)
    if matrix.is_text:
        return None
    axes: dict[str, list[object]] = {}
    extra: dict[str, tuple[Combination, ...]] = {"include": (), "exclude": ()}
    for name, node in matrix.items():
        if node.is_text and node.is_there:
            return None
        if name in extra:
            extra[name] = tuple(
                {key: value.value for key, value in element.items()} for element in node.elements()
            )
        else:
            axes[name] = [element.value for element in node.elements()]
    product = itertools.islice(itertools.product(*axes.values()), MOST_JOBS) if axes else ()
    originals = [dict(zip(axes, values, strict=True)) for values in product]
    kept = [one for one in originals if not any(_holds(one, wanted) for wanted in extra["exclude"])]
    return tuple(_with_included(kept, extra["include"])) or ({},)


def described(combination: Combination) -> str:
    """Return a combination for people: `os=ubuntu-latest, python=3.12`."""
    return ", ".join(
        f"{name}={value if isinstance(value, dict | list) else as_text(value)}"
        for name, value in combination.items()
    )


def _with_included(originals: list[Combination], included: Iterable[Combination]) -> list[Combination]:
    """Return the combinations after `include`: one adds to those whose own values it does not change."""
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
