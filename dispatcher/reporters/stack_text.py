"""Shortens the stacks of a file that timed out to the frames of the project. Pure.

The stacks are those that `faulthandler` writes, the innermost frame first. Most of their frames are of Python
and of installed packages, and hide the one in which the test waits.
"""

from __future__ import annotations

import re

from msgspec import Struct

from passmuster.model.text import one_line

MAX_STACK_LINES = 30
"""Lines shown of the stacks of one file: several threads."""

_FRAME = re.compile(r'\s+File "(?P<path>[^"]{1,4096})", line (?P<line>[0-9]{1,7}) in (?P<name>.*)')
_INSTALLED = re.compile(r".*/(?:site-packages|dist-packages|lib(?:64)?/python3[^/]*)/")


class _Frame(Struct, frozen=True):
    path: str
    line: str
    name: str


class _Stack(Struct):
    heading: str
    frames: list[_Frame]


def stack_lines(stacks: str, path: str) -> list[str]:
    """Return the frames of the project, and for each thread how many frames of others are left out.

    Threads with frames of the project precede the others.

    Args:
        path: the test file, relative to the project's root, which its own frames tell.
    """
    parsed = _parse(stacks)
    frames_of_file = (one for stack in parsed for one in stack.frames if one.path.endswith(f"/{path}"))
    root = next((frame.path.removesuffix(path) for frame in frames_of_file), "")
    ours = [[frame for frame in stack.frames if _is_of_project(frame, root)] for stack in parsed]
    lines: list[str] = []
    for stack, frames in sorted(zip(parsed, ours, strict=True), key=lambda pair: not pair[1]):
        lines += [one_line(stack.heading), *(f"  {_shown(frame, root)}" for frame in frames)]
        left_out = len(stack.frames) - len(frames)
        if left_out:
            innermost = stack.frames[0]
            where = f", the innermost is {_shown(innermost, root)}" if innermost not in frames else ""
            lines.append(f"  {left_out} frame(s) of Python and packages left out{where}")
    return lines if len(lines) <= MAX_STACK_LINES else [*lines[:MAX_STACK_LINES], "..."]


def _parse(stacks: str) -> list[_Stack]:
    found: list[_Stack] = []
    for line in stacks.splitlines():
        match = _FRAME.match(line)
        if match is not None:
            found = found or [_Stack("Stack:", [])]
            found[-1].frames.append(_Frame(**match.groupdict()))
        elif line.strip():
            found.append(_Stack(line.rstrip(), []))
    return found


def _is_of_project(frame: _Frame, root: str) -> bool:
    # Python's own frozen modules and compiled texts have names such as `<frozen runpy>` instead of paths.
    inner = frame.path.removeprefix(root)
    return frame.path.startswith(root) and not inner.startswith("<") and not _INSTALLED.match(inner)


def _shown(frame: _Frame, root: str) -> str:
    path = _INSTALLED.sub("", frame.path.removeprefix(root), count=1)
    return one_line(f"{path}:{frame.line} in {frame.name}")
