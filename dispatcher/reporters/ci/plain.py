"""The output of a run outside a CI. Such a run loads nothing else of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from dispatcher.model.events import Reporter
from dispatcher.terminal.stream import TextStream


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
