"""The output of a run outside a CI. Such a run loads nothing else of this package."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from dispatcher.model.events import Reporter
from dispatcher.terminal.stream import TextStream


class PlainOutput:
    """A run's output outside a CI; `output` has the one for CIs.

    Args:
        out: standard output.
        err: standard error.
    """

    def __init__(self, out: TextStream, err: TextStream) -> None:
        self.out = out
        """Standard output for the console and for everything that may print test output."""
        self.err = err
        """Standard error for the same."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print the last line, however the run ended."""

    def around(self, console: Reporter) -> Sequence[Reporter]:
        """Return the console reporter with the reporters that must run before and after it."""
        return [console]
