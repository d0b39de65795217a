"""Keeps a live footer below what another reporter prints, for terminals.

The lines are that reporter's, unchanged: the footer is erased before each and redrawn after it, in one
write. There is no thread, and the cursor is never hidden, so nothing needs repair even after SIGKILL.
`progress` computes the numbers, `footer` draws them.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable

from msgspec.structs import replace

from dispatcher.model.events import Reporter, RunEvent, RunFinished, UsageSampled
from dispatcher.reporters.console.line_reporter import ConsoleContext
from dispatcher.reporters.console.progress import RunProgress
from dispatcher.terminal.stream import SafeStream, TextStream, is_terminal

REFRESH_S = 0.22
"""The minimum number of seconds between two footers: 4 to 5 a second."""

_MIN_COLUMNS, _MIN_ROWS = 20, 4
"""Below this size there is no footer."""

_STYLES = re.compile(r"\x1b\[[0-9;]*m")


class FooterStream:
    """A stream that keeps a footer as the last lines of the terminal; written text appears above it."""

    def __init__(self, stream: TextStream, *, size: Callable[[], os.terminal_size]) -> None:
        self._out = SafeStream(stream)
        self._encoding = stream.encoding
        self._size = size
        self._lines: tuple[str, ...] = ()
        self._cells: tuple[int, ...] = ()

    @property
    def encoding(self) -> str | None:
        """The terminal's encoding."""
        return self._encoding

    def fileno(self) -> int:
        """Raise: output must not bypass the footer."""
        raise io.UnsupportedOperation("fileno")

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def write(self, text: str, /) -> int:
        """Print whole lines above the footer."""
        self._out.write(self._wiped() + text + "\n".join(self._lines))
        return len(text)

    def draw(self, lines: tuple[str, ...], cells: tuple[int, ...]) -> None:
        """Replace the footer with lines, each of which occupies that many cells; without lines, remove it."""
        if lines == self._lines:
            return
        wiped = self._wiped()
        self._lines, self._cells = lines, cells
        self._out.write(wiped + "\n".join(lines))

    def _wiped(self) -> str:
        if not self._lines:
            return ""
        # A terminal that became narrower has wrapped the footer: count the rows it takes now.
        columns = max(1, self._size().columns)
        rows = sum(max(1, -(-cells // columns)) for cells in self._cells)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}\x1b[J"


class LiveReporter:
    """Has another reporter print above a footer that is there while files run.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        context: ConsoleContext,
        make_console: Callable[[ConsoleContext], Reporter],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context, self._clock = context, clock
        self._screen = FooterStream(context.stream, size=context.size)
        # Notices that reach the terminal too must not tear the footer.
        warn_stream = self._screen if is_terminal(context.warn_stream) else context.warn_stream
        self._console = make_console(replace(context, stream=self._screen, warn_stream=warn_stream))
        self._progress = RunProgress()
        self._drawn_at_s: float | None = None
        # Bars and ellipses exist in UTF-8 only; without it the plain report is the better one.
        self._has_footer = (context.stream.encoding or "").lower().replace("-", "").startswith("utf")

    def handle(self, event: RunEvent) -> None:
        """Print the event's lines, and redraw the footer when it is due."""
        self._progress.handle(event)
        if isinstance(event, UsageSampled):
            self._draw_when_due()
        elif isinstance(event, RunFinished):
            self._remove_footer()
        self._console.handle(event)

    def close(self) -> None:
        """Remove the footer, however the run ended."""
        self._remove_footer()
        self._console.close()

    def _remove_footer(self) -> None:
        self._has_footer = False
        self._screen.draw((), ())

    def _draw_when_due(self) -> None:
        now_s = self._clock()
        if not self._has_footer or (self._drawn_at_s is not None and now_s - self._drawn_at_s < REFRESH_S):
            return
        self._drawn_at_s = now_s
        size = self._context.size()
        if size.columns < _MIN_COLUMNS or size.lines < _MIN_ROWS:
            self._screen.draw((), ())
            return
        # rich takes a tenth of a second to import: only for a terminal, and only while tests are running.
        from rich.cells import cell_len

        from dispatcher.reporters.console.footer import footer_lines

        # One column stays free, because terminals differ in how the cursor moves after the last one.
        lines = footer_lines(
            self._progress, columns=size.columns - 1, rows=size.lines, color=self._context.color
        )
        self._screen.draw(lines, tuple(cell_len(_STYLES.sub("", line)) for line in lines))
