"""What a joining machine needs from the command that it runs."""

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
        cwd: the current directory, absolute.
        origins: where each value of the configuration comes from.
        run: runs tests with all requested reports, and returns the exit status.
        console: returns the console reporter for a replayed run.
        files: returns the reporters that write files.
        say: prints a line for the user.
        complain: prints an error line for the user.
    """

    environ: Mapping[str, str]
    cwd: Path
    origins: Origins
    run: Callable[[TestRunner, TestConfig], int]
    console: Callable[[], Reporter]
    files: Callable[[], list[Reporter]]
    write: Callable[[str], None]
    say: Callable[[str], None]
    complain: Callable[[str], None]
    color: bool

    __repr__ = repr_without("environ")
