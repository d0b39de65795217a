"""Finds the program that the words of a command run, behind the programs that run other commands. Pure.

`timeout 60 uv run python -Im pytest tests` runs pytest: `timeout` and `uv run` run the command behind them,
and Python runs a module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
PYTHON = re.compile(r"python[0-9.]*t?|pypy[0-9.]*|py")
SHELLS = frozenset({"bash", "sh", "zsh", "dash", "ash", "ksh", "ksh93", "mksh"})


class Prefix(Struct, frozen=True, kw_only=True):
    """A program that runs the command behind it.

    Args:
        valued: its options whose value is the next word.
        operands: how many words of its own stand before the command.
        verbs: one of these must stand before the command; empty: none.
        is_task: whether the command may be the name of a task in the project's settings.
        is_python: whether the command may be a module after `-m`.
    """

    valued: frozenset[str] = frozenset()
    operands: int = 0
    verbs: tuple[tuple[str, ...], ...] = ()
    is_task: bool = False
    is_python: bool = False


def _prefix(
    valued: str = "", *verbs: str, operands: int = 0, is_task: bool = False, is_python: bool = False
) -> Prefix:
    return Prefix(
        valued=frozenset(valued.split()),
        operands=operands,
        verbs=tuple(tuple(verb.split()) for verb in verbs),
        is_task=is_task,
        is_python=is_python,
    )


_UV = "--with --with-editable --with-requirements --python -p --extra --group --only-group --no-group --from"
_UV += " --package --env-file --project --directory --index-url --default-index --index --refresh-package"
_CONDA = "-n --name -p --prefix --cwd -e --environment --manifest-path"

PREFIXES: dict[str, Prefix] = {
    **dict.fromkeys(
        ("nohup", "time", "exec", "command", "builtin", "setsid", "unbuffer", "busybox"), _prefix()
    ),
    "stdbuf": _prefix("-i -o -e"),
    "env": _prefix("-u --unset -C --chdir"),
    "nice": _prefix("-n --adjustment"),
    "ionice": _prefix("-c --class -n --classdata"),
    "timeout": _prefix("-k --kill-after -s --signal", operands=1),
    "taskset": _prefix(operands=1),
    "flock": _prefix("-w --timeout", operands=1),
    "sudo": _prefix("-u --user -g --group -h --host -p --prompt -C"),
    "xvfb-run": _prefix(
        "-n --server-num -s --server-args -e --error-file -f --auth-file -p --xauth-protocol"
    ),
    "dbus-run-session": _prefix(),
    "xargs": _prefix("-n --max-args -P --max-procs -I -L --max-lines -d --delimiter -a --arg-file -s -E"),
    "parallel": _prefix(
        "-j --jobs -a --arg-file -n --max-args -I --delay --timeout --retries --joblog --results"
    ),
    "uv": _prefix(_UV, "run", "tool run", is_task=True),
    "uvx": _prefix(_UV),
    "pipx": _prefix("--spec --python --pip-args --index-url", "run"),
    "poetry": _prefix("-C --directory -P --project", "run", is_task=True),
    "pdm": _prefix("-p --project", "run", is_task=True),
    "pipenv": _prefix("", "run", is_task=True),
    "rye": _prefix("-p --pyproject", "run", is_task=True),
    "hatch": _prefix("-e --env -p --project", "run", "env run", is_task=True),
    "pixi": _prefix(_CONDA, "run", is_task=True),
    **dict.fromkeys(("conda", "mamba", "micromamba"), _prefix(_CONDA, "run")),
    "poe": _prefix("-C --root", is_task=True),
    "coverage": _prefix(
        "--source --rcfile --omit --include --data-file --context --concurrency", "run", is_python=True
    ),
    "slipcover": _prefix("--source --omit --out --fail-under", is_python=True),
}
"""By the name of the program."""

_SHELL_VALUED = re.compile(r"[-+][A-Za-z]*[oO]|--(?:rcfile|init-file)")
_PYTHON_VALUED = frozenset({"-X", "-W", "--check-hash-based-pycs"})


class Invocation(Struct, frozen=True, kw_only=True):
    """What some words run.

    Args:
        position: of the program among the words; their number: there is none.
        name: the program or module, without its directory; empty: none.
        shell: the shell that reads the program as a script; empty: none.
        code: the script that a shell gets by `-c`; None: there is none.
        module: whether Python runs it as a module.
        is_task: whether it may be the name of a task.
    """

    position: int
    name: str = ""
    shell: str = ""
    code: str | None = None
    module: bool = False
    is_task: bool = False


def find_invocation(words: Sequence[str]) -> Invocation:
    """Return the program that the words of a command run."""
    position, is_task = 0, False
    while position < len(words):
        word = words[position]
        name = word.rpartition("/")[2]
        if ASSIGNMENT.fullmatch(word):
            position += 1
        elif PYTHON.fullmatch(name):
            found = _behind_python(words, position)
            if not found.module or found.name not in PREFIXES:
                return found
            # Continue at the module, as if it had been called by its name.
            position = found.position
            words = (*words[:position], found.name, *words[position + 1 :])
        elif name in SHELLS:
            return _behind_shell(words, position)
        elif name in PREFIXES and (behind := _behind_prefix(words, position, PREFIXES[name])) is not None:
            if PREFIXES[name].is_python:
                return _behind_python(words, behind - 1)
            is_task, position = PREFIXES[name].is_task, behind
        else:
            return Invocation(position=position, name=name, is_task=is_task)
    return Invocation(position=len(words))


def _behind_prefix(words: Sequence[str], position: int, prefix: Prefix) -> int | None:
    """Return where the command starts that a prefix at `position` runs; None: it runs none."""
    index = _behind_options(words, position + 1, prefix.valued)
    if prefix.verbs:
        verb = next((one for one in prefix.verbs if tuple(words[index : index + len(one)]) == one), None)
        if verb is None:
            return None
        index += len(verb)
        if not prefix.is_python:
            index = _behind_options(words, index, prefix.valued)
    if prefix.is_python:
        return index
    index += prefix.operands
    return index if index < len(words) else None


def _behind_options(words: Sequence[str], index: int, valued: frozenset[str]) -> int:
    while index < len(words) and words[index].startswith(("-", "+")) and words[index] != "-":
        if words[index] == "--":
            return index + 1
        index += 1 + (words[index] in valued)
    return index


def _behind_python(words: Sequence[str], position: int) -> Invocation:
    """Return what Python at `position` runs: a module, a script, or itself."""
    index = position + 1
    while index < len(words) and words[index].startswith("-") and words[index] != "-":
        option = words[index]
        cluster = re.fullmatch(r"-[A-Za-z]*?([cm])(.*)", option) if not option.startswith("--") else None
        if cluster is not None and cluster[1] == "c":
            break
        if cluster is not None:
            module = cluster[2] or (words[index + 1] if index + 1 < len(words) else "")
            place = index if cluster[2] else index + 1
            return Invocation(position=min(place, len(words)), name=module, module=True)
        index += 1 + (option in _PYTHON_VALUED or option in PREFIXES["coverage"].valued)
    if index < len(words) and not words[index].startswith("-"):
        return Invocation(position=index, name=words[index].rpartition("/")[2])
    return Invocation(position=max(position, 0), name="python")


def takes_value(option: str) -> bool:
    """Return whether the value of a shell's option is the next word, as in `-euo pipefail`."""
    return _SHELL_VALUED.fullmatch(option) is not None


def _behind_shell(words: Sequence[str], position: int) -> Invocation:
    """Return what a shell at `position` runs: a script, the text behind `-c`, or its standard input."""
    shell = words[position].rpartition("/")[2]
    index = position + 1
    while index < len(words) and words[index][:1] in ("-", "+"):
        option = words[index]
        if re.fullmatch(r"-[A-Za-z]*c[A-Za-z]*", option):
            code = words[index + 1] if index + 1 < len(words) else ""
            return Invocation(position=position, name=shell, shell=shell, code=code)
        index += 1
        if option == "--":
            break
        index += takes_value(option)
    if index < len(words):
        return Invocation(position=index, name=words[index].rpartition("/")[2], shell=shell)
    return Invocation(position=position, name=shell)
