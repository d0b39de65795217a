"""The base of the reporters that print, and the streams that they print to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

from msgspec import Struct

from dispatcher.config.choices import Verbosity
from dispatcher.model.events import Notice, Reporter, RunEvent, RunStarted
from dispatcher.model.results import FileAttempts
from dispatcher.reporters.console.lines import memory_budget
from dispatcher.terminal.stream import FALLBACK_SIZE, SafeStream, TextStream
from dispatcher.terminal.tags import Tag, colored, tagged
from passmuster.model.text import one_line


class PlainOutput:
    """The output streams of a run.

    Args:
        out: for the console, and for everything that may print test output.
        err: for warnings and errors.
        document: for the one document of `--output json` and `brief`.
    """

    def __init__(self, out: TextStream, err: TextStream, *, document: TextStream) -> None:
        self.out, self.err, self.document = out, err, document

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Print the last line, however the run ended."""

    def around(self, console: Reporter) -> Sequence[Reporter]:
        """Return the console reporter with the reporters that must run before and after it."""
        return [console]


RerunCommand = Callable[[FileAttempts], str]
"""Returns the command that reruns a file."""


class ConsoleContext(Struct, frozen=True, kw_only=True):
    """Where a run is printed, and how."""

    stream: TextStream
    warn_stream: TextStream
    """Receives the notices."""
    color: bool = False
    """Whether the tags at the start of lines are coloured."""
    warn_color: bool = False
    """The same for `warn_stream`."""
    verbosity: Verbosity = Verbosity.NORMAL
    rerun: RerunCommand
    log: Callable[[str, FileAttempts], str] = lambda run_id, record: ""
    """Returns the path of a file's output in the run with an ID; empty: it is not kept."""
    size: Callable[[], os.terminal_size] = lambda: FALLBACK_SIZE
    """Returns the size of the terminal."""


class Hints(Struct, frozen=True, kw_only=True):
    """What a reader of a failure needs next."""

    rerun: RerunCommand
    log: Callable[[FileAttempts], str]
    """Returns the path of the whole output of the attempt that counts; empty: it is not kept."""


class LineReporter:
    """Prints the lines of each event at once."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._out = SafeStream(context.stream)
        self._warnings = SafeStream(context.warn_stream)
        self._run_id = ""
        self._started_at = 0.0
        self._budget = ""

    def handle(self, event: RunEvent) -> None:
        """Print the lines of an event."""
        if isinstance(event, Notice):
            line = tagged(Tag.WARN, one_line(event.text), color=self._context.warn_color)
            self._warnings.write(f"{line}\n")
            return
        if isinstance(event, RunStarted):
            self._run_id, self._started_at = event.plan.run_id, event.started_at
            self._budget = memory_budget(event.limits)
        text = "".join(f"{line}\n" for line in self.lines(event))
        self._out.write(colored(text) if self._context.color else text)

    def close(self) -> None:
        """Do nothing: every line is already printed."""

    def lines(self, event: RunEvent) -> Sequence[str]:
        """Return the lines of an event, without colours and line ends; each reporter has its own."""
        raise NotImplementedError

    @property
    def _is_quiet(self) -> bool:
        return self._context.verbosity is Verbosity.QUIET

    @property
    def _is_verbose(self) -> bool:
        return self._context.verbosity is Verbosity.VERBOSE

    @property
    def _hints(self) -> Hints:
        return Hints(rerun=self._context.rerun, log=partial(self._context.log, self._run_id))
