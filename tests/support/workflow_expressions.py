"""The expressions of workflows in tests: evaluated by the replica, and refused if a value is unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dispatcher.replica.expressions import (
    Context,
    Unknowns,
    assume_condition,
    evaluate,
    evaluate_expression,
    single_expression,
)
from dispatcher.replica.node import as_text
from tests.support.ci_place import UnknownFeatureError

_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_STATUS = re.compile(r"\b(always|success|failure|cancelled)\(\)")
_INPUT = re.compile(r"\b(?:inputs|matrix)\.[\w-]+")


@dataclass(kw_only=True)
class Scope:
    """What expressions may ask for.

    Args:
        values: by the whole name, such as `matrix.shard`.
        has_failed: whether something before has failed, for the status functions.
        is_cancelled: whether the job was cancelled, which also counts as failed.
    """

    values: Mapping[str, str]
    has_failed: bool = False
    is_cancelled: bool = False

    def text(self, text: object) -> str:
        """Return a value of the file with its expressions replaced."""
        unknowns = Unknowns()
        written = _EXPRESSION.sub(lambda match: self._with_status(match[0]), as_text(text))
        found = evaluate(written, self._context, unknowns)
        if unknowns.texts:
            raise UnknownFeatureError(f"expression: {unknowns.texts[0]}")
        return found

    def items(self, text: str) -> list[object]:
        """Return the list that a single expression gives."""
        found = evaluate_expression(single_expression(text) or "", self._context)
        if not isinstance(found, list):
            raise UnknownFeatureError(f"expression: {text}")
        return found

    def condition(self, text: object) -> bool:
        """Return whether an `if` holds; without a status function, only while nothing has failed."""
        if text is None:
            return not self.has_failed
        truth = assume_condition(self._with_status(as_text(text)), self._context)
        if truth is None:
            raise UnknownFeatureError(f"condition: {text}")
        return truth and (not self.has_failed or _STATUS.search(as_text(text)) is not None)

    def _with_status(self, expression: str) -> str:
        """Return an expression with the values of its status functions; the replica assumes a green run."""
        missing = set(_INPUT.findall(expression)) - self.values.keys()
        if missing:  # Empty for the replica, and here a misspelled name.
            raise UnknownFeatureError(f"in an expression: {', '.join(sorted(missing))}")
        states = {
            "always": True,
            "success": not self.has_failed,
            "failure": self.has_failed and not self.is_cancelled,
            "cancelled": self.is_cancelled,
        }
        return _STATUS.sub(lambda match: as_text(states[match[1]]), expression)

    @property
    def _context(self) -> Context:
        scopes: dict[str, dict[str, object]] = {}
        for name, value in self.values.items():
            first, *middle, last = name.split(".")
            place = scopes.setdefault(first, {})
            for part in middle:
                inner = place.setdefault(part, {})
                assert isinstance(inner, dict)
                place = inner
            place[last] = value
        return Context(scopes=scopes)
