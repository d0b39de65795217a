"""Evaluates the expressions of a workflow as far as their values are known here. Pure.

The language is that of GitHub: https://docs.github.com/actions/reference/workflows-and-actions/expressions.
An operand that only CI knows, such as a secret or the output of a step, makes the value `Unknown`.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from dispatcher.replica.node import as_text

_EXPRESSION = re.compile(
    # An apostrophe starts a string unless the rest is then not closed. Were it not decided at once, the time
    # would double with every second apostrophe of an expression that is not closed.
    r"\$\{\{((?:'[^']*'(?=.*\}\})|[^']|'(?![^']*'.*\}\}))*?)\}\}",
    re.DOTALL,
)
_MARK = re.compile("\ue000([0-9]+)\ue001")
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^']|'')*')
      | (?P<number>-?(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?))
      | (?P<name>[A-Za-z_][\w-]*)
      | (?P<operator>==|!=|<=|>=|&&|\|\||[!<>()\[\].,*]))""",
    re.VERBOSE,
)
_PRECEDENCE = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="))
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS: dict[str, object] = {"true": True, "false": False, "null": None}
_MAX_DEPTH = 50
"""Nested parentheses and operators: more is no expression of a workflow."""


class Unknowns(Struct):
    """Parts of texts whose value is unknown here; each is a mark of two private characters in its text."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """Return the mark that now represents a part."""
        self.texts.append(" ".join(text.split()))
        return f"\ue000{len(self.texts) - 1}\ue001"

    @staticmethod
    def are_in(text: str) -> bool:
        """Return whether a text contains such a part."""
        return _MARK.search(text) is not None

    def expressions_in(self, text: str) -> tuple[str, ...]:
        """Return the expressions of the workflow whose value is unknown in a text, as they were written."""
        found = (self.texts[int(number)] for number in _MARK.findall(text))
        return tuple(dict.fromkeys(one for one in found if one.startswith("${{")))

    def restore(self, text: str) -> str:
        """Return a text with its unknown parts as they were written."""
        return _MARK.sub(lambda match: self.texts[int(match[1])], text)


class Unknown(Struct, frozen=True):
    """A value that only CI knows."""


UNKNOWN = Unknown()


class Context(Struct, frozen=True, kw_only=True):
    """The values that expressions may use.

    Args:
        scopes: the known values by the first name of an expression (`env`, `matrix`, `inputs`), nested. A
            name that is missing there is unknown, except in a matrix and among inputs: it is empty.
        assumed: what earlier conditions were assumed to be, by their text: exclusive steps do not both run.
    """

    scopes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    assumed: dict[str, bool] = field(default_factory=dict)

    def with_scope(self, name: str, values: Mapping[str, object]) -> Context:
        """Return a context in which a scope has other values."""
        return Context(scopes={**self.scopes, name: values}, assumed=self.assumed)


class Term(Struct, frozen=True):
    """A part of a parsed expression.

    Args:
        kind: an operator, or `literal`, `name`, `index`, `call`.
        text: the part in one spelling, by which assumptions are found again.
        value: of a literal; or the name.
    """

    kind: str
    text: str
    value: object = None
    terms: tuple[Term, ...] = ()


def evaluate(text: str, context: Context, unknowns: Unknowns) -> str:
    """Return a text with its expressions replaced: by their values, or by marks of `unknowns`."""

    def replaced(match: re.Match[str]) -> str:
        value = evaluate_expression(match[1], context)
        is_text = not isinstance(value, Unknown | list | dict)
        return as_text(value) if is_text else unknowns.mark(match[0])

    return _EXPRESSION.sub(replaced, text)


def evaluate_expression(text: str, context: Context) -> object:
    """Return the value of an expression; `UNKNOWN` also for a text that is none."""
    term = _parse(text)
    return UNKNOWN if term is None else _value(term, context)


def single_expression(text: str) -> str | None:
    """Return the expression that a text consists of; None: it contains something else."""
    match = _EXPRESSION.fullmatch(text.strip())
    return None if match is None else match[1]


def assume_condition(text: str, context: Context) -> bool | None:
    """Return whether an `if` is true; None: it is unknown, and from now on assumed to be true."""
    inner = single_expression(text)
    if inner is None and "${{" in text:
        # As in CI: what is not a single expression is a text, and a text is true.
        return True
    term = _parse(text if inner is None else inner)
    if term is None:
        return None
    truth = _truth(term, context)
    if truth is None:
        _assume(term, context, is_true=True)
    return truth


def _parse(text: str) -> Term | None:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
        position = match.end()
    parser = _Parser(tokens)
    try:
        term = parser.binary(0)
    except ValueError:
        return None
    return None if parser.tokens else term


class _Parser:
    """Parses by recursive descent; a ValueError means that the text is no expression."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens[::-1]
        self.depth = 0

    def binary(self, level: int) -> Term:
        if level == len(_PRECEDENCE):
            return self.unary()
        left = self.binary(level + 1)
        while self.tokens and self.tokens[-1][1] in _PRECEDENCE[level]:
            written = self.tokens.pop()[1]
            right = self.binary(level + 1)
            # `a != b` is `!(a == b)`: the two are exclusive.
            kind = "==" if written == "!=" else written
            left = Term(kind, f"({left.text} {kind} {right.text})", None, (left, right))
            if written == "!=":
                left = Term("!", f"!{left.text}", None, (left,))
        return left

    def unary(self) -> Term:
        self.depth += 1
        if self.depth > _MAX_DEPTH or not self.tokens:
            raise ValueError
        kind, word = self.tokens.pop()
        if word == "!":
            operand = self.unary()
            term = Term("!", f"!{operand.text}", None, (operand,))
        elif word == "(":
            term = self.postfix(self.binary(0), closing=")")
        elif kind == "string":
            term = Term("literal", word, word[1:-1].replace("''", "'"))
        elif kind == "number":
            term = Term("literal", word, _number(word))
        elif kind == "name":
            term = self.named(word)
        else:
            raise ValueError
        self.depth -= 1
        return term

    def named(self, word: str) -> Term:
        if word.lower() in _WORDS:
            return Term("literal", word.lower(), _WORDS[word.lower()])
        if self.tokens[-1:] != [("operator", "(")]:
            return self.postfix(Term("name", word.lower(), word))
        self.tokens.pop()
        arguments: list[Term] = []
        while self.tokens[-1:] != [("operator", ")")]:
            arguments.append(self.binary(0))
            if self.tokens[-1:] == [("operator", ",")]:
                self.tokens.pop()
        text = f"{word.lower()}({', '.join(one.text for one in arguments)})"
        return self.postfix(Term("call", text, word.lower(), tuple(arguments)), closing=")")

    def postfix(self, term: Term, *, closing: str = "") -> Term:
        """Return the term with its indexes, after its closing bracket."""
        if closing and (not self.tokens or self.tokens.pop()[1] != closing):
            raise ValueError
        while self.tokens and self.tokens[-1][1] in (".", "["):
            if self.tokens.pop()[1] == "[":
                key = self.binary(0)
                if not self.tokens or self.tokens.pop()[1] != "]":
                    raise ValueError
            else:
                if not self.tokens:
                    raise ValueError
                word = self.tokens.pop()[1]
                key = Term("literal", f"'{word.lower()}'", word)
            term = Term("index", f"{term.text}[{key.text}]", None, (term, key))
        return term


def _value(term: Term, context: Context) -> object:
    match term.kind:
        case "literal":
            return term.value
        case "name":
            return context.scopes.get(str(term.value).lower(), UNKNOWN)
        case "index":
            return _indexed(term, context)
        case "call":
            return _called(term, context)
        case "&&" | "||":
            is_true = _truth(term.terms[0], context)
            if is_true is None:
                return UNKNOWN
            return _value(term.terms[is_true == (term.kind == "&&")], context)
    truth = _truth(term, context)
    return UNKNOWN if truth is None else truth


def _truth(term: Term, context: Context) -> bool | None:
    """Return whether a term counts as true; None: unknown, and nothing was assumed about it."""
    match term.kind:
        case "!":
            operand = _truth(term.terms[0], context)
            return None if operand is None else not operand
        case "&&" | "||":
            decisive = term.kind == "||"
            truths = [_truth(one, context) for one in term.terms]
            return decisive if decisive in truths else (None if None in truths else not decisive)
        case "==" | "<" | "<=" | ">" | ">=":
            value = _compared(term.kind, *(_value(one, context) for one in term.terms))
        case _:
            value = _value(term, context)
    if isinstance(value, Unknown):
        return context.assumed.get(term.text)
    return value not in (None, False, 0, "")


def _assume(term: Term, context: Context, *, is_true: bool) -> None:
    match term.kind:
        case "!":
            _assume(term.terms[0], context, is_true=not is_true)
        case "&&" | "||" if is_true == (term.kind == "&&"):
            for one in term.terms:
                _assume(one, context, is_true=is_true)
        case "&&" | "||":
            pass
        case _ if _truth(term, context) is None:
            context.assumed[term.text] = is_true


def _indexed(term: Term, context: Context) -> object:
    base, key = (_value(one, context) for one in term.terms)
    if isinstance(base, Unknown) or isinstance(key, Unknown):
        return UNKNOWN
    if key == "*":
        return list(base.values()) if isinstance(base, Mapping) else base
    if isinstance(base, list):
        if isinstance(key, int | float):
            return base[int(key)] if 0 <= key < len(base) else None
        found = [_in_mapping(one, key, default=UNKNOWN) for one in base if isinstance(one, Mapping)]
        return UNKNOWN if UNKNOWN in found else found
    if not isinstance(base, Mapping):
        return None
    # As in CI, a name that only other combinations have is empty.
    is_complete = term.text.startswith(("matrix[", "inputs["))
    return _in_mapping(base, key, default=None if is_complete else UNKNOWN)


def _in_mapping(mapping: Mapping[object, object], key: object, *, default: object) -> object:
    wanted = as_text(key).lower()
    return next((value for name, value in mapping.items() if as_text(name).lower() == wanted), default)


def _called(term: Term, context: Context) -> object:
    constant = {"success": True, "always": True, "failure": False, "cancelled": False}
    if term.value in constant:
        return constant[str(term.value)]
    # Of most scopes only a part is known.
    arguments = [
        UNKNOWN if one.kind == "name" and one.text not in ("matrix", "inputs") else _value(one, context)
        for one in term.terms
    ]
    function = _FUNCTIONS.get(str(term.value))
    if function is None or any(isinstance(one, Unknown) for one in arguments):
        return UNKNOWN
    try:
        return function(*arguments)
    except (TypeError, ValueError, IndexError, RecursionError):
        return UNKNOWN


def _compared(kind: str, left: object, right: object) -> object:
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return UNKNOWN
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        return left is right
    compare = _COMPARISONS[kind]
    if isinstance(left, str) and isinstance(right, str):
        return compare(left.lower(), right.lower())
    return compare(_number(left), _number(right))


def _number(value: object) -> float:
    """Return the number that CI makes of a value; NaN: none."""
    text = as_text(value).strip()
    if isinstance(value, bool):
        return float(value)
    try:
        return float(int(text, 16)) if text.lower().startswith("0x") else float(text or 0)
    except ValueError:
        return float("nan")


def _contains(where: object, what: object) -> bool:
    if isinstance(where, list):
        return any(_compared("==", one, what) is True for one in where)
    return as_text(what).lower() in as_text(where).lower()


def _format(template: object, *values: object) -> str:
    text = as_text(template).replace("{{", "\ue002").replace("}}", "\ue003")
    text = re.sub(r"\{([0-9]+)\}", lambda match: as_text(values[int(match[1])]), text)
    return text.replace("\ue002", "{").replace("\ue003", "}")


def _join(values: object, separator: object = ",") -> str:
    parts = values if isinstance(values, list) else [values]
    return as_text(separator).join(map(as_text, parts))


_FUNCTIONS: dict[str, Callable[..., object]] = {
    "contains": _contains,
    "startswith": lambda text, start: as_text(text).lower().startswith(as_text(start).lower()),
    "endswith": lambda text, end: as_text(text).lower().endswith(as_text(end).lower()),
    "format": _format,
    "join": _join,
    "tojson": lambda value: json.dumps(value, indent=2),
    "fromjson": lambda text: json.loads(as_text(text)),
}
