"""Finds the shell that runs a script: before it on a line, in a list of arguments, in a list of YAML. Pure.

All functions take a whole text and positions in it, because a list of arguments may span several lines.
"""

from __future__ import annotations

import re

from msgspec import Struct

from dispatcher.model.invocation import SHELLS, takes_value

WINDOW = 400
"""Characters before a name among which the shell that runs it may be."""

NAMES = f"(?:{'|'.join(sorted(SHELLS))})"
"""The pattern of a shell's name."""

SHELL = (
    rf"(?:busybox[ \t]+)?(?:(?:/usr)?/bin/env[ \t]+)?(?:(?:/usr(?:/local)?)?/bin/)?{NAMES}"
    r'|\$\((?:SHELL|BASH)\)|"?\$\{?(?:SHELL|BASH)\}?"?'
)
_SPACE = r"(?:[ \t]|\\\r?\n)+"
_QUOTE = r"[\"']"


def _options(space: str, quote: str) -> str:
    """Return the pattern of a shell's options: some take the next word as their value."""
    word = rf"{quote}[\w./~$-]+{quote}"
    valued = rf"{quote}(?:--rcfile|--init-file|[-+][A-Za-z]*[oO]){quote}{space}{word}"
    return rf"(?P<options>(?:{space}(?:{valued}|{quote}[-+][\w-]*{quote}))*)"


_COMMA = r"\s*,\s*"
_ITEM = r"[ \t]*\r?\n[ \t]*-[ \t]+"
_CALL = re.compile(rf"(?<![\w./$-])(?P<shell>{SHELL})" + _options(_SPACE, "") + rf"{_SPACE}(?:\\?[\"'])?\Z")
_QUOTED_CALL = re.compile(
    rf"(?P<quote>{_QUOTE})(?P<shell>{SHELL})(?P=quote)"
    + _options(_COMMA, _QUOTE)
    + rf"{_COMMA}[rf]?{_QUOTE}\Z"
)
_YAML_CALL = re.compile(
    rf"-[ \t]+{_QUOTE}?(?P<shell>{SHELL}){_QUOTE}?" + _options(_ITEM, f"{_QUOTE}?") + rf"{_ITEM}{_QUOTE}?\Z"
)
_WITHOUT_EFFECT = re.compile(
    # What starts, shows or checks the shell itself; a Python program lacks nothing of it.
    r"[-+][abefhiklmpuvxBEHPT]*[oO]?|--(?:norc|noprofile|posix|login|verbose|noediting|rcfile|init-file)?"
)
_COMMAND_TEXT = re.compile(r"[-+][A-Za-z]*c[A-Za-z]*")
_TURNS_OFF = ("noexec", "onecmd", "restricted")
"""Values of `-o` with which a shell does not simply run the script."""


class ShellCall(Struct, frozen=True, kw_only=True):
    """A shell that runs a script.

    Args:
        is_plain: whether its options have no effect that a Python program would lack.
        is_command_text: whether it gets a text of commands by `-c`.
    """

    start: int
    end: int
    options_start: int
    options_end: int
    is_plain: bool
    is_command_text: bool


def shell_before(text: str, word: int) -> ShellCall | None:
    """Return the shell that runs the word at `word`; None: there is none."""
    window = max(0, word - WINDOW)
    for pattern in (_CALL, _QUOTED_CALL, _YAML_CALL):
        call = pattern.search(text, window, word)
        if call is not None:
            words = re.findall(r"[^\s,\"'\\]+", call["options"])
            return ShellCall(
                start=call.start("shell"),
                end=call.end("shell"),
                options_start=call.start("options"),
                options_end=call.end("options"),
                is_plain=_are_plain(words),
                is_command_text=any(map(_COMMAND_TEXT.fullmatch, words)),
            )
    return None


def _are_plain(words: list[str]) -> bool:
    """Return whether options, with their values, have no effect on the script."""
    is_value = False
    for word in words:
        if is_value:
            is_value = False
            if word in _TURNS_OFF:
                return False
        elif word.startswith(("-", "+")) and word != "-":
            if not _WITHOUT_EFFECT.fullmatch(word):
                return False
            is_value = takes_value(word)
        else:
            return word == "-" and word is words[-1]
    return True
