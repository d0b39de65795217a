"""Finds references to the old scripts in a text, and their replacements. Pure.

A reference is the whole name of a script with the path before it. If a shell runs it, as in `bash
run_tests.sh`, the shell becomes `python3`, because it would run Python as shell code. A reference that cannot
be changed without knowing more than the text (`source run_tests.sh`, `shellcheck run_tests.sh`) is left to a
person, with the reason. A line with `passmuster: keep` is not changed, and neither is a file with
`passmuster: keep file`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import accumulate
from operator import itemgetter

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.migrate.command_context import (
    COPIED,
    PROSE,
    CommandContext,
    assigned_name,
    command_at,
    is_file_operation,
    is_groovy_step,
    is_history,
    later_uses,
    manual_edit_reason,
)
from dispatcher.migrate.names import SCRIPTS, NewCommand
from dispatcher.migrate.script_path import (
    ReferenceContext,
    ScriptMatch,
    by_address,
    is_whole_name,
    line_start,
    match_script,
    path_start,
)
from dispatcher.migrate.shell_call import ShellCall, shell_before

KEEP = "passmuster: keep"
"""A line that contains this is not changed."""

KEEP_FILE = f"{KEEP} file"
"""A file that contains this is not changed: for example a history that mentions the old scripts."""

HINT = "run_"
"""Every reference contains this text: most files do not, and need no further analysis."""

_NAME = re.compile(r"(run_tests|run_ci_replica)(\\{0,2}\.)sh")
_GROUP = re.compile(r"\((?:[\w|]*\|)?(run_tests|run_ci_replica)(?:\|[\w|]*)?\)\\{0,2}\.sh(?!\w)")
_GLOB = re.compile(r"(?<![\w./-])(?:[^\s/]*/)*(run_\w*(?:[*?]|\[[^\]\s]*\]|\{[\w,]+\})[\w*?]*\.sh)(?!\w)")
_PATTERN = "this pattern matches the script and maybe other files"
_UNCLEAR = "it names a file; run-tests is a command"


class Edit(Struct, frozen=True, kw_only=True):
    """A span of a text, and its replacement."""

    start: int
    end: int
    new: str


class Reference(Struct, frozen=True, kw_only=True):
    """One reference to a script.

    Args:
        stem: the script, without its extension.
        line: its line, from 1.
        edits: the changes, in order; empty: a person must edit it.
        reason: why a person must edit it; empty: not needed.
    """

    stem: str
    line: int = 0
    edits: tuple[Edit, ...] = ()
    reason: str = ""


def find_references(text: str, context: ReferenceContext, command: NewCommand) -> list[Reference]:
    """Return the references of a text that are not marked to be kept, in order; of a changelog none.

    Args:
        text: the file, decoded as UTF-8 with surrogates for invalid bytes.
    """
    if HINT not in text or KEEP_FILE in text or is_history(context.path):
        return []
    lines = text.split("\n")
    kept = {number for number, line in enumerate(lines, start=1) if KEEP in line}
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    found = (
        (position, replace(reference, line=bisect_right(starts, position)))
        for position, reference in (*_names(text, context, command), *_globs(text))
    )
    return [one for _, one in sorted(found, key=itemgetter(0)) if one.line not in kept]


def edited(text: str, references: list[Reference]) -> str:
    """Return the text with all references changed that need no manual edit."""
    edits = sorted(
        (edit for reference in references for edit in reference.edits), key=lambda edit: edit.start
    )
    parts, position = [], 0
    for edit in edits:
        if edit.start >= position:
            parts += [text[position : edit.start], edit.new]
            position = edit.end
    return "".join([*parts, text[position:]])


def _names(text: str, context: ReferenceContext, command: NewCommand) -> Iterator[tuple[int, Reference]]:
    """Yield each name of a script with its position; lines are counted elsewhere, once for all."""
    uses = later_uses(text)
    copies: list[tuple[int, str]] = []
    for match in _NAME.finditer(text):
        start, end = match.span()
        if not is_whole_name(text, start, end):
            continue
        word = path_start(text, start)
        meant = by_address(text, word, start, context)
        is_address = meant is not None
        if meant is None:
            meant = match_script(text, word, start, f"{match[1]}.sh", context)
        if meant is ScriptMatch.OTHER:
            continue
        around = command_at(text, context.path, word, end)
        reason = (
            "it is unclear which script it means"
            if meant is ScriptMatch.UNKNOWN
            else manual_edit_reason(around)
            or _later_reason(around, uses)
            or _copy_reason(around, start, copies)
        )
        if reason == COPIED and command is NewCommand.PACKAGE:
            reason = _UNCLEAR
        elif reason == COPIED:
            copies.append(
                (text.count("\n", 0, start) + 1, text[end : text.find("\n", end) % (len(text) + 1)])
            )
        edits: tuple[Edit, ...] = ()
        if not reason:
            reason, edits = _change(around, match, command, is_address=is_address)
        yield start, Reference(stem=match[1], edits=edits, reason=reason)


def _later_reason(around: CommandContext, uses: dict[str, tuple[int, str]]) -> str:
    """Return what the variable that a name is assigned to is used for, if a Python program cannot be."""
    use = uses.get(assigned_name(around)) if uses else None
    return "" if use is None else f"line {use[0]} {use[1]}"


def _copy_reason(around: CommandContext, name: int, copies: list[tuple[int, str]]) -> str:
    """Return which line above made the copy that a name means; "": none did."""
    is_image = around.path.rpartition("/")[2].startswith(("Dockerfile", "Containerfile"))
    folder = around.text[around.word : name].rstrip("/")
    for line, target in copies:
        if is_image or (folder.strip(".") and folder in target):
            return f"it may be the copy that line {line} makes"
    return ""


def _change(
    around: CommandContext, match: re.Match[str], command: NewCommand, *, is_address: bool
) -> tuple[str, tuple[Edit, ...]]:
    """Return why a person must edit a reference, or the edits that change it."""
    text, word = around.text, around.word
    call = shell_before(text, word)
    if call is not None and (call.is_command_text or _is_step(around, call)):
        call = None
    if call is not None and not call.is_plain:
        return "the options of the shell have no meaning for Python", ()
    if command is NewCommand.FILE:
        name = Edit(start=match.start(), end=match.end(), new=f"{match[1]}{match[2]}py")
        if call is None:
            return "", (name,)
        options = Edit(start=call.options_start, end=call.options_end, new="")
        return "", (Edit(start=call.start, end=call.end, new="python3"), options, name)
    if is_address or match[2] != "." or (call is None and not _is_called(around, match)):
        return _UNCLEAR, ()
    start = word if call is None else call.start
    new = command.for_stem(match[1])
    if call is not None:
        return "", _without_shell(text, start, word, match.end(), new)
    return "", (Edit(start=start, end=match.end(), new=new),)


def _is_step(around: CommandContext, call: ShellCall) -> bool:
    """Return whether what looks like a shell is the step `sh` of Jenkins, which takes a text of commands."""
    between = around.text[call.end : around.word]
    return around.text[call.start : call.end] == "sh" and between.strip() != "" and is_groovy_step(around)


def _without_shell(text: str, start: int, word: int, end: int, new: str) -> tuple[Edit, ...]:
    """Return the edits that replace a shell and its script by a command."""
    opening = re.search(r"\\?[\"']\Z", text[start:word])
    closing = opening[0] if opening is not None and text.startswith(opening[0], end) else ""
    if closing == text[start - 1 : start]:
        # Two items of a list: of their quotes, those of one item remain.
        closing = ""
    return (Edit(start=start, end=end + len(closing), new=new),)


def _is_called(around: CommandContext, match: re.Match[str]) -> bool:
    """Return whether a name is called as a command, not only mentioned."""
    text, word, path = around.text, around.word, around.path
    name, is_bold = match.start(), text[match.end() : match.end() + 1] == "*"
    if is_file_operation(around) or (not is_bold and "*" in text[max(0, word - 1) : name]):
        return False
    if text[max(0, word - 2) : word] == "](":
        return False
    if name > word:
        return text[word] != "/" or path.rpartition("/")[2] == "Dockerfile"
    line = text[line_start(text, word) : word].lstrip()
    is_comment = line.startswith(("#", "//")) and not line.startswith("#!")
    return is_comment or path.lower().endswith(PROSE)


def _globs(text: str) -> Iterator[tuple[int, Reference]]:
    for match in _GROUP.finditer(text):
        yield match.start(), Reference(stem=match[1], reason=_PATTERN)
    for match in _GLOB.finditer(text):
        pattern = match[1]
        braces = re.search(r"\{([\w,]+)\}", pattern)
        words = (
            [pattern]
            if braces is None
            else [pattern.replace(braces[0], word) for word in braces[1].split(",")]
        )
        script = next((name for name in SCRIPTS if any(fnmatchcase(name, word) for word in words)), None)
        if script is not None:
            stem = script.removesuffix(".sh")
            yield match.start(), Reference(stem=stem, reason=_PATTERN)
