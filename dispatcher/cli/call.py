"""The call of a subcommand: its part of the command line, and the process it runs in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from dispatcher.engine.backend import ExecutionTarget
from dispatcher.terminal.stream import TextStream
from passmuster.model.hidden_fields import repr_without


class SubcommandCall(Struct, frozen=True, kw_only=True):
    """The call of a subcommand.

    Args:
        argv: the words after it.
        cwd: the current directory, absolute.
        program: the program and the subcommand, as the user called them.
        write: prints text to `stdout`.
        stderr: receives warnings and errors.
        target: where files would run.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path
    program: str
    write: Callable[[str], None]
    stdout: TextStream
    stderr: TextStream
    target: ExecutionTarget

    __repr__ = repr_without("environ")
