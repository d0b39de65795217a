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
    """The command."""

    environ: Mapping[str, str]
    cwd: Path
    origins: Origins
    """Where each value of the configuration comes from."""
    run: Callable[[TestRunner, TestConfig], int]
    """Runs tests with all requested reports, and returns the exit status."""
    console: Callable[[], Reporter]
    """Returns the console reporter for a replayed run."""
    files: Callable[[], list[Reporter]]
    """Returns the reporters that write files."""
    write: Callable[[str], None]
    say: Callable[[str], None]
    """Prints a line for the user."""
    complain: Callable[[str], None]
    """Prints an error line for the user."""
    color: bool

    __repr__ = repr_without("environ")
