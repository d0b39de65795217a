"""How a subcommand is called: what each of them gets of the command line and of the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from dispatcher.engine.backend import ExecutionTarget
from dispatcher.terminal.stream import TextStream
from passmuster.model.hidden_fields import repr_without


class SubcommandCall(Struct, frozen=True, kw_only=True):
    """How a subcommand was called.

    Args:
        argv: the words behind it.
        environ: the environment.
        cwd: the current directory, absolute.
        program: the program and the subcommand, as the user called them.
        write: prints text.
        stdout: where `write` prints to.
        stderr: where warnings and errors go.
        runner_python: the interpreter for a project that has none.
        site: where files would run.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path
    program: str
    write: Callable[[str], None]
    stdout: TextStream
    stderr: TextStream
    runner_python: str
    site: ExecutionTarget

    __repr__ = repr_without("environ")
