"""Evaluates the expressions of workflows in tests: exactly what our examples use, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.ci_place import UnknownFeatureError

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||[=!]=|[!(),]|[A-Za-z_][\w.-]*)")

STATUS_FUNCTIONS = ("always", "success", "failure", "cancelled")


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
    used_status: bool = field(default=False)

    def text(self, text: object) -> str:
        """Return a value of the file with its expressions replaced."""
        written = "" if text is None else str(text).lower() if isinstance(text, bool) else str(text)
        return _EXPRESSION.sub(lambda match: self._as_text(self._evaluate(match[1])), written)

    def condition(self, text: object) -> bool:
        """Return whether an `if` holds; without a status function, only while nothing has failed."""
        if text is None:
            return not self.has_failed
        self.used_status = False
        match = _EXPRESSION.fullmatch(str(text).strip())
        holds = bool(self._evaluate(match[1] if match else str(text)))
        return holds and (self.used_status or not self.has_failed)

    def _evaluate(self, expression: str) -> str | bool:
        tokens, end = [], 0
        while expression[end:].strip():
            match = _TOKEN.match(expression, end)
            if match is None:
                raise UnknownFeatureError(f"expression: {expression.strip()}")
            tokens.append(match[1])
            end = match.end()
        tokens.reverse()
        value = self._either(tokens)
        if tokens:
            raise UnknownFeatureError(f"expression: {expression.strip()}")
        return value

    def _either(self, tokens: list[str]) -> str | bool:
        value = self._both(tokens)
        while tokens and tokens[-1] == "||":
            tokens.pop()
            other = self._both(tokens)
            value = value or other
        return value

    def _both(self, tokens: list[str]) -> str | bool:
        value = self._compared(tokens)
        while tokens and tokens[-1] == "&&":
            tokens.pop()
            other = self._compared(tokens)
            value = value and other
        return value

    def _compared(self, tokens: list[str]) -> str | bool:
        value = self._single(tokens)
        if tokens and tokens[-1] in ("==", "!="):
            is_equal = tokens.pop() == "=="
            return (value == self._single(tokens)) is is_equal
        return value

    def _single(self, tokens: list[str]) -> str | bool:
        if not tokens:
            raise UnknownFeatureError("an expression that breaks off")
        token = tokens.pop()
        if token == "!":
            return not self._single(tokens)
        if token == "(":
            value = self._either(tokens)
            if not tokens or tokens.pop() != ")":
                raise UnknownFeatureError("a parenthesis that is not closed")
            return value
        if token[0] == "'":
            return token[1:-1].replace("''", "'")
        if tokens and tokens[-1] == "(":
            return self._call(token, self._arguments(tokens))
        if token not in self.values:
            raise UnknownFeatureError(f"in an expression: {token}")
        return self.values[token]

    def _arguments(self, tokens: list[str]) -> list[str]:
        found: list[str] = []
        tokens.pop()
        while tokens and tokens[-1] != ")":
            found.append(self._as_text(self._either(tokens)))
            if tokens and tokens[-1] == ",":
                tokens.pop()
        if not tokens:
            raise UnknownFeatureError("a call that is not closed")
        tokens.pop()
        return found

    def _call(self, name: str, arguments: list[str]) -> str | bool:
        functions: Mapping[str, Callable[..., str | bool]] = {
            "always": lambda: True,
            "success": lambda: not self.has_failed,
            "failure": lambda: self.has_failed and not self.is_cancelled,
            "cancelled": lambda: self.is_cancelled,
            "contains": lambda text, part: part in text,
            "fromJSON": lambda text: text,  # A matrix, whose reader takes it as JSON.
        }
        if name not in functions:
            raise UnknownFeatureError(f"function: {name}")
        self.used_status |= name in STATUS_FUNCTIONS
        return functions[name](*arguments)

    @staticmethod
    def _as_text(value: str | bool) -> str:
        return str(value).lower() if isinstance(value, bool) else value
