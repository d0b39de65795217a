"""What a machine that joins a run needs of the command that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from dispatcher.config.model import TestConfig
from dispatcher.model.events import Reporter
from dispatcher.run.runner import TestRunner
from passmuster.model.hidden_fields import repr_without
from passmuster.settings.origins import Origins


class CommandContext(Struct, frozen=True, kw_only=True):
    """The command.

    Args:
        environ: the environment.
        cwd: the current directory, absolute.
        runner_python: the interpreter for projects that have none.
        origins: where the configuration's values came from.
        run: runs tests with all reports that are asked for, and returns the exit status.
        console: returns what prints a run that is told after its end.
        files: returns the reporters that write files.
        write: prints text.
        say: tells the user something, a line.
        complain: tells the user what went wrong, a line.
        color: whether output is coloured.
    """

    environ: Mapping[str, str]
    cwd: Path
    runner_python: str
    origins: Origins
    run: Callable[[TestRunner, TestConfig], int]
    console: Callable[[], Reporter]
    files: Callable[[], list[Reporter]]
    write: Callable[[str], None]
    say: Callable[[str], None]
    complain: Callable[[str], None]
    color: bool

    __repr__ = repr_without("environ")
