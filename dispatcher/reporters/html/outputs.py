"""How much of what tests printed goes into the page, and what is said where it is cut. Pure."""

from __future__ import annotations

from msgspec import Struct

from dispatcher.reporters.html.markup import block
from passmuster.model.text import bounded_tail, shown_lines

TOTAL_BYTES = 8 * 1024 * 1024
"""Bytes of printed text in a page: a browser opens it at once, and a mail takes it."""

MAX_CHARS = 64 * 1024
"""Characters of one output: what a run keeps of an attempt that did not pass."""

MIN_CHARS = 2 * 1024
"""Characters of one output where there are very many: some 20 lines, a traceback's end."""


class OutputBudget(Struct):
    """Deals out the page's room for printed text; the end of a text is what counts.

    Args:
        share_chars: characters each text may have, so that the last has room as the first has.
        left_bytes: bytes that are left.
        cut: how many texts were cut or left out.
    """

    share_chars: int
    left_bytes: int = TOTAL_BYTES
    cut: int = 0

    @classmethod
    def for_texts(cls, count: int) -> OutputBudget:
        """Return the room for `count` texts."""
        return cls(share_chars=max(MIN_CHARS, min(MAX_CHARS, TOTAL_BYTES // max(1, count))))

    def shown(self, text: str, *, most_chars: int | None = None) -> str:
        """Return a text as HTML, with a first line that says so if it is not all of it.

        Args:
            text: what was printed.
            most_chars: characters it may have, if fewer than the share.
        """
        limit = min(self.share_chars, most_chars or self.share_chars)
        tail = bounded_tail(text, limit)
        shown = block("\n".join(shown_lines(tail)))
        size = len(shown.encode())
        if size > self.left_bytes:
            self.cut += 1
            return '<span class="cut">Left out: the page has no more room for what was printed.</span>'
        self.left_bytes -= size
        if len(tail) == len(text):
            return shown
        self.cut += 1
        left_out = len(text) - len(tail)
        return f'<span class="cut">The first {left_out:,} characters are left out.</span>\n{shown}'
