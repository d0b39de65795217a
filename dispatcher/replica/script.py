"""Parses the script of a CI step into its commands. Pure.

No shell runs it. Variables that the workflow sets are substituted; what only a shell could evaluate becomes a
mark.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.model.invocation import ASSIGNMENT, PYTHON, SHELLS, find_invocation
from dispatcher.replica.command_kind import CommandKind, kind_of
from dispatcher.replica.expressions import Unknowns

_CONDITIONS = {"!", "if", "elif", "while", "until"}
_KEYWORDS = {*_CONDITIONS, "{", "}", "then", "else", "fi", "do", "done", "time", "exec", "command"}
_SHELL_ONLY = {"set", "[", "[[", "test", "source", ".", "shopt", "trap", "true", "false", ":", "for", "case"}
"""Commands that set up the shell or only decide what it runs."""

_MAX_NESTED = 5
"""Shells in a shell: more is no script of a workflow."""


_SHELL = r"\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`|\$\{[^}]*\}|\$[A-Za-z_]\w*|\$[0-9@*#?$!-]|[<>]\([^()]*\)"
_PIECE = re.compile(
    rf"""(?P<single>'[^']*')
      | (?P<double>"(?:\\.|[^"\\])*")
      | (?P<continued>\\\r?\n)
      | (?P<escaped>\\.)
      | (?P<comment>(?<![^\s;&|()])\#[^\n]*)
      | (?P<descriptor>(?<!\S)[0-9]+(?=[<>]))
      | (?P<shell>{_SHELL})""",
    re.VERBOSE | re.DOTALL,
)
_IN_QUOTES = re.compile(rf"\\.|(?P<shell>{_SHELL})", re.DOTALL)
_HERE_DOCUMENT = re.compile(
    r"<<-?[ \t]*(['\"]?)(\w+)\1([^\n]*)\n(?:.*?\n)??[ \t]*\2[ \t]*$", re.DOTALL | re.MULTILINE
)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")
_OPERATORS = "();<>|&\n"


class ScriptCommand(Struct, frozen=True, kw_only=True):
    """A command of a script.

    Args:
        words: all of them, as written; unknown parts are marks.
        program: what it runs, without a directory.
        is_module: whether Python runs the program as a module, by `-m`.
        arguments: those of the program.
        variables: the variables that the script sets for it; the values may contain marks.
        folder: its working directory, relative to where the script starts; empty: there.
        wrappers: surrounding words that affect the result in CI (`timeout 600`, `||`).
    """

    kind: CommandKind
    words: tuple[str, ...]
    program: str
    is_module: bool = False
    arguments: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    wrappers: tuple[str, ...] = ()


class _Command(Struct, frozen=True, kw_only=True):
    """A simple command: its words, and the operators before and after it."""

    words: tuple[str, ...]
    before: str
    after: str


def read_script(text: str, variables: Mapping[str, str], unknowns: Unknowns) -> tuple[ScriptCommand, ...]:
    """Return the commands of a script, without those that only set up the shell.

    Raises:
        ValueError: a quotation is not closed.
    """
    return tuple(_read(text, variables, unknowns, depth=0))


def _read(
    text: str, variables: Mapping[str, str], unknowns: Unknowns, *, depth: int
) -> Iterator[ScriptCommand]:
    exported: tuple[tuple[str, str], ...] = ()
    folder = ""
    for command in _commands(_filled_in(text, variables, unknowns)):
        conditions = tuple(takewhile(_KEYWORDS.__contains__, command.words))
        words = command.words[len(conditions) :]
        if words[:1] == ("cd",) and len(words) == 2:
            folder = posixpath.join(folder, words[1])
        elif words[:1] == ("export",):
            exported += _assignments(words)
        elif words and words[0] not in _SHELL_ONLY:
            invocation = find_invocation(words)
            if invocation.code is not None and depth < _MAX_NESTED:
                for inner in _read(invocation.code, variables, unknowns, depth=depth + 1):
                    yield replace(inner, folder=posixpath.join(folder, inner.folder))
            elif invocation.position < len(words):
                before = words[: invocation.position]
                own = (*exported, *_assignments(before))
                wrapper = " ".join(_wrapper(before))
                yield ScriptCommand(
                    kind=kind_of(words, invocation, {**variables, **dict(own)}),
                    words=words,
                    program=invocation.name,
                    is_module=invocation.module,
                    arguments=words[invocation.position + 1 :],
                    variables=own,
                    folder=folder,
                    wrappers=(
                        *([wrapper] if wrapper else []),
                        *(word for word in conditions if word in _CONDITIONS),
                        *(word for word in (command.before, command.after) if word in ("|", "||", "|&")),
                    ),
                )


def _filled_in(text: str, variables: Mapping[str, str], unknowns: Unknowns) -> str:
    """Return a script without comments and here-documents, its variables replaced by values or marks."""

    def value_of(written: str) -> str | None:
        name = _VARIABLE.fullmatch(written)
        return variables.get(name[1] or name[2]) if name else None

    def in_quotes(match: re.Match[str]) -> str:
        if match["shell"] is None:
            return match[0]
        value = value_of(match[0])
        return unknowns.mark(match[0]) if value is None else re.sub(r'([\\"])', r"\\\1", value)

    def replaced(match: re.Match[str]) -> str:
        match match.lastgroup:
            case "single" | "escaped":
                return match[0]
            case "double":
                return _IN_QUOTES.sub(in_quotes, match[0])
            case "shell":
                value = value_of(match[0])
                # Outside of quotes a shell splits the value into words.
                return unknowns.mark(match[0]) if value is None else " ".join(map(shlex.quote, value.split()))
            case _:
                return ""

    return _PIECE.sub(replaced, _HERE_DOCUMENT.sub(r"\3", text))


def _commands(text: str) -> Iterator[_Command]:
    """Yield the simple commands of a script, without redirections."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words: list[str] = []
    before, is_target = "", False
    for token in [*lexer, "\n"]:
        if not set(token) <= set(_OPERATORS) or not token:
            if not is_target:
                words.append(token)
            is_target = False
        elif set(token) & set("<>"):
            is_target = True
        else:
            operator = token.strip("\n") or "\n"
            if words:
                yield _Command(words=tuple(words), before=before, after=operator)
            words, before, is_target = [], operator, False


def _wrapper(words: tuple[str, ...]) -> list[str]:
    """Return the words before the command that change what it does, without interpreter and variables."""
    kept: list[str] = []
    for word in words:
        name = word.rpartition("/")[2]
        if PYTHON.fullmatch(name) or name in SHELLS:
            break
        if word != "env" and not ASSIGNMENT.fullmatch(word):
            kept.append(word)
    return kept


def _assignments(words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found = (ASSIGNMENT.fullmatch(word) for word in words)
    return tuple((match[1], match[2]) for match in found if match)
