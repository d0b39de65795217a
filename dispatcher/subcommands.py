"""How a subcommand is called: what each of them gets of the command line and of the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path

from dispatcher.backends.base import Site
from dispatcher.report.stream import TextStream
from passmuster.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
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
    environ: Mapping[str, str] = field(repr=False)
    cwd: Path
    program: str
    write: Callable[[str], None]
    stdout: TextStream
    stderr: TextStream
    runner_python: str
    site: Site
