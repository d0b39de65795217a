"""Parses the script of a CI step into the commands that run the tests, and the others. Pure.

No shell runs it. Variables that the workflow sets are substituted; what only a shell could evaluate becomes a
mark.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from msgspec import Struct

from dispatcher.replica.expressions import Unknowns

_RUNNER = re.compile(r"(run[_-]tests|run[_-]ci[_-]replica)(\.py|\.sh)?")
_INTERPRETER = re.compile(r"python[0-9.]*|bash|sh")
_WRAPPERS = {
    *("env", "nice", "nohup", "timeout", "stdbuf", "ionice", "sudo", "xvfb-run"),
    *("uv", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi"),
}
"""Programs that run the command behind them."""

_CONDITIONS = {"!", "if", "elif", "while", "until"}
_KEYWORDS = {*_CONDITIONS, "{", "}", "then", "else", "fi", "do", "done", "time", "exec", "command"}

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
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PLAIN = re.compile(r"run|-.*|[0-9.]+[smhd]?", re.DOTALL)
"""What may stand between a wrapper and the command."""

_OPERATORS = "();<>|&\n"


class TestCommand(Struct, frozen=True, kw_only=True):
    """A command of a script that runs the tests.

    Args:
        program: `run_tests` or `run_ci_replica`.
        arguments: its arguments; unknown parts are marks.
        variables: the variables that the script sets for it; the values may contain marks.
        folder: its working directory, relative to where the script starts; empty: there.
        wrappers: surrounding words that affect the result in CI (`timeout 600`, `||`).
    """

    __test__: ClassVar[bool] = False
    """pytest does not collect it."""

    program: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    folder: str = ""
    wrappers: tuple[str, ...] = ()


class Script(Struct, frozen=True, kw_only=True):
    """A parsed script.

    Args:
        other_commands: those before the last of its test commands.
    """

    test_commands: tuple[TestCommand, ...] = ()
    other_commands: tuple[str, ...] = ()


class _Command(Struct, frozen=True, kw_only=True):
    """A simple command: its words, and the operators before and after it."""

    words: tuple[str, ...]
    before: str
    after: str


def read_script(text: str, variables: Mapping[str, str], unknowns: Unknowns) -> Script:
    """Parse a script.

    Raises:
        ValueError: a quotation is not closed.
    """
    runs: list[TestCommand] = []
    others: list[str] = []
    exported: tuple[tuple[str, str], ...] = ()
    folder = ""
    for command in _commands(_filled_in(text, variables, unknowns)):
        conditions, words = _split(command.words, lambda word: word in _KEYWORDS)
        assigned, words = _split(words, lambda word: _ASSIGNMENT.fullmatch(word) is not None)
        position = _position_of_runner(words)
        if words[:1] == ("cd",) and len(words) == 2:
            folder = posixpath.join(folder, words[1])
        elif words[:1] == ("export",):
            exported += _assignments(words)
        elif position is not None:
            wrapper = " ".join(_wrapper(words[:position]))
            operators = [word for word in (command.before, command.after) if word in ("|", "||", "|&")]
            runs.append(
                TestCommand(
                    program="run_ci_replica" if "replica" in words[position] else "run_tests",
                    arguments=words[position + 1 :],
                    variables=(*exported, *_assignments(assigned), *_assignments(words[:position])),
                    folder=folder,
                    wrappers=(
                        *([wrapper] if wrapper else []),
                        *(word for word in conditions if word in _CONDITIONS),
                        *operators,
                    ),
                )
            )
        elif words and words[0] not in ("set", "[", "[[", "test"):
            others.append(unknowns.restore(" ".join(words)))
    return Script(test_commands=tuple(runs), other_commands=tuple(others))


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


def _position_of_runner(words: tuple[str, ...]) -> int | None:
    """Return the position of the command that runs the tests; None: these words run something else."""
    interpreter = last = ""
    for position, word in enumerate(words):
        name = word.rpartition("/")[2]
        if _RUNNER.fullmatch(name) and (last != "-m" or name == word):
            return position
        if _INTERPRETER.fullmatch(name):
            interpreter = name
        elif interpreter:
            # `python` may be followed by options; a module, `-c` or a script is another program.
            if word == "-c" or not (word.startswith("-") or last in ("-X", "-W")):
                return None
        elif not (name in _WRAPPERS or _ASSIGNMENT.fullmatch(word) or _PLAIN.fullmatch(word)) and not (
            last.startswith("-")  # It may be the value of a wrapper's option.
        ):
            return None
        last = word
    return None


def _wrapper(words: tuple[str, ...]) -> list[str]:
    """Return the words before the command that change what it does, without interpreter and variables."""
    kept: list[str] = []
    for word in words:
        if _INTERPRETER.fullmatch(word.rpartition("/")[2]):
            break
        if word != "env" and not _ASSIGNMENT.fullmatch(word):
            kept.append(word)
    return kept


def _split(words: tuple[str, ...], belongs: Callable[[str], bool]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words at the beginning that belong together, and the others."""
    end = next((position for position, word in enumerate(words) if not belongs(word)), len(words))
    return words[:end], words[end:]


def _assignments(words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found = (_ASSIGNMENT.fullmatch(word) for word in words)
    return tuple((match[1], match[2]) for match in found if match)
