"""Evaluates simple expressions of a workflow, and lists the combinations of a job's matrix. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from dispatcher.replica.node import Node, as_text

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")
_MARK = re.compile("\ue000([0-9]+)\ue001")


class Unknowns(Struct):
    """Parts of texts whose value is unknown here; each is a mark of two private characters in its text."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """Return the mark that now represents a part."""
        self.texts.append(" ".join(text.split()))
        return f"\ue000{len(self.texts) - 1}\ue001"

    def are_in(self, text: str) -> bool:
        """Return whether a text contains such a part."""
        return _MARK.search(text) is not None

    def restore(self, text: str) -> str:
        """Return a text with its unknown parts as they were written."""
        return _MARK.sub(lambda match: self.texts[int(match[1])], text)


class Context(Struct, frozen=True, kw_only=True):
    """The values that expressions may use.

    Args:
        env: the known variables that the workflow has set so far.
    """

    workspace: str
    env: Mapping[str, str] = field(default_factory=dict)
    matrix: Mapping[str, object] = field(default_factory=dict)
    job_index: int = 0
    job_total: int = 1


def evaluate(text: str, context: Context, unknowns: Unknowns) -> str:
    """Return a text with its expressions replaced: by their values, or by marks of `unknowns`."""

    def replaced(match: re.Match[str]) -> str:
        value = _value(match[1].strip(), context)
        return unknowns.mark(match[0]) if value is None else value

    return _EXPRESSION.sub(replaced, text)


def _value(expression: str, context: Context) -> str | None:
    """Return the value of an expression; None: it is not one of the simple ones."""
    if not _NAME.fullmatch(expression):
        return None
    scope, _, name = expression.partition(".")
    match scope.lower():
        case "env":
            return context.env.get(name)
        case "matrix":
            return _in_matrix(name, context.matrix)
    return {
        "github.workspace": context.workspace,
        "runner.os": "Linux",
        "strategy.job-index": str(context.job_index),
        "strategy.job-total": str(context.job_total),
    }.get(expression.lower())


def _in_matrix(name: str, matrix: Mapping[str, object]) -> str | None:
    found: object = matrix
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            # As in CI, a name that only other combinations have is empty.
            return "" if found is matrix and matrix else None
        found = found[part]
    return None if isinstance(found, dict | list) else as_text(found)


MAX_JOBS = 256
"""As many as CI allows."""

Combination = dict[str, object]


def combinations(matrix: Node) -> tuple[Combination, ...] | None:
    """Return every combination of a matrix; None: an expression makes it, so it is unknown.

    Args:
        matrix: the value under `matrix`; if missing, there is one empty combination.

    Raises:
        ConfigurationError: it does not have the shape of a matrix.
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
    product = itertools.islice(itertools.product(*axes.values()), MAX_JOBS) if axes else ()
    originals = [dict(zip(axes, values, strict=True)) for values in product]
    kept = [one for one in originals if not any(_holds(one, wanted) for wanted in extra["exclude"])]
    return tuple(_with_included(kept, extra["include"])) or ({},)


def format_combination(combination: Combination) -> str:
    """Return a combination for people: `os=ubuntu-latest, python=3.12`."""
    return ", ".join(
        f"{name}={value if isinstance(value, dict | list) else as_text(value)}"
        for name, value in combination.items()
    )


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
