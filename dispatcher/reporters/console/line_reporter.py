"""The base of the reporters that print: lines for each event, and notices on another stream."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.model.events import Notice, RunEvent
from dispatcher.terminal.stream import SafeStream, TextStream
from dispatcher.terminal.tags import Tag, colored, tagged
from passmuster.model.text import one_line


class LineReporter:
    """Prints the lines of each event to `stream` at once, and notices to `warn_stream`.

    Args:
        color: whether the tags at the start of lines are coloured.
        warn_color: the same for `warn_stream`; None: as in `stream`.
    """

    def __init__(
        self, stream: TextStream, *, color: bool, warn_stream: TextStream, warn_color: bool | None = None
    ) -> None:
        self._out = SafeStream(stream)
        self._warnings = SafeStream(warn_stream)
        self._color = color
        self._warn_color = color if warn_color is None else warn_color

    def handle(self, event: RunEvent) -> None:
        """Print the lines of an event."""
        if isinstance(event, Notice):
            line = tagged(Tag.WARN, one_line(event.text), color=self._warn_color)
            self._warnings.write(f"{line}\n")
            return
        text = "".join(f"{line}\n" for line in self.lines(event))
        self._out.write(colored(text) if self._color else text)

    def close(self) -> None:
        """Do nothing: every line is already printed."""

    def lines(self, event: RunEvent) -> Sequence[str]:
        """Return the lines of an event, without colours and line ends; each reporter has its own."""
        raise NotImplementedError
