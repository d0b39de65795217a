"""What a running file prints, piece by piece, as text that a terminal can be given. Pure.

Lines are shown as everywhere: without anything that a terminal would obey. A line is shown once it is whole,
or after a while as far as it has come, since a file that hangs may have said why without ending the line.
"""

from __future__ import annotations

import codecs

from dispatcher.report.plain_text import sanitize, shown_lines

MOST_HELD_CHARS = 64 * 1024
"""Characters of a line that is not complete, from which it is shown nevertheless."""


class TailText:
    """The text of one file, from wherever its first piece begins."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._position = 0
        self._held = ""
        self._is_in_line = False

    def take(self, start: int, data: bytes) -> str:
        """Return what is to be shown of the next piece.

        Args:
            start: how many bytes the file had printed before; pieces may overlap, or leave some out.
            data: what came then.
        """
        gap = start - self._position
        if gap < 0:
            data = data[-gap:]
        if not data:
            return ""
        before = self._missing(gap) if gap > 0 else ""
        self._position = max(start, self._position) + len(data)
        whole, newline, self._held = (self._held + self._decoder.decode(data)).rpartition("\n")
        shown = "".join(f"{line}\n" for line in shown_lines(f"{whole}\n")) if newline else ""
        if newline:
            self._is_in_line = False
        if len(self._held) > MOST_HELD_CHARS:
            shown += self.flush()
        return before + shown

    def flush(self) -> str:
        """Return what has come of a line that is not complete."""
        held, self._held = sanitize(self._held), ""
        self._is_in_line = self._is_in_line or bool(held)
        return held

    def end(self) -> str:
        """Return what is left, ended as a line."""
        rest = self.flush()
        if self._is_in_line:
            rest += "\n"
        self._is_in_line = False
        return rest

    def _missing(self, count: int) -> str:
        self._held += self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return f"{self.end()}[... {count} bytes are not shown here ...]\n"
